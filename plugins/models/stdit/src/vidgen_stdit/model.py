"""STDiT, version 1 (Open-Sora 1.0): the block, then STDiT, then build().

Every block attends within frames, then across frames at each position, then to the caption. Clips have one size, fixed
when the model is built.

Letters: B clips, C latent channels, T H W latent frames/rows/columns, t h w the same counted in patches, S = h w tokens
of one frame, D width, N caption tokens.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from math import prod

import torch
from einops import rearrange
from torch import Tensor, nn
from vidgen import weights
from vidgen.interfaces import Context

from vidgen_stdit import STDiTOptions, checks
from vidgen_stdit.attention import CrossAttention, SelfAttention
from vidgen_stdit.checks import Size3, Widths
from vidgen_stdit.embedders import CaptionEmbedder, NumberEmbedder
from vidgen_stdit.initialise import Fill, draw, freeze, normal, uniform, xavier, zero
from vidgen_stdit.layers import DropPath, FinalLayer, Mlp, add_gated, modulate, table_rows
from vidgen_stdit.patches import PatchEmbed, unpatch
from vidgen_stdit.positions import axis_table, grid_table
from vidgen_stdit.weights import convert

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
        self, h: Tensor, y: Tensor, mask: Tensor | None, frame_t: Tensor, clip_gate: Tensor, positions: Tensor | None
    ) -> Tensor:
        """h: (B, t, S, D). y: (B, N, D). mask: (B, 1, 1, N) bool. frame_t: (B, t or 1, 6 D), the time vector of each
        frame. clip_gate: (B, 1, 1, D), row `GATE` of the time vector of noised frames. positions: (t, 1, D), in the
        first block alone. Returns (B, t, S, D)."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = table_rows(self.scale_shift_table, frame_t)
        h = add_gated(h, gate_a, self.drop_path(self._over_space(modulate(h, shift_a, scale_a))))
        # Not normalised, not modulated, and gated alike on all frames: the published weights were trained so.
        u = h if positions is None else h + positions
        h = add_gated(h, self.scale_shift_table[GATE] + clip_gate, self.drop_path(self._over_time(u)))
        h = h + self.cross_attn(h.flatten(1, 2), y, mask).view_as(h)
        return add_gated(h, gate_m, self.drop_path(self.mlp(modulate(h, shift_m, scale_m))))

    def _over_space(self, h: Tensor) -> Tensor:
        return self.attn(h.flatten(0, 1)).view_as(h)

    def _over_time(self, h: Tensor) -> Tensor:
        out = self.attn_temp(rearrange(h, "b t s d -> (b s) t d"))
        return rearrange(out, "(b s) t d -> b t s d", b=h.shape[0])


class STDiT(nn.Module):
    """The network; see `vidgen.interfaces.Model`. Made by `build`, which also gives it its start values."""

    conditioning = frozenset({"y", "mask", "x_mask", "drop_caption"})
    pos_embed: Tensor
    pos_embed_temporal: Tensor

    def __init__(self, options: STDiTOptions, *, size: Size3, widths: Widths) -> None:
        """size: latent (frames, rows, columns), multiples of the patch size; `widths` stand in for the options'."""
        super().__init__()
        self.options, self.size, self.widths = options, size, widths
        self.latent_channels = widths.latents
        self.patch_size = options.patch_size
        self.caption_dropout = options.class_dropout_prob
        frames, rows, columns = (n // p for n, p in zip(size, options.patch_size, strict=True))
        self.grid = (frames, rows, columns)
        width = options.hidden_size
        self.register_buffer("pos_embed", torch.empty(1, rows * columns, width))
        self.register_buffer("pos_embed_temporal", torch.empty(1, frames, width))
        self.x_embedder = PatchEmbed(channels=widths.latents, patch=options.patch_size, width=width)
        self.t_embedder = NumberEmbedder(width)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.y_embedder = CaptionEmbedder(channels=widths.caption, width=width, length=widths.caption_length)
        mlp_width = int(width * options.mlp_ratio)
        self.blocks = nn.ModuleList(
            Block(width=width, heads=options.num_heads, mlp_width=mlp_width, drop_path=rate)
            for rate in torch.linspace(0, options.drop_path, options.depth, device="cpu").tolist()
        )
        out_channels = widths.latents * (2 if options.pred_sigma else 1)
        self.final_layer = FinalLayer(width, prod(options.patch_size) * out_channels)

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        y: Tensor,
        mask: Tensor | None = None,
        x_mask: Tensor | None = None,
        drop_caption: Tensor | None = None,
    ) -> Tensor:
        """Predict noise or velocity.

        x: (B, C, *size). timestep: (B,), 0 to 1000. y: caption features (B, N, caption channels), also accepted as
        (B, 1, N, caption channels). mask: (B', N) 0/1, B' divides B, row i % B' for clip i, 1 where a token counts, at
        least one a row. x_mask: (B, t) bool, true where a frame is noised, false where it is given. drop_caption: (B,)
        bool, true for the null caption; without it a model in training mode draws it.
        Returns (B, C, *size) float32, or twice the channels with pred_sigma.
        Raises: UserError, when shapes do not fit the model.
        """
        y = y.squeeze(1) if y.ndim == 4 else y
        drop_caption = self._dropped(x, drop_caption)
        self._check(x, timestep, y, mask, x_mask, drop_caption)
        dtype = self.x_embedder.proj.weight.dtype
        h = self.x_embedder(x.to(dtype)) + self.pos_embed
        y = self.y_embedder(y.to(dtype), drop_caption)
        t, t0 = self.t_embedder(timestep.to(dtype)), self.t_embedder(torch.zeros_like(timestep[:1], dtype=dtype))
        clip_t = frame_t = self.t_block(t)[:, None]
        if x_mask is not None:
            frame_t = torch.where(x_mask[:, :, None], clip_t, self.t_block(t0)[:, None])
        clip_gate = clip_t.unflatten(2, (6, -1))[:, :, GATE, None]
        mask = None if mask is None else mask.bool().repeat(len(x) // len(mask), 1)[:, None, None]
        positions = self.pos_embed_temporal[0, :, None]
        for i, block in enumerate(self.blocks):
            h = block(h, y, mask, frame_t, clip_gate, positions if i == 0 else None)
        out = self.final_layer(h, t) if x_mask is None else self.final_layer.by_frame(h, t, t0, x_mask)
        return unpatch(out, self.patch_size, self.grid[1]).float()

    def null_conditioning(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same with the null caption in place of `y`; the mask stays that of the real caption, as in training.

        Raises: UserError, when the captions are longer than the null caption.
        """
        y = conditioning["y"]
        checks.check_null_caption(y.shape[-2], self.widths.caption_length)
        return {**conditioning, "y": self.y_embedder.null_caption(y.shape[-2]).to(y).expand_as(y)}

    def repeated_blocks(self) -> Sequence[nn.Module]:
        """The blocks, in order."""
        return list(self.blocks)

    @torch.no_grad()
    def start(self, seed: int) -> None:
        """Work out the position tables and draw all start values; a new model returns zeros."""
        draw(self, self._start_value, seed)
        for name, table in self.tables().items():
            self.get_buffer(name).copy_(table)

    def tables(self) -> dict[str, Tensor]:
        """The position tables by name, (1, S, D) and (1, t, D) float32: functions of the options alone."""
        frames, rows, columns = (torch.arange(n, device="cpu") for n in self.grid)
        width, scale = self.options.hidden_size, self.options.space_scale
        space = grid_table(rows / scale, columns / scale, width)
        time = axis_table(frames / self.options.time_scale, width)
        return {"pos_embed": space[None].float(), "pos_embed_temporal": time[None].float()}

    def _start_value(self, name: str, value: Tensor) -> Fill:
        if name.startswith("pos_embed"):
            return zero  # worked out afterwards
        if name == "y_embedder.y_embedding" or name.endswith("scale_shift_table"):
            return normal(value.shape[1] ** -0.5)
        if name == "x_embedder.proj.bias":
            return uniform(self.x_embedder.proj.weight[0].numel() ** -0.5)
        if name.endswith("bias") or any(part in name for part in ("cross_attn.proj", "attn_temp.proj", "final_layer")):
            return zero
        return normal(0.02) if name.startswith(("t_embedder", "t_block", "y_embedder")) else xavier

    def _dropped(self, x: Tensor, drop_caption: Tensor | None) -> Tensor | None:
        if drop_caption is None and self.training and self.caption_dropout > 0:
            return torch.rand(x.shape[0], device=x.device) < self.caption_dropout
        return drop_caption

    def _check(
        self,
        x: Tensor,
        timestep: Tensor,
        y: Tensor,
        mask: Tensor | None,
        x_mask: Tensor | None,
        drop_caption: Tensor | None,
    ) -> None:
        clips = x.shape[0]
        checks.check_latents(x, timestep, channels=self.widths.latents, size=self.size)
        checks.check_caption(y, mask, clips=clips, width=self.widths.caption)
        if x_mask is not None:
            checks.check_shape(x_mask, (clips, self.grid[0]), name="x_mask")
        if drop_caption is not None:
            checks.check_shape(drop_caption, (clips,), name="drop_caption")
            checks.check_null_caption(y.shape[1], self.widths.caption_length)


def build(options: STDiTOptions, context: Context) -> STDiT:
    """A new STDiT on the default device, with the weights of `from_pretrained` where given.

    Raises: UserError, when options contradict the rest of the recipe or each other, or weights do not fit.
    """
    size = checks.settled(
        options.input_size, context.latent_size, DEFAULT_SIZE, key="input_size", source="the autoencoder"
    )
    checks.check_divisible(size, options.patch_size)
    checks.check_width(options.hidden_size, options.num_heads, multiple=4)
    widths = checks.settled_widths(options, context, caption_length=DEFAULT_LENGTH)
    device = torch.get_default_device()
    with torch.device("meta"):  # so that nothing is drawn twice
        model = STDiT(options, size=size, widths=widths)
    model.to_empty(device=device)
    model.start(context.seed)
    if options.from_pretrained is not None and context.load_weights:
        weights.load_into(model, options.from_pretrained, convert=partial(convert, own=model.state_dict()))
    if options.freeze == "not_temporal":
        freeze(model, lambda name: "attn_temp" not in name)
    elif options.freeze == "text":
        freeze(model, lambda name: "cross_attn" in name)
    return model
