"""Latte-1, text to video: the blocks, then the network, then build().

Pairs of blocks: the first of a pair attends within each frame and then to the caption, the second across frames at each
place. One linear map of the timestep's vector modulates them all, each by a table of its own. Clips have one size,
fixed when the model is built. There is no null caption: the encoding of an empty text stands for it.

Letters: B clips, C latent channels, T H W latent frames/rows/columns, t h w the same counted in patches, S = h w tokens
of one frame, D width, N caption tokens. Source: arXiv 2401.03048, the released text-to-video model.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from math import prod
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
from vidgen_layers.checks import Size3
from vidgen_layers.embedders import NumberEmbedder
from vidgen_layers.initialise import Fill, normal, uniform, xavier, zero
from vidgen_layers.layers import FinalLayer, Mlp, add_gated, modulate, table_rows
from vidgen_layers.network import build_network, with_published_options
from vidgen_layers.patches import PatchEmbed, token_grid, unpatch
from vidgen_layers.positions import axis_table, grid_table
from vidgen_layers.sharing import Attends, shared_grid

from vidgen_latte import Latte1Options
from vidgen_latte.latte1_weights import LAYOUTS, config_in, in_layout, options_of, to_latte1
from vidgen_latte.layers import AcrossFrames, WithinFrames

DEFAULT_SIZE = (16, 64, 64)
DEFAULT_CAPTION = 4096
SPACE, TIME = "pos_embed", "pos_embed_temporal"


class Block(nn.Module):
    """Attention along one axis, to the caption where there is one, then an MLP."""

    def __init__(self, width: int, heads: int, mlp_width: int, *, reads: bool) -> None:
        """reads: whether it attends to the caption."""
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.empty(6, width))
        self.attn = SelfAttention(width, heads)
        self.cross_attn = CrossAttention(width, heads) if reads else None
        self.mlp = Mlp(width, mlp_width, width)

    def forward(self, h: Tensor, condition: Tensor, among: Attends, text: Text) -> Tensor:
        """h: this rank's part of (B, t, S, D). condition: (B, 1, 6 D). Returns the shape of h."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = table_rows(self.scale_shift_table, condition)
        h = add_gated(h, gate_a, among.attend(self.attn, modulate(h, shift_a, scale_a)))
        if self.cross_attn is not None:
            h = h + self.cross_attn(h.flatten(1, 2), *text).view_as(h)
        return add_gated(h, gate_m, self.mlp(modulate(h, shift_m, scale_m)))


class Latte1(nn.Module):
    """The network; see `vidgen.interfaces.Model`. Made by `build`, which also gives it its start values: a new model
    returns zeros.

    layouts: what `state_in` writes.
    """

    layouts: tuple[str, ...] = LAYOUTS
    conditioning = frozenset({"y", "mask"})
    tokens: TokenGroup = ALONE
    pos_embed: Tensor
    pos_embed_temporal: Tensor

    def __init__(self, options: Latte1Options, *, size: Size3, channels: int, caption: int) -> None:
        """size: latent (frames, rows, columns), multiples of the patch size. channels: of the latents. caption: width
        of the caption features."""
        super().__init__()
        self.options, self.size, self.latent_channels, self.text_width = options, size, channels, caption
        self.patch_size = options.patch_size
        self.caption_dropout = options.class_dropout_prob
        self.grid = token_grid(size, options.patch_size)
        self.out_channels = channels * (2 if options.learn_sigma else 1)
        width, mlp_width = options.hidden_size, int(options.hidden_size * options.mlp_ratio)
        self.register_buffer(SPACE, torch.empty(1, prod(self.grid[1:]), width))
        self.register_buffer(TIME, torch.empty(1, self.grid[0], width))
        self.x_embedder = PatchEmbed(channels=channels, patch=options.patch_size, width=width)
        self.t_embedder = NumberEmbedder(width)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.y_proj = Mlp(caption, width, width)
        self.spatial_blocks, self.temporal_blocks = (
            nn.ModuleList(Block(width, options.num_heads, mlp_width, reads=reads) for _ in range(options.depth))
            for reads in (True, False)
        )
        self.final_layer = FinalLayer(width, prod(options.patch_size) * self.out_channels)

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        y: Tensor | None = None,
        mask: Tensor | None = None,
        text: Tensor | None = None,
    ) -> Tensor:
        """Predict noise or velocity.

        x: (B, C, *size). timestep: (B,), 0 to 1000. y: caption features (B, N, caption channels), also accepted as
        (B, 1, N, caption channels). mask: (B', N) 0/1, B' divides B, row i % B' for clip i, 1 where a caption token
        counts, at least one a row. text: instead of y, what `encode_text` made of it.
        Returns (B, C, *size) float32, or twice the channels with learn_sigma.
        Raises: UserError, when shapes do not fit the model.
        """
        checks.check_latents(x, timestep, channels=self.latent_channels, size=self.size)
        caption = self._caption(y, mask, text, clips=len(x))
        dtype = self.x_embedder.proj.weight.dtype
        t = self.t_embedder(timestep)
        condition = self.t_block(t)[:, None]
        grid = shared_grid(self.tokens, self.grid[0], prod(self.grid[1:]))
        within, across = WithinFrames(grid=grid), AcrossFrames(grid=grid)
        h = self.x_embedder(x.to(dtype), grid.part) + grid.space.part(self.pos_embed)[:, None]
        for i, (spatial, temporal) in enumerate(zip(self.spatial_blocks, self.temporal_blocks, strict=True)):
            h = spatial(h, condition, within, caption)
            if i == 0 and self.grid[0] > 1:
                h = h + grid.time.part(self.pos_embed_temporal)[:, :, None]
            h = temporal(h, condition, across, caption)
        patches = grid.whole(self.final_layer(h, t))
        return unpatch(patches, self.patch_size, self.grid[1]).float()

    def _caption(self, y: Tensor | None, mask: Tensor | None, text: Tensor | None, *, clips: int) -> Text:
        mask = captions.flat_mask(mask)
        if text is None and y is None:
            raise UserError("the model got no caption: give y, or text from encode_text")
        if text is None:
            assert y is not None
            flat = captions.flat_captions(y)
            checks.check_caption(flat, mask, clips=clips, width=self.text_width)
            flat, mask = captions.trimmed(flat, mask)
            return captions.text(self._projected(flat), mask, clips)
        checks.check_caption(text, mask, clips=clips, width=self.options.hidden_size)
        return captions.text(*captions.trimmed(text, mask), clips)

    def _projected(self, y: Tensor) -> Tensor:
        return self.y_proj(y.to(self.y_proj.fc1.weight.dtype))

    def encode_text(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same conditioning with `y` projected once, as `text`; `forward` takes either, with equal results."""
        others = {key: value for key, value in conditioning.items() if key != "y"}
        return {**others, "text": self._projected(captions.flat_captions(conditioning["y"]))}

    def null_conditioning(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """None: there is no null caption."""
        return None

    def repeated_blocks(self) -> Sequence[nn.Module]:
        """The blocks, in order: spatial, temporal, spatial, temporal and so on."""
        return list(chain.from_iterable(zip(self.spatial_blocks, self.temporal_blocks, strict=True)))

    def state_in(self, layout: str) -> State:
        """The weights as `diffusers` (LatteTransformer3DModel) names and shapes them.

        Raises: UserError, when there is no such layout or it has no place for a model of this form.
        """
        return in_layout(layout, self.state_dict(), self.options, self.size)

    def config_in(self, layout: str) -> Mapping[str, Any]:
        """The `config.json` beside these weights."""
        return config_in(self.options, channels=self.latent_channels, caption=self.text_width, size=self.size)

    def tables(self) -> dict[str, Tensor]:
        """The position tables by name, (1, S, D) and (1, t, D) float32: functions of the options alone."""
        frames, rows, columns = (torch.arange(n, device="cpu", dtype=torch.float64) for n in self.grid)
        width, scale = self.options.hidden_size, self.options.space_scale
        space = grid_table(rows / scale, columns / scale, width)
        return {SPACE: space[None].float(), TIME: axis_table(frames, width)[None].float()}

    def start_value(self, name: str, value: Tensor) -> Fill:
        """See `vidgen_layers.initialise.Startable`; a new model returns zeros."""
        if name.endswith("scale_shift_table"):
            return normal(value.shape[1] ** -0.5)
        if name == "x_embedder.proj.bias":
            return uniform(self.x_embedder.proj.weight[0].numel() ** -0.5)
        if name.endswith("bias") or "cross_attn.proj" in name or name.startswith("final_layer"):
            return zero
        return normal(0.02) if name.startswith(("t_embedder", "t_block", "y_proj")) else xavier


def build(options: Latte1Options, context: Context) -> Latte1:
    """A new Latte-1 on the default device, with the weights of `from_pretrained` where given.

    Raises: UserError, when options contradict the rest of the recipe or each other, or weights do not fit.
    """
    options = with_published_options(options, context, options_of)
    vae, text = "the autoencoder", "the text encoder"
    size = checks.settled(options.input_size, context.latent_size, DEFAULT_SIZE, key="input_size", source=vae)
    channels = checks.settled(options.in_channels, context.latent_channels, 4, key="in_channels", source=vae)
    caption = checks.settled(
        options.caption_channels, context.text_width, DEFAULT_CAPTION, key="caption_channels", source=text
    )
    checks.check_divisible(size, options.patch_size)
    checks.check_width(options.hidden_size, options.num_heads, multiple=4)
    return build_network(
        lambda: Latte1(options, size=size, channels=channels, caption=caption), options, context, to_latte1
    )
