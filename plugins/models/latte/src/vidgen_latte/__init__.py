"""Latte: diffusion transformers of spatial and temporal blocks in turn (arXiv 2401.03048).

Offers the models `Latte` (every size free) and its published sizes, and `Latte-1`, text to video. Read whenever vidgen
starts, so it holds only names and options; the networks live in `vidgen_latte.model` and `.latte1`.
"""

from collections.abc import Iterable

from attrs import frozen
from attrs.validators import and_, ge, gt, le
from vidgen import Component, hookimpl, option
from vidgen_layers.options import TransformerOptions
from vidgen_layers.sizes import published_sizes


@frozen(kw_only=True)
class LatteOptions(TransformerOptions):
    """Keys allowed beside `type: Latte`, named as in Open-Sora; the defaults are Latte-XL/2."""

    input_size: tuple[int, int, int] | None = option(
        None, "Latent frames, rows and columns of every clip; null: the recipe's, or [16, 32, 32] when built alone."
    )
    learn_sigma: bool = option(True, "Predict a variance too: twice in_channels come out.")
    condition: str = option(
        "text",
        "What clips are conditioned on: text, a caption averaged over its tokens; flat_text, all tokens side by side; "
        "label_<K>, one of K classes; none.",
    )
    no_temporal_pos_emb: bool = option(False, "Accepted for old configurations; no effect, as in Open-Sora.")
    caption_channels: int | None = option(
        None,
        "Width of the caption features; null: the text encoder's, or 512 (768 of flat_text) when built alone.",
    )
    model_max_length: int | None = option(
        None, "Tokens of a flat_text caption; null: the text encoder's, or 77 when built alone. No effect otherwise."
    )


@frozen(kw_only=True)
class Latte1Options(TransformerOptions):
    """Keys allowed beside `type: Latte-1`; the defaults are the released model's."""

    input_size: tuple[int, int, int] | None = option(
        None, "Latent frames, rows and columns of every clip; null: the recipe's, or [16, 64, 64] when built alone."
    )
    learn_sigma: bool = option(True, "Predict a variance too: twice in_channels come out.")
    caption_channels: int | None = option(
        None, "Width of the caption features; null: the text encoder's, or 4096 when built alone."
    )
    space_scale: float = option(1.0, "Divides rows and columns in the position table.", validator=gt(0))
    class_dropout_prob: float = option(
        0.1, "How often a training caption is replaced by the empty text, 0 to 1.", validator=and_(ge(0), le(1))
    )


@hookimpl
def vidgen_models() -> Iterable[Component]:
    """List the models of this plugin."""
    yield Component(
        name="Latte",
        summary="Latte, any size: fixed clip size, one caption vector or class, attention over space and time in turn.",
        options=LatteOptions,
        factory="vidgen_latte.model:build",
    )
    yield Component(
        name="Latte-1",
        summary="Latte-1, text to video: cross attention to captions; weights of diffusers' LatteTransformer3DModel.",
        options=Latte1Options,
        factory="vidgen_latte.latte1:build",
    )
    yield from published_sizes("Latte", LatteOptions, "vidgen_latte.model:build")
