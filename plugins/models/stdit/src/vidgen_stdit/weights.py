"""Published weights in other layouts, to the names and shapes of STDiT."""

from collections.abc import Mapping

import torch
from torch import Tensor

PATCH = "x_embedder.proj.weight"
NULL_CAPTION = "y_embedder.y_embedding"


def convert(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict like `own`, the model's as built, from one of an STDiT or of a PixArt-alpha image model.

    The image model is told by its patch weight, (D, C, rows, columns): it gains a time axis of 1, and the temporal
    attention, which the image model lacks, keeps the model's start value (zero output, so every frame is first treated
    as an image). All other names agree. From either kind, position tables are left out for the model's own, and the
    null caption is cut to the model's length, or lengthened by repeating its last token.
    """
    converted = {**state, **{name: table for name, table in own.items() if name.startswith("pos_embed")}}
    if NULL_CAPTION in state:
        converted[NULL_CAPTION] = _of_length(state[NULL_CAPTION], len(own[NULL_CAPTION]))
    if PATCH in state and state[PATCH].ndim == 4:
        converted[PATCH] = state[PATCH].unsqueeze(2)
        converted |= {name: value for name, value in own.items() if ".attn_temp." in name}
    return converted


def _of_length(caption: Tensor, length: int) -> Tensor:
    lacking = max(length - len(caption), 0)
    return torch.cat([caption[:length], caption[-1:].expand(lacking, -1)])
