"""STDiT, version 1 (Open-Sora 1.0): the block, then STDiT, then build().

Every block attends within frames, then across frames at each position, then to the caption. Clips have one size, fixed
when the model is built.

Letters: B clips, C latent channels, T H W latent frames/rows/columns, t h w the same counted in patches, S = h w tokens
of one frame, D width, N caption tokens.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import attrs
import torch
from einops import rearrange
from torch import Tensor, nn
from vidgen import weights
from vidgen.interfaces import Context

from vidgen_stdit import STDiTOptions, checks
from vidgen_stdit.attention import CrossAttention, SelfAttention
from vidgen_stdit.embedders import CaptionEmbedder, NumberEmbedder
from vidgen_stdit.initialise import Fill, draw, freeze, normal, uniform, xavier, zero
from vidgen_stdit.layers import DropPath, FinalLayer, Mlp, add_gated, modulate, table_rows
from vidgen_stdit.patches import PatchEmbed, unpatch
from vidgen_stdit.positions import axis_table, grid_table
from vidgen_stdit.weights import convert

GATE = 2  # row of a block's table that gates the attention


class Block(nn.Module):
    """Attention over space, over time, to the caption, then an MLP."""

    def __init__(self, width: int, heads: int, mlp_width: int, drop_path: float) -> None:
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.empty(6, width))
        self.attn = SelfAttention(width, heads)
        self.cross_attn = CrossAttention(width, heads)
        self.mlp = Mlp(width, mlp_width, width)
        self.attn_temp = SelfAttention(width, heads)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, h: Tensor, y: Tensor, mask: Tensor | None, frame_t: Tensor, clip_t: Tensor, positions: Tensor | None
    ) -> Tensor:
        """h: (B, t, S, D); y: (B, N, D); mask: (B, 1, 1, N) bool. frame_t: (B, t or 1, 6 D), the time vector of each
        frame; clip_t: (B, 1, 6 D), of the noised frames. positions: (t, 1, D), in the first block alone.
        Returns (B, t, S, D)."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = table_rows(self.scale_shift_table, frame_t)
        h = add_gated(h, gate_a, self.drop_path(self._over_space(modulate(h, shift_a, scale_a))))
        # Neither normalised nor modulated, and gated by the time of the noised frames: so the published weights expect.
        gate_t = table_rows(self.scale_shift_table, clip_t)[GATE]
        u = h if positions is None else h + positions
        h = add_gated(h, gate_t, self.drop_path(self._over_time(u)))
        h = h + self.cross_attn(h.flatten(1, 2), y, mask).view_as(h)
        return add_gated(h, gate_m, self.drop_path(self.mlp(modulate(h, shift_m, scale_m))))

    def _over_space(self, h: Tensor) -> Tensor:
        return self.attn(h.flatten(0, 1)).view_as(h)

    def _over_time(self, h: Tensor) -> Tensor:
        out = self.attn_temp(rearrange(h, "b t s d -> (b s) t d"))
        return rearrange(out, "(b s) t d -> b t s d", b=h.shape[0])


class STDiT(nn.Module):
    """The network; see `vidgen.interfaces.Model`. Made by `build`, which also fills it."""

    conditioning = frozenset({"y", "mask", "x_mask", "drop_caption"})

    def __init__(self, options: STDiTOptions) -> None:
        """options: with all sizes settled."""
        super().__init__()
        width = options.hidden_size
        self.options = options
        self.latent_channels = options.in_channels
        self.patch_size = options.patch_size
        self.caption_dropout = options.class_dropout_prob
        self.grid = tuple(n // p for n, p in zip(options.input_size, options.patch_size, strict=True))  # t, h, w
        frames, rows, columns = self.grid
        self.register_buffer("pos_embed", torch.empty(1, rows * columns, width))
        self.register_buffer("pos_embed_temporal", torch.empty(1, frames, width))
        self.x_embedder = PatchEmbed(options.in_channels, options.patch_size, width)
        self.t_embedder = NumberEmbedder(width)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.y_embedder = CaptionEmbedder(options.caption_channels, width, options.model_max_length)
        self.blocks = nn.ModuleList(
            Block(width, options.num_heads, int(width * options.mlp_ratio), rate)
            for rate in torch.linspace(0, options.drop_path, options.depth, device="cpu").tolist()
        )
        patch = options.patch_size[0] * options.patch_size[1] * options.patch_size[2]
        self.final_layer = FinalLayer(width, patch * options.in_channels * (2 if options.pred_sigma else 1))

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

        x: (B, C, *input_size). timestep: (B,), 0 to 1000. y: caption features (B, N, caption_channels), also accepted
        as (B, 1, N, caption_channels). mask: (B', N) 0/1, B' divides B, row i % B' for clip i, 1 where a token counts,
        at least one a row. x_mask: (B, t) bool, true where a frame is noised, false where it is given. drop_caption:
        (B,) bool, true for the null caption; without it a model in training mode draws it.
        Returns (B, C, *input_size) float32, or twice the channels with pred_sigma.
        Raises: UserError, when shapes do not fit the model.
        """
        y, drop_caption = self._checked(x, y, mask, x_mask, drop_caption)
        dtype = self.x_embedder.proj.weight.dtype
        h = self.x_embedder(x.to(dtype)) + self.pos_embed
        y = self.y_embedder(y.to(dtype), drop_caption)
        t = self.t_embedder(timestep.to(dtype))
        t0 = self.t_embedder(torch.zeros_like(timestep[:1], dtype=dtype))
        clip_t = self.t_block(t)[:, None]
        frame_t = clip_t if x_mask is None else torch.where(x_mask[:, :, None], clip_t, self.t_block(t0)[:, None])
        mask = None if mask is None else mask.bool().repeat(len(x) // len(mask), 1)[:, None, None]
        positions = self.pos_embed_temporal[0, :, None]
        for i, block in enumerate(self.blocks):
            h = block(h, y, mask, frame_t, clip_t, positions if i == 0 else None)
        out = self.final_layer(h, t) if x_mask is None else self.final_layer.by_frame(h, t, t0, x_mask)
        return unpatch(out, self.patch_size, self.grid[1]).float()

    def null_conditioning(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same with the null caption in place of `y`; the mask stays that of the real caption, as in training."""
        y = conditioning["y"]
        checks.check_null_caption(y.shape[-2], len(self.y_embedder.y_embedding))
        null = self.y_embedder.null_caption(y.shape[-2]).to(y).expand_as(y)
        return {**conditioning, "y": null}

    def repeated_blocks(self) -> Sequence[nn.Module]:
        """The blocks, in order."""
        return list(self.blocks)

    def fill(self, seed: int) -> None:
        """Work out the position tables and draw all start values; a new model returns zeros."""
        draw(self, self._start_value, seed)
        self.pos_embed.copy_(self.tables()["pos_embed"])
        self.pos_embed_temporal.copy_(self.tables()["pos_embed_temporal"])

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

    def _checked(
        self, x: Tensor, y: Tensor, mask: Tensor | None, x_mask: Tensor | None, drop_caption: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """y as (B, N, caption_channels) and the captions to drop, after all checks of shapes."""
        options, clips = self.options, x.shape[0]
        checks.check_latents(x, options.in_channels, options.input_size)
        y = y.squeeze(1) if y.ndim == 4 else y
        checks.check_caption(y, mask, clips, options.caption_channels)
        if x_mask is not None:
            checks.check_per_clip("x_mask", x_mask, (clips, self.grid[0]))
        if drop_caption is None and self.training and options.class_dropout_prob > 0:
            drop_caption = torch.rand(clips, device=x.device) < options.class_dropout_prob
        if drop_caption is not None:
            checks.check_per_clip("drop_caption", drop_caption, (clips,))
            checks.check_null_caption(y.shape[1], options.model_max_length)
        return y, drop_caption


def build(options: STDiTOptions, context: Context) -> STDiT:
    """A new STDiT on the default device, with the weights of `from_pretrained` where given.

    Raises: UserError, when options contradict the rest of the recipe or each other, or weights do not fit.
    """
    options = settle(options, context)
    device = torch.get_default_device()
    with torch.device("meta"):
        model = STDiT(options)
    model.to_empty(device=device)
    model.fill(context.seed)
    if options.from_pretrained is not None and context.load_weights:
        weights.load_into(model, options.from_pretrained, convert=partial(convert, model=model))
    if options.freeze == "not_temporal":
        freeze(model, lambda name: "attn_temp" not in name)
    elif options.freeze == "text":
        freeze(model, lambda name: "cross_attn" in name)
    return model


def settle(options: STDiTOptions, context: Context) -> STDiTOptions:
    """The options with the sizes filled in that the rest of the recipe decides. Raises: UserError."""
    vae, text = "the autoencoder", "the text encoder"
    options = attrs.evolve(
        options,
        input_size=checks.settled("input_size", options.input_size, context.latent_size, vae, (1, 32, 32)),
        in_channels=checks.settled("in_channels", options.in_channels, context.latent_channels, vae, 4),
        caption_channels=checks.settled("caption_channels", options.caption_channels, context.text_width, text, 4096),
        model_max_length=checks.settled("model_max_length", options.model_max_length, context.text_length, text, 120),
    )
    checks.check_divisible(options.input_size, options.patch_size)
    checks.check_width(options.hidden_size, options.num_heads, 4)
    return options
