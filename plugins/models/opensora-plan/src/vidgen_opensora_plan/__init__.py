"""Open-Sora-Plan 1.3: video transformers that attend to every n-th token of a clip, or to all.

Offers the models `OpenSoraT2V_v1_3` (text to video) and `OpenSoraInpaint_v1_3` (which is also shown frames of the
clip), every width free, and their published size. Read whenever vidgen starts, so it holds only names and options; the
networks live in `vidgen_opensora_plan.t2v` and `.inpaint`.
"""

from collections.abc import Iterable
from typing import Literal

from attrs import frozen
from attrs.validators import and_, ge, gt, le, lt, optional
from vidgen import Component, hookimpl, option
from vidgen_layers.options import WeightOptions


@frozen(kw_only=True)
class T2VOptions(WeightOptions):
    """Keys allowed beside `type: OpenSoraT2V_v1_3`, named as in Open-Sora-Plan; the defaults are the size 2B/122."""

    num_layers: int = option(32, "Number of blocks.", validator=ge(1))
    num_attention_heads: int = option(24, "Attention heads.", validator=ge(1))
    attention_head_dim: int = option(
        96, "Width of a head, a multiple of 6: frames, rows and columns turn a third each.", validator=ge(6)
    )
    in_channels: int | None = option(None, "Latent channels; null: the autoencoder's, or 8 when built alone.")
    out_channels: int | None = option(
        None, "Channels of the prediction, in_channels or twice as many; null: in_channels.", validator=optional(ge(1))
    )
    patch_size: int = option(2, "Latent rows and columns per token.", validator=ge(1))
    patch_size_t: int = option(1, "Latent frames per token; 1 is all there is.")
    caption_channels: int | None = option(
        None, "Width of the caption features; null: the text encoder's, or 4096 when built alone."
    )
    cross_attention_dim: int | None = option(
        None, "Width of projected captions: num_attention_heads * attention_head_dim, as null says."
    )
    activation_fn: Literal["gelu-approximate", "geglu"] = option(
        "gelu-approximate", "Of the MLPs: GELU (tanh approximation), or a gate with the exact one."
    )
    attention_bias: bool = option(True, "Whether queries, keys and values have a bias.")
    dropout: float = option(
        0.0, "Share of the numbers behind attention and inside MLPs dropped in training.", validator=and_(ge(0), lt(1))
    )
    norm_elementwise_affine: bool = option(False, "Whether the norms of the blocks have learned factors and offsets.")
    norm_eps: float = option(1e-6, "Added to the variance in the norms of the blocks, above 0.", validator=gt(0))
    interpolation_scale_t: float = option(1.0, "Divides the positions of frames, above 0.", validator=gt(0))
    interpolation_scale_h: float = option(1.0, "Divides the positions of rows, above 0.", validator=gt(0))
    interpolation_scale_w: float = option(1.0, "Divides the positions of columns, above 0.", validator=gt(0))
    sparse1d: bool = option(True, "Let blocks 2 to 29 attend within sub-sequences; false: all attend to all tokens.")
    sparse_n: int = option(4, "Sub-sequences of a clip in those blocks; 1: the clip as a whole.", validator=ge(1))
    class_dropout_prob: float = option(
        0.1, "How often a training caption is replaced by the empty text, 0 to 1.", validator=and_(ge(0), le(1))
    )


@frozen(kw_only=True)
class InpaintOptions(T2VOptions):
    """Keys allowed beside `type: OpenSoraInpaint_v1_3`; the defaults are the size 2B/122."""

    vae_scale_factor_t: int | None = option(
        None,
        "Video frames per latent frame, the channels of the mask; null: the autoencoder's, or 4 when built alone.",
        validator=optional(ge(1)),
    )


@hookimpl
def vidgen_models() -> Iterable[Component]:
    """List the models of this plugin."""
    t2v, inpaint = "vidgen_opensora_plan.t2v:build", "vidgen_opensora_plan.inpaint:build"
    offers = (
        ("OpenSoraT2V_v1_3", T2VOptions, t2v, "Open-Sora-Plan 1.3, text to video, any width: Skiparse attention."),
        ("OpenSoraT2V_v1_3-2B/122", T2VOptions, t2v, "The same with 32 blocks of width 2304, 2.8 billion parameters."),
        ("OpenSoraInpaint_v1_3", InpaintOptions, inpaint, "Open-Sora-Plan 1.3, shown frames of the clip, any width."),
        ("OpenSoraInpaint_v1_3-2B/122", InpaintOptions, inpaint, "The same with 32 blocks of width 2304."),
    )
    for name, options, factory, summary in offers:
        yield Component(name=name, summary=summary, options=options, factory=factory)
