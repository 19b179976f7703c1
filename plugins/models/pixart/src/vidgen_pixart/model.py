"""PixArt-alpha and PixArt-Sigma: the block, then PixArt, then build().

Every block attends over all tokens of a clip, then to the caption. An image is a clip of one frame.

Letters: B clips, C latent channels, T H W latent frames/rows/columns, t h w the same counted in patches, S = h w tokens
of one frame, n tokens of a clip that a rank has, t S where there is one, D width, N caption tokens.
"""

from collections.abc import Mapping, Sequence
from math import isqrt, prod
from typing import Any

import torch
from torch import Tensor, nn
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen.mesh import ALONE, TokenGroup
from vidgen.weights import State
from vidgen_layers import captions, checks
from vidgen_layers.attention import CrossAttention, SelfAttention
from vidgen_layers.captions import Text
from vidgen_layers.checks import Size3, Widths
from vidgen_layers.embedders import CaptionEmbedder, NumberEmbedder
from vidgen_layers.initialise import Fill, constant, freeze, normal, uniform, xavier, zero
from vidgen_layers.layers import DropPath, FinalLayer, Mlp, add_gated, drop_path_rates, modulate, table_rows
from vidgen_layers.network import build_network, with_published_options
from vidgen_layers.patches import PatchEmbed, token_grid, unpatch
from vidgen_layers.positions import axis_table, grid_table
from vidgen_layers.sharing import Sequences

from vidgen_pixart import PixArtOptions
from vidgen_pixart.compression import SigmaAttention, check_compression, check_grid, key_groups
from vidgen_pixart.weights import config_in, in_layout, options_of, to_pixart

DEFAULT_SIZE = (1, 32, 32)
DEFAULT_LENGTH = 120
SIZE_NUMBERS = 3  # height, width and their ratio share the width of the size vector


class Block(nn.Module):
    """Attention over all tokens, to the caption, then an MLP."""

    def __init__(self, attn: SelfAttention | SigmaAttention, *, width: int, mlp_width: int, drop_path: float) -> None:
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.empty(6, width))
        self.attn = attn
        self.cross_attn = CrossAttention(width, attn.heads)
        self.mlp = Mlp(width, mlp_width, width)
        self.drop_path = DropPath(drop_path)

    def forward(self, h: Tensor, text: Text, condition: Tensor, groups: Tensor | None, clips: Sequences) -> Tensor:
        """h: (B, 1, n, D), this rank's part of the clips' tokens. condition: (B, 1, 6 D), of the time (and size)
        vector. groups: see `SigmaAttention`; None where all tokens are keys. Returns (B, 1, n, D)."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = table_rows(self.scale_shift_table, condition)
        h = add_gated(h, gate_a, self.drop_path(self._attend(modulate(h, shift_a, scale_a), groups, clips)))
        h = h + self.cross_attn(h.flatten(1, 2), *text).view_as(h)
        return add_gated(h, gate_m, self.drop_path(self.mlp(modulate(h, shift_m, scale_m))))

    def _attend(self, h: Tensor, groups: Tensor | None, clips: Sequences) -> Tensor:
        if isinstance(self.attn, SigmaAttention):
            return self.attn(h.flatten(1, 2), groups, clips).view_as(h)
        return clips.attend(self.attn, h.flatten(1, 2)).view_as(h)


class PixArt(nn.Module):
    """The network; see `vidgen.interfaces.Model`. Made by `build`, which also gives it its start values.

    layouts: the published forms that `state_in` writes: `original`, of PixArt-alpha's and PixArt-Sigma's own code, and
        `diffusers`, of PixArtTransformer2DModel.
    """

    layouts: tuple[str, ...] = ("original", "diffusers")
    tokens: TokenGroup = ALONE
    pos_embed: Tensor
    pos_embed_temporal: Tensor

    def __init__(self, options: PixArtOptions, *, size: Size3, widths: Widths) -> None:
        """size: latent (frames, rows, columns), multiples of the patch size; `widths` stand in for the options'."""
        super().__init__()
        self.options, self.size, self.widths = options, size, widths
        self.latent_channels = widths.latents
        self.patch_size = options.patch_size
        self.text_width = widths.caption
        self.caption_dropout = options.class_dropout_prob
        sizes = {"height", "width", "ar"} if options.micro_condition else set()
        self.conditioning = frozenset({"y", "mask", "drop_caption", *sizes})
        self.grid = token_grid(size, options.patch_size)
        width = options.hidden_size
        self.register_buffer("pos_embed", torch.empty(1, prod(self.grid[1:]), width))
        self.register_buffer("pos_embed_temporal", torch.empty(1, self.grid[0], width))
        self.x_embedder = PatchEmbed(channels=widths.latents, patch=options.patch_size, width=width)
        self.t_embedder = NumberEmbedder(width)
        if options.micro_condition:
            self.csize_embedder = NumberEmbedder(width // SIZE_NUMBERS)
            self.ar_embedder = NumberEmbedder(width // SIZE_NUMBERS)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.y_embedder = CaptionEmbedder(channels=widths.caption, width=width, length=widths.caption_length)
        rates = drop_path_rates(options.drop_path, options.depth)
        self.compressed = _compressed_blocks(options)
        self.blocks = nn.ModuleList(
            Block(
                _attention(options, compressed=i in self.compressed),
                width=width,
                mlp_width=int(width * options.mlp_ratio),
                drop_path=rate,
            )
            for i, rate in enumerate(rates)
        )
        self.out_channels = widths.latents * (2 if options.pred_sigma else 1)
        self.final_layer = FinalLayer(width, prod(options.patch_size) * self.out_channels)

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        y: Tensor | None = None,
        mask: Tensor | None = None,
        height: Tensor | None = None,
        width: Tensor | None = None,
        ar: Tensor | None = None,
        drop_caption: Tensor | None = None,
        text: Tensor | None = None,
        data_info: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Predict noise or velocity.

        x: (B, C, *size), or with any_size of any size that divides into patches. timestep: (B,), 0 to 1000. y: caption
        features (B, N, caption channels), also accepted as (B, 1, N, caption channels). mask: (B', N) 0/1, also
        (B', 1, 1, N), B' divides B, row i % B' for clip i, 1 where a token counts, at least one a row. height, width,
        ar: with micro_condition, pixels and height / width of the clip, (B',), else not looked at. drop_caption: (B,)
        bool, true for the null caption; without it a model in training mode draws it. text: instead of y, what
        `encode_text` made of it. data_info: instead of height, width and ar, Open-Sora's `hw` (B', 2) and `ar` (B',).
        Returns (B, C, T, H, W) float32, or twice the channels with pred_sigma.
        Raises: UserError, when shapes do not fit the model.
        """
        grid = self._grid(x, timestep)
        dtype = self.x_embedder.proj.weight.dtype
        caption = self.y_embedder.text(y, mask, drop_caption, text, clips=len(x), dropout=self.caption_dropout)
        t = self.t_embedder(timestep.to(dtype))
        if self.options.micro_condition:
            if data_info is not None:
                (height, width), ar = data_info["hw"].unbind(1), data_info["ar"]
            t = t + self._size_vector(height, width, ar, t)
        clips = Sequences(length=prod(grid), tokens=self.tokens)
        h = self.x_embedder(x.to(dtype), lambda patches: clips.part(patches.flatten(1, 2)))
        h = (h + clips.part(self._positions(grid)))[:, None]
        condition = self.t_block(t)[:, None]
        groups = self._key_groups(grid)
        for i, block in enumerate(self.blocks):
            h = block(h, caption.of_block(i), condition, groups if i in self.compressed else None, clips)
        patches = clips.whole(self.final_layer(h, t)[:, 0]).unflatten(1, (grid[0], -1))
        return unpatch(patches, self.patch_size, grid[1]).float()

    def encode_text(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same conditioning with the keys and values that each block makes of `y`, as `text`; `forward` takes
        either, with equal results."""
        return captions.for_blocks(self.y_embedder.encode_text(conditioning), self.repeated_blocks())

    def null_conditioning(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same with the null caption in place of `y`; the mask stays that of the real caption, as in training.

        Raises: UserError, when the captions are longer than the null caption.
        """
        return self.y_embedder.null_conditioning(conditioning)

    def repeated_blocks(self) -> Sequence[nn.Module]:
        """The blocks, in order."""
        return list(self.blocks)

    def state_in(self, layout: str) -> State:
        """The state dict as a published form of the image model has it; tables included where that has them.

        layout: one of `layouts`. Raises: UserError, when this model has parts that the form lacks.
        """
        return in_layout(layout, self.state_dict(), self.options)

    def config_in(self, layout: str) -> Mapping[str, Any]:
        """The `config.json` beside these weights, empty where the layout has none."""
        side = self.options.base_size or isqrt(self.size[1] * self.size[2])
        return config_in(layout, self.options, self.widths, side)

    def tables(self) -> dict[str, Tensor]:
        """The position tables by name, (1, S, D) and (1, t, D) float32: functions of the options alone."""
        space, time = self._tables(self.grid, torch.device("cpu"))
        return {"pos_embed": space, "pos_embed_temporal": time}

    def start_value(self, name: str, value: Tensor) -> Fill:
        """See `vidgen_layers.initialise.Startable`; a new model returns zeros."""
        if name == "y_embedder.y_embedding" or name.endswith("scale_shift_table"):
            return normal(value.shape[1] ** -0.5)
        if name == "x_embedder.proj.bias" or name.startswith(("csize_embedder", "ar_embedder")):
            weight = self.get_parameter(name.rpartition(".")[0] + ".weight")
            return uniform(weight[0].numel() ** -0.5)
        if name.endswith("bias") or "cross_attn.proj" in name or name.startswith("final_layer"):
            return zero
        if "norm.weight" in name:
            return constant(1.0)
        if name.endswith("attn.sr.weight"):
            return constant(1 / value[0].numel())  # at first the mean of a square
        return normal(0.02) if name.startswith(("t_embedder", "t_block", "y_embedder")) else xavier

    def _grid(self, x: Tensor, timestep: Tensor) -> Size3:
        """The clips' size in patches. Raises: UserError, when the model does not take such clips."""
        free = self.options.any_size and x.ndim == 5
        size = (x.shape[2], x.shape[3], x.shape[4]) if free else self.size
        checks.check_latents(x, timestep, channels=self.widths.latents, size=size)
        if any(n % p or not n for n, p in zip(size, self.patch_size, strict=True)):
            raise UserError(
                f"the model got latents of {list(size)} frames, rows, columns, which do not divide into patches of "
                f"{list(self.patch_size)}; use another size"
            )
        return token_grid(size, self.patch_size)

    def _positions(self, grid: Size3) -> Tensor:
        """(1, t S, D), in the dtype of the tables."""
        space, time = self.pos_embed, self.pos_embed_temporal
        if grid != self.grid:
            space, time = (table.to(space.dtype) for table in self._tables(grid, space.device))
        if self.options.no_temporal_pos_emb:
            time = torch.zeros_like(time)
        return (space[:, None] + time[:, :, None]).flatten(1, 2)

    def _tables(self, grid: Size3, device: torch.device) -> tuple[Tensor, Tensor]:
        """Rows and columns are stretched onto a square of `base` patches a side, the same for every size."""
        options = self.options
        base = options.base_size // self.patch_size[1] if options.base_size else isqrt(prod(self.grid[1:]))
        rows, columns = (
            torch.arange(n, device=device, dtype=torch.float32) / options.space_scale * (base / n) for n in grid[1:]
        )
        frames = torch.arange(grid[0], device=device, dtype=torch.float64) / options.time_scale
        space = grid_table(rows, columns, options.hidden_size)
        return space[None].float(), axis_table(frames, options.hidden_size)[None].float()

    def _size_vector(self, height: Tensor | None, width: Tensor | None, ratio: Tensor | None, t: Tensor) -> Tensor:
        """height, width, ratio: (B',) or (B', 1), B' divides B. t: (B, D), for its size and dtype. Returns (B, D)."""
        if height is None or width is None or ratio is None:
            raise UserError(
                "the model got no size of the clips: give height, width (pixels) and ar (height / width), (clips,) "
                "each, or set micro_condition to false"
            )
        numbers = []
        for name, value in (("height", height), ("width", width), ("ar", ratio)):
            flat = value.flatten()
            if len(t) % len(flat):
                raise UserError(
                    f"the model got {name} of shape {tuple(value.shape)} for {len(t)} clips; it takes ({len(t)},), or "
                    f"fewer rows that divide {len(t)}"
                )
            numbers.append(flat.to(t.dtype).repeat(len(t) // len(flat)))
        size = self.csize_embedder(torch.stack(numbers[:2], dim=1).flatten()).view(len(t), -1)
        return torch.cat([size, self.ar_embedder(numbers[2])], dim=1)

    def _key_groups(self, grid: Size3) -> Tensor | None:
        config = self.options.kv_compress_config
        if config is None or not self.compressed:
            return None
        check_grid(config, grid)
        return key_groups(config, grid, self.pos_embed.device)


def _compressed_blocks(options: PixArtOptions) -> frozenset[int]:
    config = options.kv_compress_config
    return frozenset(config.kv_compress_layer) if config is not None and config.scale_factor > 1 else frozenset()


def _attention(options: PixArtOptions, *, compressed: bool) -> SelfAttention | SigmaAttention:
    config, norm = options.kv_compress_config, options.qk_norm_over if options.qk_norm else None
    if not compressed and norm != "width":
        return SelfAttention(options.hidden_size, options.num_heads, qk_norm=options.qk_norm)
    side = config.scale_factor if config and compressed and config.sampling == "conv" else None
    return SigmaAttention(options.hidden_size, options.num_heads, norm=norm, side=side)


def build(options: PixArtOptions, context: Context) -> PixArt:
    """A new PixArt on the default device, with the weights of `from_pretrained` where given.

    Raises: UserError, when options contradict the rest of the recipe or each other, or weights do not fit.
    """
    options = with_published_options(options, context, options_of)
    size = _size(options, context)
    _check(options, size)
    widths = checks.settled_widths(options, context, caption_length=DEFAULT_LENGTH)
    model = build_network(lambda: PixArt(options, size=size, widths=widths), options, context, to_pixart)
    if options.freeze == "text":
        freeze(model, lambda name: "cross_attn" in name)
    return model


def _size(options: PixArtOptions, context: Context) -> Size3:
    """With any_size, an input_size other than the recipe's is the one that positions refer to."""
    known = None if options.any_size and options.input_size else context.latent_size
    return checks.settled(options.input_size, known, DEFAULT_SIZE, key="input_size", source="the autoencoder")


def _check(options: PixArtOptions, size: Size3) -> None:
    checks.check_divisible(size, options.patch_size)
    checks.check_width(options.hidden_size, options.num_heads, multiple=4)
    if options.micro_condition and options.hidden_size % SIZE_NUMBERS:
        raise UserError(
            f"the model's hidden_size is {options.hidden_size}; with micro_condition it has to be a multiple of "
            f"{SIZE_NUMBERS}: height, width and their ratio share it"
        )
    if options.base_size is not None and options.base_size < options.patch_size[1]:
        raise UserError(
            f"the model's base_size is {options.base_size}, less than one patch of {options.patch_size[1]} rows; use "
            "the latent rows of the square to which the weights' positions refer"
        )
    config = options.kv_compress_config
    if config is not None:
        check_compression(config, options.depth)
        if not options.any_size and _compressed_blocks(options):
            check_grid(config, token_grid(size, options.patch_size))
