"""DiT: diffusion transformers with adaLN-Zero (arXiv 2212.09748), over all tokens of a clip at once.

Offers the model `DiT` (every size free) and the published sizes. Read whenever vidgen starts, so it holds only names
and options; the network lives in `vidgen_dit.model`.
"""

from collections.abc import Iterable

from attrs import frozen
from vidgen import Component, hookimpl, option
from vidgen_layers.options import TransformerOptions
from vidgen_layers.sizes import published_sizes


@frozen(kw_only=True)
class DiTOptions(TransformerOptions):
    """Keys allowed beside `type: DiT`, named as in Open-Sora; the defaults are DiT-XL/2."""

    input_size: tuple[int, int, int] | None = option(
        None, "Latent frames, rows and columns of every clip; null: the recipe's, or [16, 32, 32] when built alone."
    )
    learn_sigma: bool = option(True, "Predict a variance too: twice in_channels come out.")
    condition: str = option(
        "text", "What clips are conditioned on: text, a caption averaged over its tokens; label_<K>, one of K classes."
    )
    no_temporal_pos_emb: bool = option(
        False, "Leave the position of frames out; image weights on single frames need true."
    )
    caption_channels: int | None = option(
        None, "Width of the caption features; null: the text encoder's, or 512 when built alone."
    )
    model_max_length: int | None = option(
        None, "Accepted for old configurations; no effect: captions of any length are averaged."
    )


@hookimpl
def vidgen_models() -> Iterable[Component]:
    """List the models of this plugin."""
    yield Component(
        name="DiT",
        summary="DiT, any size: fixed clip size, one caption vector or class, attention over all tokens of a clip.",
        options=DiTOptions,
        factory="vidgen_dit.model:build",
    )
    yield from published_sizes("DiT", DiTOptions, "vidgen_dit.model:build")
