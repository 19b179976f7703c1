"""Options of a model, read off the shapes of its weights in the names of the original projects, Open-Sora or vidgen."""

from collections.abc import Iterator
from math import isqrt, prod
from typing import Any

from vidgen.weights import State

from vidgen_convert.weights.families import HEADS, Family

PATCH = "x_embedder.proj.weight"
CAPTION = "y_embedder.y_proj.fc1.weight"
NULL_CAPTION = "y_embedder.y_embedding"
CLASSES = "y_embedder.embedding_table.weight"
LAST = "final_layer.linear.weight"
SPACE_TABLES = ("pos_embed", "pos_embed_spatial")
TIME_TABLES = ("temp_embed", "pos_embed_temporal")
IMAGE_AXES = 4


def options_by_shape(state: State, family: Family) -> dict[str, Any]:
    """Options that the shapes tell; empty for names of other projects."""
    return dict(_options(state, family)) if PATCH in state else {}


def _options(state: State, family: Family) -> Iterator[tuple[str, Any]]:
    width, channels, *patch = state[PATCH].shape
    is_image = state[PATCH].ndim == IMAGE_AXES
    size = (1, *patch) if is_image else tuple(patch)
    yield from (("hidden_size", width), ("in_channels", channels), ("patch_size", list(size)))
    yield "depth", len({name.split(".")[1] for name in state if name.startswith(f"{family.blocks}.")})
    first = f"{family.blocks}.0"
    if (norm := state.get(f"{first}.attn.q_norm.weight")) is not None and len(norm) != width:
        yield from (("num_heads", width // len(norm)), ("qk_norm", True))
    else:
        yield "qk_norm", norm is not None
        if width in HEADS:
            yield "num_heads", HEADS[width]
    if (mlp := state.get(f"{first}.mlp.fc1.weight")) is not None:
        yield "mlp_ratio", len(mlp) / width
    doubled = LAST in state and len(state[LAST]) == 2 * prod(size) * channels
    yield from (("learn_sigma", doubled), ("pred_sigma", doubled))
    yield from _conditions(state)
    yield from _clip_size(state, size, is_image=is_image)


def _conditions(state: State) -> Iterator[tuple[str, Any]]:
    if CAPTION in state:
        yield "caption_channels", state[CAPTION].shape[1]
    if NULL_CAPTION in state:
        yield "model_max_length", len(state[NULL_CAPTION])
    if CLASSES in state:
        yield "condition", f"label_{len(state[CLASSES]) - 1}"


def _clip_size(state: State, patch: tuple[int, ...], *, is_image: bool) -> Iterator[tuple[str, Any]]:
    """The size of a clip, from the tables of positions, where rows and columns are alike."""
    if is_image and not any(name in state for name in TIME_TABLES):
        yield "no_temporal_pos_emb", True
    tokens = _length(state, SPACE_TABLES)
    side = isqrt(tokens)
    if tokens and side * side == tokens:
        yield "input_size", [(_length(state, TIME_TABLES) or 1) * patch[0], side * patch[1], side * patch[2]]


def _length(state: State, names: tuple[str, ...]) -> int:
    """Tokens of a table (1, N, D)."""
    return next((state[name].shape[1] for name in names if name in state and state[name].ndim == 3), 0)
