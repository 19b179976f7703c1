"""STDiT, version 1 (Open-Sora 1.0): the block, then STDiT, then build().

Every block attends within frames, then across frames at each position, then to the caption. How large clips may be is
fixed when the model is built.

Letters: B clips, C latent channels, T H W latent frames/rows/columns, t h w the same counted in patches, S = h w tokens
of one frame, D width, N caption tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen_layers import checks
from vidgen_layers.attention import CrossAttention, SelfAttention
from vidgen_layers.checks import Size3, Widths
from vidgen_layers.layers import DropPath, Mlp, add_gated, drop_path_rates, modulate
from vidgen_layers.network import build_network, with_published_options
from vidgen_layers.patches import token_grid
from vidgen_layers.positions import axis_table, grid_table

from vidgen_stdit import STDiTOptions
from vidgen_stdit.conditions import checked_grid
from vidgen_stdit.layout import Captions, Grid, Layout, Packed, layout_of
from vidgen_stdit.trunk import Trunk, freeze_part
from vidgen_stdit.weights import to_stdit

GATE = 2  # row of a block's table that gates the attention
DEFAULT_SIZE = (1, 32, 32)
DEFAULT_LENGTH = 120


class Block(nn.Module):
    """Attention over space, over time, to the caption, then an MLP."""

    def __init__(self, *, width: int, heads: int, mlp_width: int, drop_path: float) -> None:
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.empty(6, width))
        self.attn = SelfAttention(width, heads)
        self.cross_attn = CrossAttention(width, heads)
        self.mlp = Mlp(width, mlp_width, width)
        self.attn_temp = SelfAttention(width, heads)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, h: Tensor, text: Captions, frame_t: Tensor, clip_gate: Tensor, positions: Tensor | None, layout: Layout
    ) -> Tensor:
        """h: tokens that lie as `layout` says. text: of each clip. frame_t: the time vector of each frame. clip_gate:
        row `GATE` of the time vector of noised frames. positions: of frames, in the first block alone. Returns
        tokens."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = layout.vectors(self.scale_shift_table, frame_t)
        u = modulate(h, shift_a, scale_a)
        h = add_gated(h, gate_a, layout.dropped(self.drop_path, layout.over_space(self.attn, u)))
        # Not normalised, not modulated, and gated alike on all frames: the published weights were trained so.
        u = h if positions is None else h + positions
        h = add_gated(
            h,
            self.scale_shift_table[GATE] + clip_gate,
            layout.dropped(self.drop_path, layout.over_time(self.attn_temp, u)),
        )
        h = h + layout.to_caption(self.cross_attn, h, text)
        return add_gated(h, gate_m, layout.dropped(self.drop_path, self.mlp(modulate(h, shift_m, scale_m))))


class STDiT(Trunk):
    """The network; see `vidgen.interfaces.Model`. Made by `build`, which also gives it its start values: a new model
    returns zeros."""

    conditioning = frozenset({"y", "mask", "x_mask", "drop_caption", "valid"})
    options: STDiTOptions
    pos_embed: Tensor
    pos_embed_temporal: Tensor

    def __init__(self, options: STDiTOptions, *, size: Size3, widths: Widths) -> None:
        """size: latent (frames, rows, columns), multiples of the patch size; `widths` stand in for the options'."""
        super().__init__(options, widths)
        self.size = size
        self.grid = frames, rows, columns = token_grid(size, options.patch_size)
        width = options.hidden_size
        self.register_buffer("pos_embed", torch.empty(1, rows * columns, width))
        self.register_buffer("pos_embed_temporal", torch.empty(1, frames, width))
        mlp_width = int(width * options.mlp_ratio)
        self.blocks = nn.ModuleList(
            Block(width=width, heads=options.num_heads, mlp_width=mlp_width, drop_path=rate)
            for rate in drop_path_rates(options.drop_path, options.depth)
        )

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        y: Tensor | None = None,
        mask: Tensor | None = None,
        x_mask: Tensor | None = None,
        drop_caption: Tensor | None = None,
        valid: Tensor | None = None,
        text: Tensor | None = None,
    ) -> Tensor:
        """Predict noise or velocity.

        x: (B, C, T, H, W), of `size` or smaller: then the first places of the position tables are used. timestep: (B,),
        0 to 1000. y: caption features (B, N, caption channels), also accepted as (B, 1, N, caption channels). mask:
        (B', N) 0/1, B' divides B, row i % B' for clip i, 1 where a token counts, at least one a row. x_mask: (B, t)
        bool, true where a frame is noised, false where it is given. drop_caption: (B,) bool, true for the null caption;
        without it a model in training mode draws it. valid: (B, T, H, W) bool, see `vidgen.interfaces.Model`. text:
        instead of y, what `encode_text` made of it.
        Returns (B, C, T, H, W) float32, or twice the channels with pred_sigma; zeros where there is padding.
        Raises: UserError, when shapes do not fit the model.
        """
        grid = self._checked_grid(x, timestep)
        if valid is None and tuple(x.shape[2:]) != self.size:
            valid = torch.ones(len(x), *x.shape[2:], dtype=torch.bool, device="cpu")
        if x_mask is not None:
            checks.check_shape(x_mask, (len(x), grid[0]), name="x_mask")
        layout = layout_of(x, valid, x_mask, self.patch_size, self.tokens)
        caption = layout.text(
            self.y_embedder.text(y, mask, drop_caption, text, clips=len(x), dropout=self.caption_dropout)
        )
        h = layout.embedded(self.x_embedder, x.to(self.dtype)) + self._frame_positions(layout)
        t, t0 = self.times(timestep)
        clip_t = self.t_block(t)
        frame_t = layout.by_frame(clip_t, lambda: self.t_block(t0))
        clip_gate = layout.of_clips(clip_t.unflatten(1, (6, -1))[:, GATE])
        positions = layout.of_frames(self.pos_embed_temporal[0])
        for i, block in enumerate(self.blocks):
            h = block(h, caption.of_block(i), frame_t, clip_gate, positions if i == 0 else None, layout)
        return layout.latents(layout.finished(self.final_layer, h, t, t0), x, self.patch_size).float()

    def repeated_blocks(self) -> Sequence[nn.Module]:
        """The blocks, in order."""
        return list(self.blocks)

    def _checked_grid(self, x: Tensor, timestep: Tensor) -> Size3:
        """Patches along time, rows and columns. Raises: UserError, also for more of them than the position tables
        have."""
        grid = checked_grid(x, timestep, None, channels=self.latent_channels, patch=self.patch_size)
        if any(given > most for given, most in zip(grid, self.grid, strict=True)):
            raise UserError(
                f"the model got latents of {list(x.shape[2:])} frames, rows, columns; its position tables are "
                f"for {list(self.size)} and smaller. Set input_size to the largest clips"
            )
        return grid

    def _frame_positions(self, layout: Grid | Packed) -> Tensor:
        """Of tokens within their frame: (1, S, D), or (M, D) of packed clips."""
        if isinstance(layout, Packed):
            return self.pos_embed[0, layout.places.row * self.grid[2] + layout.places.column]
        return layout.of_places(self.pos_embed)

    def tables(self) -> dict[str, Tensor]:
        """The position tables by name, (1, S, D) and (1, t, D) float32: functions of the options alone."""
        frames, rows, columns = (torch.arange(n, device="cpu") for n in self.grid)
        width, scale = self.options.hidden_size, self.options.space_scale
        space = grid_table(rows / scale, columns / scale, width)
        time = axis_table(frames / self.options.time_scale, width)
        return {"pos_embed": space[None].float(), "pos_embed_temporal": time[None].float()}


def build(options: STDiTOptions, context: Context) -> STDiT:
    """A new STDiT on the default device, with the weights of `from_pretrained` where given.

    Raises: UserError, when options contradict the rest of the recipe or each other, or weights do not fit.
    """
    options = with_published_options(options, context)
    size = checks.settled(
        options.input_size, context.latent_size, DEFAULT_SIZE, key="input_size", source="the autoencoder"
    )
    checks.check_divisible(size, options.patch_size)
    checks.check_width(options.hidden_size, options.num_heads, multiple=4)
    widths = checks.settled_widths(options, context, caption_length=DEFAULT_LENGTH)
    model = build_network(lambda: STDiT(options, size=size, widths=widths), options, context, to_stdit)
    freeze_part(model, options.freeze)
    return model
