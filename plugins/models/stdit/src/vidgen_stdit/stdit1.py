"""STDiT, version 1 (Open-Sora 1.0): the block, then STDiT, then build().

Every block attends within frames, then across frames at each position, then to the caption. Clips have one size, fixed
when the model is built.

Letters: B clips, C latent channels, T H W latent frames/rows/columns, t h w the same counted in patches, S = h w tokens
of one frame, D width, N caption tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from vidgen.interfaces import Context
from vidgen_layers import checks
from vidgen_layers.attention import CrossAttention, SelfAttention
from vidgen_layers.captions import Text
from vidgen_layers.checks import Size3, Widths
from vidgen_layers.layers import DropPath, Mlp, add_gated, drop_path_rates, modulate, table_rows
from vidgen_layers.network import build_network, with_published_options
from vidgen_layers.patches import token_grid, unpatch
from vidgen_layers.positions import axis_table, grid_table

from vidgen_stdit import STDiTOptions
from vidgen_stdit.trunk import Trunk, by_frame, freeze_part, over_space, over_time, to_caption
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

    def forward(self, h: Tensor, text: Text, frame_t: Tensor, clip_gate: Tensor, positions: Tensor | None) -> Tensor:
        """h: (B, t, S, D). text: of each clip. frame_t: (B, t or 1, 6 D), the time vector of each frame. clip_gate:
        (B, 1, 1, D), row `GATE` of the time vector of noised frames. positions: (t, 1, D), in the first block alone.
        Returns (B, t, S, D)."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = table_rows(self.scale_shift_table, frame_t)
        h = add_gated(h, gate_a, self.drop_path(over_space(self.attn, modulate(h, shift_a, scale_a))))
        # Not normalised, not modulated, and gated alike on all frames: the published weights were trained so.
        u = h if positions is None else h + positions
        h = add_gated(h, self.scale_shift_table[GATE] + clip_gate, self.drop_path(over_time(self.attn_temp, u)))
        h = h + to_caption(self.cross_attn, h, text)
        return add_gated(h, gate_m, self.drop_path(self.mlp(modulate(h, shift_m, scale_m))))


class STDiT(Trunk):
    """The network; see `vidgen.interfaces.Model`. Made by `build`, which also gives it its start values: a new model
    returns zeros."""

    conditioning = frozenset({"y", "mask", "x_mask", "drop_caption"})
    pos_embed: Tensor
    pos_embed_temporal: Tensor

    def __init__(self, options: STDiTOptions, *, size: Size3, widths: Widths) -> None:
        """size: latent (frames, rows, columns), multiples of the patch size; `widths` stand in for the options'."""
        super().__init__(options, widths)
        self.options, self.size = options, size
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
        text: Tensor | None = None,
    ) -> Tensor:
        """Predict noise or velocity.

        x: (B, C, *size). timestep: (B,), 0 to 1000. y: caption features (B, N, caption channels), also accepted as
        (B, 1, N, caption channels). mask: (B', N) 0/1, B' divides B, row i % B' for clip i, 1 where a token counts, at
        least one a row. x_mask: (B, t) bool, true where a frame is noised, false where it is given. drop_caption: (B,)
        bool, true for the null caption; without it a model in training mode draws it. text: instead of y, what
        `encode_text` made of it.
        Returns (B, C, *size) float32, or twice the channels with pred_sigma.
        Raises: UserError, when shapes do not fit the model.
        """
        checks.check_latents(x, timestep, channels=self.latent_channels, size=self.size)
        if x_mask is not None:
            checks.check_shape(x_mask, (len(x), self.grid[0]), name="x_mask")
        caption = self.y_embedder.text(y, mask, drop_caption, text, clips=len(x), dropout=self.caption_dropout)
        h = self.x_embedder(x.to(self.dtype)) + self.pos_embed
        t, t0 = self.times(timestep)
        clip_t = self.t_block(t)
        frame_t = by_frame(x_mask, clip_t, lambda: self.t_block(t0))
        clip_gate = clip_t.unflatten(1, (6, -1))[:, None, None, GATE]
        positions = self.pos_embed_temporal[0, :, None]
        for i, block in enumerate(self.blocks):
            h = block(h, caption, frame_t, clip_gate, positions if i == 0 else None)
        return unpatch(self.patches(h, t, t0, x_mask), self.patch_size, self.grid[1]).float()

    def repeated_blocks(self) -> Sequence[nn.Module]:
        """The blocks, in order."""
        return list(self.blocks)

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
