"""What the models of the DiT family in video form share besides layers: position tables, start values, and the image
layout in which the original projects publish their weights.

Letters: S tokens of one frame, t frames in patches, D width.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Protocol

import torch
from torch import Tensor, nn
from vidgen.mesh import ALONE, TokenGroup
from vidgen.weights import State

from vidgen_layers.adaln import AdaLNFinalLayer
from vidgen_layers.checks import Size3
from vidgen_layers.embedders import NumberEmbedder
from vidgen_layers.initialise import Fill, normal, xavier, zero
from vidgen_layers.options import TransformerOptions
from vidgen_layers.patches import PatchEmbed, token_grid
from vidgen_layers.positions import axis_table, grid_table
from vidgen_layers.published import NULL_CAPTION, PATCH, without

SPACE, TIME = "pos_embed_spatial", "pos_embed_temporal"
CLASSES = "y_embedder.embedding_table.weight"


class ClipVector(Protocol):
    """What makes one vector of a clip's class or caption; see `vidgen_layers.vectors`."""

    conditioning: frozenset[str]
    text_width: int
    dropout: float

    def vector(
        self, y: Tensor | None, mask: Tensor | None, drop: Tensor | None, text: Tensor | None, *, clips: int
    ) -> Tensor:
        """(B, D)."""
        ...

    def encode_text(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `vidgen.interfaces.Model`."""
        ...

    def null_conditioning(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """See `vidgen.interfaces.Model`."""
        ...


class VideoDiT(nn.Module):
    """What is around the blocks. A model adds `blocks`, what makes a vector of captions or classes, and `forward`."""

    tokens: TokenGroup = ALONE
    pos_embed_spatial: Tensor
    pos_embed_temporal: Tensor
    blocks: nn.ModuleList

    def __init__(self, options: TransformerOptions, *, size: Size3, channels: int, learn_sigma: bool) -> None:
        """size: latent (frames, rows, columns), multiples of the patch size. channels: of the latents."""
        super().__init__()
        self.size, self.latent_channels, self.patch_size = size, channels, options.patch_size
        self.grid = frames, rows, columns = token_grid(size, options.patch_size)
        self.out_channels = channels * (2 if learn_sigma else 1)
        width = options.hidden_size
        self.register_buffer(SPACE, torch.empty(1, rows * columns, width))
        self.register_buffer(TIME, torch.empty(1, frames, width))
        self.x_embedder = PatchEmbed(channels=channels, patch=options.patch_size, width=width)
        self.t_embedder = NumberEmbedder(width)
        self.final_layer = AdaLNFinalLayer(width, prod(options.patch_size) * self.out_channels)

    @property
    def embedder(self) -> ClipVector | None:
        """What makes a vector of the caption or class; None for a model without condition."""
        raise NotImplementedError

    @property
    def conditioning(self) -> frozenset[str]:
        """See `vidgen.interfaces.Model`."""
        return frozenset() if self.embedder is None else self.embedder.conditioning

    @property
    def text_width(self) -> int:
        """See `vidgen.interfaces.Model`."""
        return 0 if self.embedder is None else self.embedder.text_width

    @property
    def caption_dropout(self) -> float:
        """See `vidgen.interfaces.Model`."""
        return 0.0 if self.embedder is None else self.embedder.dropout

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.x_embedder.proj.weight.dtype

    def encode_text(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The conditioning with the vector of each clip's caption or class, `text`, in place of `y`; `forward` takes
        either, with equal results."""
        return dict(conditioning) if self.embedder is None else self.embedder.encode_text(conditioning)

    def null_conditioning(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The same with the null caption or class in place of `y`; None where there is none."""
        return None if self.embedder is None else self.embedder.null_conditioning(conditioning)

    def repeated_blocks(self) -> Sequence[nn.Module]:
        """The blocks, in order."""
        return list(self.blocks)

    def tables(self) -> dict[str, Tensor]:
        """The position tables by name, (1, S, D) and (1, t, D) float32: functions of the options alone."""
        return position_tables(self.grid, self.x_embedder.proj.out_channels)

    def start_value(self, name: str, value: Tensor) -> Fill:
        """See `start_value` below."""
        return start_value(name, value)


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
