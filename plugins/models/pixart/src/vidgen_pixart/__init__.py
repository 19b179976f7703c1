"""PixArt-alpha and PixArt-Sigma for images and clips, in the video form of Open-Sora 1.2.

Offers the models `PixArt` (one clip size), `PixArtMS` (any size, told the size in pixels) and `PixArt_Sigma` (any
size), every width free, and their published sizes. Read whenever vidgen starts, so it holds only names and options; the
network lives in `vidgen_pixart.model`.
"""

from collections.abc import Iterable
from typing import Literal

from attrs import frozen
from attrs.validators import and_, deep_iterable, ge, gt, lt, optional
from vidgen import Component, hookimpl, option
from vidgen.component import preset
from vidgen_layers.options import TransformerOptions


@frozen(kw_only=True)
class KvCompression:
    """Fewer keys and values in the self attention of some blocks (arXiv 2403.04692, section 3.2)."""

    sampling: Literal["conv", "uniform", "ave", "uniform_every"] | None = option(
        None,
        "conv: a learned mean over squares of scale_factor tokens a side; uniform and ave: the first token of each "
        "(uniform refuses sizes that it does not divide); uniform_every: every scale_factor-th token of the clip.",
    )
    scale_factor: int = option(1, "Side of a square, or step, in tokens, 1 or more; 1 keeps all.", validator=ge(1))
    kv_compress_layer: list[int] = option([], "Blocks that do so, counted from 0.", validator=deep_iterable(ge(0)))


@frozen(kw_only=True)
class PixArtOptions(TransformerOptions):
    """Keys allowed beside `type: PixArt`, named as in Open-Sora; the defaults are PixArt-XL/2."""

    input_size: tuple[int, int, int] | None = option(
        None,
        "Latent frames, rows and columns of every clip, or with any_size of the size that positions refer to; null: "
        "the recipe's, or [1, 32, 32] when built alone.",
    )
    pred_sigma: bool = option(True, "Predict a variance too: twice in_channels come out.")
    drop_path: float = option(
        0.0, "Stochastic depth of the last block, 0 to below 1; rises linearly from 0.", validator=and_(ge(0), lt(1))
    )
    no_temporal_pos_emb: bool = option(False, "Leave out the position of frames; true for weights of image models.")
    caption_channels: int | None = option(
        None, "Width of the caption features; null: the text encoder's, or 4096 when built alone."
    )
    model_max_length: int | None = option(
        None, "Tokens of the null caption; null: the text encoder's length, or 120 when built alone."
    )
    space_scale: float = option(
        1.0, "Divides rows and columns in the position table; 0.5 doubles them.", validator=gt(0)
    )
    time_scale: float = option(1.0, "Divides frames in the position table.", validator=gt(0))
    base_size: int | None = option(
        None,
        "Latent rows of the square onto which positions are stretched; null: of the area of input_size.",
        validator=optional(ge(1)),
    )
    any_size: bool = option(False, "Take clips of any size and work the positions out for each.")
    micro_condition: bool = option(False, "Tell the model height, width and their ratio of the clip in pixels.")
    qk_norm: bool = option(False, "Normalise queries and keys of the self attention.")
    qk_norm_over: Literal["heads", "width"] = option(
        "heads",
        "heads: root mean square per head, after the compression, as in Open-Sora; width: layer norm over all heads, "
        "before it, as in the image model.",
    )
    kv_compress_config: KvCompression | None = option(None, "Fewer keys and values in some blocks; null: in none.")
    freeze: Literal["text"] | None = option(None, "text: keep the cross attention fixed.")


PixArtMSOptions = preset(PixArtOptions, "PixArtMSOptions", any_size=True, micro_condition=True)
PixArtSigmaOptions = preset(PixArtOptions, "PixArtSigmaOptions", any_size=True)
PixArt1BOptions = preset(PixArtOptions, "PixArt1BOptions", hidden_size=1872, num_heads=26)


@hookimpl
def vidgen_models() -> Iterable[Component]:
    """List the models of this plugin."""
    offers = (
        ("PixArt", PixArtOptions, "PixArt-alpha, any width: one clip size."),
        ("PixArtMS", PixArtMSOptions, "PixArt-alpha, any width: clips of many sizes, told their size in pixels."),
        ("PixArt_Sigma", PixArtSigmaOptions, "PixArt-Sigma, any width: clips of many sizes, keys can be compressed."),
        ("PixArt-XL/2", PixArtOptions, "PixArt-alpha with 28 blocks of width 1152, 611 million parameters."),
        ("PixArtMS-XL/2", PixArtMSOptions, "PixArt-alpha of many sizes, 28 blocks of 1152, 611 million parameters."),
        ("PixArt-Sigma-XL/2", PixArtSigmaOptions, "PixArt-Sigma, 28 blocks of width 1152, 611 million parameters."),
        ("PixArt-1B/2", PixArt1BOptions, "PixArt-alpha with 28 blocks of width 1872, 1.6 billion parameters."),
    )
    for name, options, summary in offers:
        yield Component(name=name, summary=summary, options=options, factory="vidgen_pixart.model:build")
