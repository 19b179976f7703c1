"""What the models of the DiT family in video form share besides layers: position tables, start values, and the image
layout in which the original projects publish their weights.

Letters: S tokens of one frame, t frames in patches, D width.
"""

import torch
from torch import Tensor
from vidgen.weights import State

from vidgen_layers.checks import Size3
from vidgen_layers.initialise import Fill, normal, xavier, zero
from vidgen_layers.positions import axis_table, grid_table
from vidgen_layers.published import NULL_CAPTION, PATCH, without

SPACE, TIME = "pos_embed_spatial", "pos_embed_temporal"
CLASSES = "y_embedder.embedding_table.weight"


def position_tables(grid: Size3, width: int) -> dict[str, Tensor]:
    """The tables by name, (1, S, D) and (1, t, D) float32. grid: tokens along time, rows and columns."""
    frames, rows, columns = (torch.arange(n, device="cpu") for n in grid)
    return {SPACE: grid_table(rows, columns, width)[None].float(), TIME: axis_table(frames, width)[None].float()}


def start_value(name: str, value: Tensor) -> Fill:
    """See `vidgen_layers.initialise.Startable`. Modulation and the last map are zero, so a new model returns zeros.

    Source: arXiv 2212.09748, section 3.2; the classes as Open-Sora's, N(0, 1).
    """
    if name == NULL_CAPTION:
        return normal(value.shape[1] ** -0.5)
    if name == CLASSES:
        return normal(1.0)
    if name.endswith("bias") or "adaLN_modulation" in name or name.startswith("final_layer"):
        return zero
    return normal(0.02) if name.startswith(("t_embedder", "y_embedder")) else xavier


def to_image_layout(state: State, **tables: str) -> State:
    """The entries of a model of one-frame patches as the original projects name and shape them: the patch weight
    without its time axis. tables: their name of a position table = ours; other tables are left out."""
    renamed = {theirs: state[ours] for theirs, ours in tables.items()}
    return {**renamed, **without(state, "pos_embed"), PATCH: state[PATCH].squeeze(2)}


def unlike_condition(state: State, own: State) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Patterns of the entries that start anew and of those left over, when a model of captions takes the weights of a
    model of classes."""
    if CLASSES in state and NULL_CAPTION in own:
        return ("y_embedder.y_*",), (CLASSES,)
    return (), ()
