"""STDiT: video transformers that attend over space and over time in turn (Open-Sora 1.0 to 1.2).

Offers the models `STDiT`, `STDiT2` and `STDiT3` (every size free) and their published sizes. Read whenever vidgen
starts, so it holds only names and options; the networks live in `vidgen_stdit.stdit1`, `stdit2` and `stdit3`.
"""

from collections.abc import Iterable
from typing import Literal

from attrs import frozen
from attrs.validators import and_, ge, gt, lt
from vidgen import Component, hookimpl, option
from vidgen.component import preset
from vidgen_layers.options import TransformerOptions


@frozen(kw_only=True)
class CommonOptions(TransformerOptions):
    """Keys that all STDiT models share, named as in Open-Sora; the defaults are the size XL/2."""

    pred_sigma: bool = option(True, "Predict a variance too: twice in_channels come out.")
    drop_path: float = option(
        0.0, "Stochastic depth of the last block, 0 to below 1; rises linearly from 0.", validator=and_(ge(0), lt(1))
    )
    caption_channels: int | None = option(
        None, "Width of the caption features; null: the text encoder's, or 4096 when built alone."
    )


@frozen(kw_only=True)
class STDiTOptions(CommonOptions):
    """Keys allowed beside `type: STDiT`."""

    input_size: tuple[int, int, int] | None = option(
        None, "Latent frames, rows and columns of every clip; null: the recipe's, or [1, 32, 32] when built alone."
    )
    model_max_length: int | None = option(
        None, "Tokens of the null caption; null: the text encoder's length, or 120 when built alone."
    )
    space_scale: float = option(
        1.0, "Divides rows and columns in the position table; 0.5 continues a 256-pixel image model.", validator=gt(0)
    )
    time_scale: float = option(1.0, "Divides frames in the temporal position table.", validator=gt(0))
    no_temporal_pos_emb: bool = option(False, "Accepted for old configurations; no effect, as in Open-Sora.")
    freeze: Literal["not_temporal", "text"] | None = option(
        None, "not_temporal: train the temporal attention alone; text: keep the cross attention fixed."
    )


@frozen(kw_only=True)
class STDiT2Options(CommonOptions):
    """Keys allowed beside `type: STDiT2`."""

    input_sq_size: int = option(
        32, "Side in pixels of the square clips whose positions are not rescaled; 1 or more.", validator=ge(1)
    )
    qk_norm: bool = option(False, "Normalise queries and keys of both self attentions.")
    qk_norm_legacy: bool = option(
        False, "With qk_norm: normalise temporal queries and keys after their rotation, as Open-Sora 1.1 did."
    )
    model_max_length: int | None = option(
        None, "Tokens of the null caption; null: the text encoder's length, or 120 when built alone."
    )
    no_temporal_pos_emb: bool = option(False, "Accepted for old configurations; no effect, as in Open-Sora.")
    freeze: Literal["not_temporal", "text"] | None = option(
        None, "not_temporal: train the temporal attention alone; text: keep the cross attention fixed."
    )


@frozen(kw_only=True)
class STDiT3Options(CommonOptions):
    """Keys allowed beside `type: STDiT3`."""

    input_sq_size: int = option(
        512, "Side in pixels of the square clips whose positions are not rescaled; 1 or more.", validator=ge(1)
    )
    qk_norm: bool = option(True, "Normalise queries and keys of the self attentions.")
    model_max_length: int | None = option(
        None, "Tokens of the null caption; null: the text encoder's length, or 300 when built alone."
    )
    skip_y_embedder: bool = option(
        False, "Captions come projected and packed: y is [1, all tokens, hidden_size], mask the length of each."
    )
    freeze_y_embedder: bool = option(False, "Keep the caption projection fixed.")
    only_train_temporal: bool = option(False, "Train the temporal blocks alone.")


STDiT2XLOptions = preset(STDiT2Options, "STDiT2XLOptions", qk_norm_legacy=True)
STDiT33BOptions = preset(STDiT3Options, "STDiT33BOptions", hidden_size=1872, num_heads=26)


@hookimpl
def vidgen_models() -> Iterable[Component]:
    """List the models of this plugin."""
    yield Component(
        name="STDiT",
        summary="STDiT of Open-Sora 1.0, any size: fixed clip size, spatial and temporal attention in every block.",
        options=STDiTOptions,
        factory="vidgen_stdit.stdit1:build",
    )
    yield Component(
        name="STDiT-XL/2",
        summary="STDiT of Open-Sora 1.0 with 28 blocks of width 1152, 760 million parameters.",
        options=STDiTOptions,
        factory="vidgen_stdit.stdit1:build",
    )
    yield Component(
        name="STDiT2",
        summary="STDiT of Open-Sora 1.1, any size: clips of every size, told their size, length and frame rate.",
        options=STDiT2Options,
        factory="vidgen_stdit.stdit2:build",
    )
    yield Component(
        name="STDiT2-XL/2",
        summary="STDiT of Open-Sora 1.1 with 28 blocks of width 1152, 767 million parameters; its released weights.",
        options=STDiT2XLOptions,
        factory="vidgen_stdit.stdit2:build",
    )
    yield Component(
        name="STDiT3",
        summary="STDiT of Open-Sora 1.2, any size: spatial and temporal blocks in turn, clips of every size.",
        options=STDiT3Options,
        factory="vidgen_stdit.stdit3:build",
    )
    yield Component(
        name="STDiT3-XL/2",
        summary="STDiT of Open-Sora 1.2 with 28 pairs of blocks of width 1152, 1.2 billion parameters.",
        options=STDiT3Options,
        factory="vidgen_stdit.stdit3:build",
    )
    yield Component(
        name="STDiT3-3B/2",
        summary="STDiT of Open-Sora 1.2 with 28 pairs of blocks of width 1872, 3.2 billion parameters.",
        options=STDiT33BOptions,
        factory="vidgen_stdit.stdit3:build",
    )
