"""Latte: diffusion transformers of spatial and temporal blocks in turn (arXiv 2401.03048).

Offers the model `Latte` (every size free) and the published sizes. Read whenever vidgen starts, so it holds only names
and options; the network lives in `vidgen_latte.model`.
"""

from collections.abc import Iterable

from attrs import frozen
from attrs.validators import and_, ge, gt, le
from vidgen import Component, hookimpl, option
from vidgen.component import preset
from vidgen_layers.options import WeightOptions

SIZES = {"XL": (28, 1152, 16), "L": (24, 1024, 16), "B": (12, 768, 12), "S": (12, 384, 6)}
"""Depth, width and heads."""
PATCHES = {"2": (1, 2, 2), "4": (1, 4, 4), "8": (1, 8, 8)}


@frozen(kw_only=True)
class LatteOptions(WeightOptions):
    """Keys allowed beside `type: Latte`, named as in Open-Sora; the defaults are Latte-XL/2."""

    input_size: tuple[int, int, int] | None = option(
        None, "Latent frames, rows and columns of every clip; null: the recipe's, or [16, 32, 32] when built alone."
    )
    in_channels: int | None = option(None, "Latent channels; null: the autoencoder's, or 4 when built alone.")
    patch_size: tuple[int, int, int] = option((1, 2, 2), "Latent frames, rows and columns per token.")
    hidden_size: int = option(1152, "Width of a token; a multiple of 4 and of num_heads.", validator=ge(4))
    depth: int = option(28, "Number of blocks.", validator=ge(1))
    num_heads: int = option(16, "Attention heads; divides hidden_size.", validator=ge(1))
    mlp_ratio: float = option(4.0, "Hidden width of a block's MLP over hidden_size, above 0.", validator=gt(0))
    class_dropout_prob: float = option(
        0.1,
        "How often a training caption or class is replaced by the null one, 0 to 1; 0: there is no null class.",
        validator=and_(ge(0), le(1)),
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


@hookimpl
def vidgen_models() -> Iterable[Component]:
    """List the models of this plugin."""
    yield Component(
        name="Latte",
        summary="Latte, any size: fixed clip size, one caption vector or class, attention over space and time in turn.",
        options=LatteOptions,
        factory="vidgen_latte.model:build",
    )
    for size, (depth, width, heads) in SIZES.items():
        for patch, patch_size in {**PATCHES, **({"2x2": (2, 2, 2)} if size == "XL" else {})}.items():
            yield Component(
                name=f"Latte-{size}/{patch}",
                summary=f"Latte with {depth} blocks of width {width}, {list(patch_size)} latents (T, H, W) per token.",
                options=preset(
                    LatteOptions,
                    f"Latte{size}{patch}Options",
                    depth=depth,
                    hidden_size=width,
                    num_heads=heads,
                    patch_size=patch_size,
                ),
                factory="vidgen_latte.model:build",
            )
