"""STDiT3 (Open-Sora 1.2): the blocks, then STDiT3, then build().

Blocks that attend within frames and blocks that attend across frames take turns; each also attends to the caption and
has an MLP. Clips of every size; the model is told the frame rate.

Letters: B clips, C latent channels, T H W latent frames/rows/columns, t h w the same counted in patches, S = h w tokens
of one frame, D width, N caption tokens.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen_layers import checks
from vidgen_layers.attention import CrossAttention, SelfAttention
from vidgen_layers.captions import Text
from vidgen_layers.checks import Widths
from vidgen_layers.embedders import NumberEmbedder
from vidgen_layers.initialise import Fill, freeze, uniform
from vidgen_layers.layers import DropPath, Mlp, add_gated, drop_path_rates, modulate
from vidgen_layers.network import build_network, with_published_options
from vidgen_layers.positions import Rotation

from vidgen_stdit import STDiT3Options
from vidgen_stdit.conditions import check_options, checked_grid, packed_text
from vidgen_stdit.layout import Captions, Layout, layout_of
from vidgen_stdit.positions import ROTARY
from vidgen_stdit.trunk import SizedTrunk
from vidgen_stdit.weights import to_stdit3

DEFAULT_LENGTH = 300
CONDITIONING = frozenset({"y", "mask", "x_mask", "drop_caption", "valid", "fps", "height", "width"})


class Block(nn.Module):
    """The parts of both kinds of blocks."""

    def __init__(self, options: STDiT3Options, *, drop_path: float) -> None:
        super().__init__()
        width, heads = options.hidden_size, options.num_heads
        self.scale_shift_table = nn.Parameter(torch.empty(6, width))
        self.attn = SelfAttention(width, heads, qk_norm=options.qk_norm)
        self.cross_attn = CrossAttention(width, heads)
        self.mlp = Mlp(width, int(width * options.mlp_ratio), width)
        self.drop_path = DropPath(drop_path)

    def rest(self, h: Tensor, text: Captions, layout: Layout, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
        """What follows the self attention. shift, scale, gate: for the MLP, of each token. Returns tokens."""
        h = h + layout.to_caption(self.cross_attn, h, text)
        return add_gated(h, gate, layout.dropped(self.drop_path, self.mlp(modulate(h, shift, scale))))


class SpatialBlock(Block):
    """Attention within each frame, to the caption, then an MLP."""

    def forward(self, h: Tensor, text: Captions, frame_t: Tensor, layout: Layout) -> Tensor:
        """h: tokens that lie as `layout` says. text: of each clip. frame_t: the time vector of each frame. Returns
        tokens."""
        shift, scale, gate, *of_mlp = layout.vectors(self.scale_shift_table, frame_t)
        u = modulate(h, shift, scale)
        h = add_gated(h, gate, layout.dropped(self.drop_path, layout.over_space(self.attn, u)))
        return self.rest(h, text, layout, *of_mlp)


class TemporalBlock(Block):
    """Attention across frames at each position, to the caption, then an MLP."""

    def forward(self, h: Tensor, text: Captions, frame_t: Tensor, layout: Layout, rotation: Rotation) -> Tensor:
        """As `SpatialBlock`. rotation: of frames."""
        shift, scale, gate, *of_mlp = layout.vectors(self.scale_shift_table, frame_t)
        u = modulate(h, shift, scale)
        h = add_gated(h, gate, layout.dropped(self.drop_path, layout.over_time(self.attn, u, rotation)))
        return self.rest(h, text, layout, *of_mlp)


class STDiT3(SizedTrunk):
    """The network; see `vidgen.interfaces.Model`. Made by `build`, which also gives it its start values: the temporal
    blocks of a new model do nothing, and fps has no influence."""

    starts_zero = (
        "temporal_blocks.*.attn.proj.*",
        "temporal_blocks.*.cross_attn.proj.*",
        "temporal_blocks.*.mlp.fc2.*",
        "fps_embedder.mlp.2.*",
    )
    starts_small = ("fps_embedder.mlp.0.weight",)

    def __init__(self, options: STDiT3Options, *, widths: Widths) -> None:
        """`widths` stand in for the options'."""
        super().__init__(options, widths, square=options.input_sq_size)
        self.packed = options.skip_y_embedder
        self.conditioning = CONDITIONING - {"drop_caption"} if self.packed else CONDITIONING
        self.text_width = options.hidden_size if self.packed else widths.caption
        self.fps_embedder = NumberEmbedder(options.hidden_size)
        rates = drop_path_rates(options.drop_path, options.depth)
        self.spatial_blocks = nn.ModuleList(SpatialBlock(options, drop_path=rate) for rate in rates)
        self.temporal_blocks = nn.ModuleList(TemporalBlock(options, drop_path=rate) for rate in rates)

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        y: Tensor | None = None,
        mask: Tensor | list[int] | None = None,
        x_mask: Tensor | None = None,
        fps: Tensor | None = None,
        height: Tensor | None = None,
        width: Tensor | None = None,
        num_frames: Tensor | None = None,
        ar: Tensor | None = None,
        drop_caption: Tensor | None = None,
        valid: Tensor | None = None,
        text: Tensor | None = None,
    ) -> Tensor:
        """Predict noise or velocity.

        x: (B, C, T, H, W) of any size; zeros are put behind it up to whole patches. timestep: (B,), 0 to 1000. y:
        caption features (B, N, caption channels), also accepted as (B, 1, N, caption channels). mask: (B', N) 0/1, B'
        divides B, row i % B' for clip i, 1 where a token counts, at least one a row. With skip_y_embedder instead, y:
        (1, tokens of all captions, D), projected, and mask: the B lengths. x_mask: (B, t) bool, true where a frame is
        noised, false where it is given. fps (120 for images), height, width (pixels): (b,), required; b divides B and
        the list is repeated; height and width act through the positions alone, and those of the first clip count.
        num_frames, ar: not used. drop_caption: (B,) bool, true for the null caption; without it a model in training
        mode draws it. valid: (B, T, H, W) bool, see `vidgen.interfaces.Model`; positions then follow each clip's own
        height and width. text: instead of y, what `encode_text` made of it.
        Returns (B, C, T, H, W) float32, or twice the channels with pred_sigma; zeros where there is padding.
        Raises: UserError, when shapes do not fit the model.
        """
        grid = checked_grid(x, timestep, x_mask, channels=self.latent_channels, patch=self.patch_size)
        clips, layout = len(x), layout_of(x, valid, x_mask, self.patch_size, self.tokens)
        caption = layout.text(self._caption(y, mask, drop_caption, text, clips))
        of_rate = self.embed(self.fps_embedder, fps, name="fps", clips=clips)
        h = self.embedded(x, layout, grid, height, width)
        t, t0 = (time + of_rate for time in self.times(timestep))
        frame_t = layout.by_frame(self.t_block(t), lambda: self.t_block(t0))
        rotation = layout.rotation(self.rope(grid[0]))
        for i, (spatial, temporal) in enumerate(zip(self.spatial_blocks, self.temporal_blocks, strict=True)):
            h = spatial(h, caption.of_block(2 * i), frame_t, layout)
            h = temporal(h, caption.of_block(2 * i + 1), frame_t, layout, rotation)
        return layout.latents(layout.finished(self.final_layer, h, t, t0), x, self.patch_size).float()

    def encode_text(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Trunk`. With skip_y_embedder nothing is left to do."""
        return dict(conditioning) if self.packed else super().encode_text(conditioning)

    def null_conditioning(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The same with the null caption in place of `y`; the mask stays that of the real caption, as in training. None
        with skip_y_embedder.

        Raises: UserError, when the captions are longer than the null caption.
        """
        return None if self.packed else super().null_conditioning(conditioning)

    def repeated_blocks(self) -> Sequence[nn.Module]:
        """The blocks, in order: spatial, temporal, spatial, temporal and so on."""
        return [block for pair in zip(self.spatial_blocks, self.temporal_blocks, strict=True) for block in pair]

    def start_value(self, name: str, value: Tensor) -> Fill:
        """See `Trunk`; the patch weight starts as a convolution does."""
        if name == "x_embedder.proj.weight":
            return uniform(value[0].numel() ** -0.5)
        return super().start_value(name, value)

    def _caption(
        self,
        y: Tensor | None,
        mask: Tensor | list[int] | None,
        drop: Tensor | None,
        text: Tensor | None,
        clips: int,
    ) -> Text:
        if self.packed:
            return packed_text(None if y is None else y.to(self.dtype), mask, clips=clips, width=self.text_width)
        if isinstance(mask, list):
            raise UserError("the model got a list as mask; it takes (clips, tokens), or lengths with skip_y_embedder")
        return self.y_embedder.text(y, mask, drop, text, clips=clips, dropout=self.caption_dropout)


def build(options: STDiT3Options, context: Context) -> STDiT3:
    """A new STDiT3 on the default device, with the weights of `from_pretrained` where given.

    Raises: UserError, when options contradict the rest of the recipe or each other, or weights do not fit.
    """
    options = with_published_options(options, context)
    check_options(options, multiple=4)
    widths = checks.settled_widths(options, context, caption_length=DEFAULT_LENGTH)
    model = build_network(lambda: STDiT3(options, widths=widths), options, context, to_stdit3)
    if options.only_train_temporal:
        freeze(model, lambda name: not name.startswith("temporal_blocks."))
    elif options.freeze_y_embedder:
        freeze(model, lambda name: name.startswith("y_embedder.") or name == ROTARY)
    return model
