"""What every STDiT has around its blocks: latents to tokens and back, time, captions, start values, freezing.

Letters: B clips, C latent channels, t patches along time, S tokens of one frame, M of all clips, D width, N caption
tokens.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from vidgen.mesh import ALONE, TokenGroup
from vidgen_layers import captions
from vidgen_layers.checks import Size3, Widths
from vidgen_layers.embedders import CaptionEmbedder, NumberEmbedder
from vidgen_layers.initialise import Fill, constant, freeze, normal, uniform, xavier, zero
from vidgen_layers.layers import FinalLayer
from vidgen_layers.patches import PatchEmbed

from vidgen_stdit import CommonOptions
from vidgen_stdit.conditions import checked
from vidgen_stdit.layout import Grid, Packed
from vidgen_stdit.positions import (
    ROTARY,
    SPATIAL,
    FramePositions,
    RotaryPositions,
    rotary_start,
    spatial_frequencies,
)
from vidgen_stdit.weights import LAYOUTS, config_in, in_layout


class Trunk(nn.Module):
    """The shared parts, under the names of the published state dicts. A model adds its blocks and its `forward`.

    layouts: what `state_in` writes. starts_zero: patterns of entries that start at zero. starts_small: of weights that
    start with a deviation of 0.02.
    """

    tokens: TokenGroup = ALONE
    layouts: tuple[str, ...] = LAYOUTS
    options: CommonOptions
    starts_zero: tuple[str, ...] = ("blocks.*.cross_attn.proj.*", "blocks.*.attn_temp.proj.*", "final_layer.linear.*")
    starts_small: tuple[str, ...] = ("t_embedder.*.weight", "t_block*.weight", "y_embedder.*.weight")

    def __init__(self, options: CommonOptions, widths: Widths) -> None:
        """`widths` stand in for the options'."""
        super().__init__()
        self.options, self.widths = options, widths
        self.latent_channels = widths.latents
        self.text_width = widths.caption
        self.patch_size = options.patch_size
        self.caption_dropout = options.class_dropout_prob
        width = options.hidden_size
        self.x_embedder = PatchEmbed(channels=widths.latents, patch=options.patch_size, width=width)
        self.t_embedder = NumberEmbedder(width)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.y_embedder = CaptionEmbedder(channels=widths.caption, width=width, length=widths.caption_length)
        self.out_channels = widths.latents * (2 if options.pred_sigma else 1)
        self.final_layer = FinalLayer(width, prod(options.patch_size) * self.out_channels)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, to which latents, timesteps and captions are cast first."""
        return self.x_embedder.proj.weight.dtype

    def times(self, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """timestep: (B,). Its vectors, (B, D), and the one of time zero for frames that are given, (1, D)."""
        zeros = torch.zeros_like(timestep[:1], dtype=self.dtype)
        return self.t_embedder(timestep.to(self.dtype)), self.t_embedder(zeros)

    def repeated_blocks(self) -> Sequence[nn.Module]:
        """See `vidgen.interfaces.Model`."""
        raise NotImplementedError

    def encode_text(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same conditioning with the keys and values that each block makes of `y`, as `text`; `forward` takes
        either, with equal results."""
        return captions.for_blocks(self.y_embedder.encode_text(conditioning), self.repeated_blocks())

    def null_conditioning(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The same with the null caption in place of `y`; the mask stays that of the real caption, as in training.

        Raises: UserError, when the captions are longer than the null caption.
        """
        return self.y_embedder.null_conditioning(conditioning)

    def state_in(self, layout: str) -> dict[str, Tensor]:
        """The weights as Open-Sora names and shapes them. Raises: UserError, when there is no such layout."""
        return in_layout(layout, self.state_dict())

    def config_in(self, layout: str) -> Mapping[str, Any]:
        """The `config.json` beside them. Raises: UserError, when there is no such layout."""
        return config_in(layout, self.options, self.widths, type(self).__name__)

    def start_value(self, name: str, value: Tensor) -> Fill:
        """See `vidgen_layers.initialise.Startable`."""
        if any(fnmatch(name, pattern) for pattern in self.starts_zero):
            return zero
        if any(fnmatch(name, pattern) for pattern in self.starts_small):
            return normal(0.02)
        if name == "y_embedder.y_embedding" or "scale_shift_table" in name:
            return normal(value.shape[1] ** -0.5)
        if name == "x_embedder.proj.bias":
            return uniform(self.x_embedder.proj.weight[0].numel() ** -0.5)
        if name.endswith("_norm.weight"):
            return constant(1.0)
        if name == ROTARY:
            return rotary_start
        return zero if name.endswith("bias") else xavier


class SizedTrunk(Trunk):
    """For clips of any size: padding to whole patches, and positions made anew in every forward pass."""

    def __init__(self, options: CommonOptions, widths: Widths, *, square: int) -> None:
        """square: see `FramePositions`."""
        super().__init__(options, widths)
        self.pos_embed = FramePositions(options.hidden_size, square)
        self.rope = RotaryPositions(options.hidden_size // options.num_heads)

    def embed(self, embedder: NumberEmbedder, numbers: Tensor | None, *, name: str, clips: int) -> Tensor:
        """numbers: (b,), as exact as they are handed over; b divides B and the list is repeated. Returns (B, D).

        Raises: UserError, when they are missing or of another shape.
        """
        given = checked(numbers, name=name, clips=clips)
        return embedder(given.repeat(clips // len(given)))

    def embedded(
        self, x: Tensor, layout: Grid | Packed, grid: Size3, height: Tensor | None, width: Tensor | None
    ) -> Tensor:
        """x: (B, C, T, H, W). grid: its patches along time, rows and columns. height, width: (b,), in pixels. Returns
        tokens with positions, as they lie.

        Raises: UserError, when height or width are missing or of another shape.
        """
        height, width = checked(height, name="height", clips=len(x)), checked(width, name="width", clips=len(x))
        if isinstance(layout, Packed):
            each = (numbers.repeat(len(x) // len(numbers)) for numbers in (height, width))
            positions = self.pos_embed.packed(layout.places, *each)
        else:
            table = self.pos_embed(rows=grid[1], columns=grid[2], height=height, width=width)
            positions = layout.of_places(table[None])
        return layout.embedded(self.x_embedder, x.to(self.dtype)) + positions.to(self.dtype)

    def tables(self) -> dict[str, Tensor]:
        """The frequencies of the positions within a frame, by name."""
        return {SPATIAL: spatial_frequencies(4 * len(self.pos_embed.frequencies))}


def freeze_part(model: nn.Module, part: str | None) -> None:
    """Stop training what the option `freeze` says. The rotary frequencies never train."""
    if part == "not_temporal":
        freeze(model, lambda name: "attn_temp" not in name)
    elif part == "text":
        freeze(model, lambda name: "cross_attn" in name or name == ROTARY)
