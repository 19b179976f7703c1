"""STDiT2 (Open-Sora 1.1): the block, then STDiT2, then build().

As STDiT, with a modulation of its own and rotary positions for the attention over time. Clips of every size; the model
is told height, width, aspect ratio, number of frames and frame rate.

Letters: B clips, C latent channels, T H W latent frames/rows/columns, t h w the same counted in patches, S = h w tokens
of one frame, D width, N caption tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from vidgen.interfaces import Context
from vidgen_layers import checks
from vidgen_layers.attention import CrossAttention, SelfAttention
from vidgen_layers.checks import Widths
from vidgen_layers.embedders import NumberEmbedder
from vidgen_layers.layers import DropPath, Mlp, add_gated, drop_path_rates, modulate
from vidgen_layers.network import build_network, with_published_options
from vidgen_layers.positions import Rotation

from vidgen_stdit import STDiT2Options
from vidgen_stdit.conditions import check_options, checked_grid
from vidgen_stdit.layout import Captions, Layout, layout_of
from vidgen_stdit.trunk import SizedTrunk, freeze_part
from vidgen_stdit.weights import to_stdit2

DEFAULT_LENGTH = 120


class Block(nn.Module):
    """Attention over space, over time, to the caption, then an MLP."""

    def __init__(self, options: STDiT2Options, *, drop_path: float) -> None:
        super().__init__()
        width, heads, qk_norm = options.hidden_size, options.num_heads, options.qk_norm
        self.scale_shift_table = nn.Parameter(torch.empty(6, width))
        self.scale_shift_table_temporal = nn.Parameter(torch.empty(3, width))
        self.attn = SelfAttention(width, heads, qk_norm=qk_norm)
        self.cross_attn = CrossAttention(width, heads)
        self.mlp = Mlp(width, int(width * options.mlp_ratio), width)
        self.attn_temp = SelfAttention(width, heads, qk_norm=qk_norm, norm_after_rotation=options.qk_norm_legacy)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, h: Tensor, text: Captions, frame_t: Tensor, frame_time: Tensor, rotation: Rotation, layout: Layout
    ) -> Tensor:
        """h: tokens that lie as `layout` says. text: of each clip. frame_t, frame_time: the time vectors of each frame,
        the latter for the attention over time. rotation: of frames. Returns tokens."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = layout.vectors(self.scale_shift_table, frame_t)
        shift_t, scale_t, gate_t = layout.vectors(self.scale_shift_table_temporal, frame_time)
        u = modulate(h, shift_a, scale_a)
        h = add_gated(h, gate_a, layout.dropped(self.drop_path, layout.over_space(self.attn, u)))
        u = modulate(h, shift_t, scale_t)
        h = add_gated(h, gate_t, layout.dropped(self.drop_path, layout.over_time(self.attn_temp, u, rotation)))
        h = h + layout.to_caption(self.cross_attn, h, text)
        return add_gated(h, gate_m, layout.dropped(self.drop_path, self.mlp(modulate(h, shift_m, scale_m))))


class STDiT2(SizedTrunk):
    """The network; see `vidgen.interfaces.Model`. Made by `build`, which also gives it its start values: a new model
    returns zeros."""

    conditioning = frozenset(
        {"y", "mask", "x_mask", "drop_caption", "valid", "fps", "height", "width", "num_frames", "ar"}
    )

    def __init__(self, options: STDiT2Options, *, widths: Widths) -> None:
        """`widths` stand in for the options'."""
        super().__init__(options, widths, square=options.input_sq_size)
        width = options.hidden_size
        self.t_block_temp = nn.Sequential(nn.SiLU(), nn.Linear(width, 3 * width))
        self.blocks = nn.ModuleList(
            Block(options, drop_path=rate) for rate in drop_path_rates(options.drop_path, options.depth)
        )
        self.csize_embedder = NumberEmbedder(width // 3)
        self.ar_embedder = NumberEmbedder(width // 3)
        self.fl_embedder = NumberEmbedder(width)
        self.fps_embedder = NumberEmbedder(width)

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        y: Tensor | None = None,
        mask: Tensor | None = None,
        x_mask: Tensor | None = None,
        num_frames: Tensor | None = None,
        height: Tensor | None = None,
        width: Tensor | None = None,
        ar: Tensor | None = None,
        fps: Tensor | None = None,
        drop_caption: Tensor | None = None,
        valid: Tensor | None = None,
        text: Tensor | None = None,
    ) -> Tensor:
        """Predict noise or velocity.

        x: (B, C, T, H, W) of any size; zeros are put behind it up to whole patches. timestep: (B,), 0 to 1000. y:
        caption features (B, N, caption channels), also accepted as (B, 1, N, caption channels). mask: (B', N) 0/1, B'
        divides B, row i % B' for clip i, 1 where a token counts, at least one a row. x_mask: (B, t) bool, true where a
        frame is noised, false where it is given. num_frames (of video), height, width (pixels), ar (height / width) and
        fps (120 for images): (b,), required; b divides B and the list is repeated; positions follow height and width
        of the first clip. drop_caption: (B,) bool, true for the null caption; without it a model in training mode draws
        it. valid: (B, T, H, W) bool, see `vidgen.interfaces.Model`; positions then follow each clip's own height and
        width. text: instead of y, what `encode_text` made of it.
        Returns (B, C, T, H, W) float32, or twice the channels with pred_sigma; zeros where there is padding.
        Raises: UserError, when shapes do not fit the model.
        """
        grid = checked_grid(x, timestep, x_mask, channels=self.latent_channels, patch=self.patch_size)
        clips, layout = len(x), layout_of(x, valid, x_mask, self.patch_size, self.tokens)
        caption = layout.text(
            self.y_embedder.text(y, mask, drop_caption, text, clips=clips, dropout=self.caption_dropout)
        )
        of_size = torch.cat(
            [
                self.embed(self.csize_embedder, height, name="height", clips=clips),
                self.embed(self.csize_embedder, width, name="width", clips=clips),
                self.embed(self.ar_embedder, ar, name="ar", clips=clips),
            ],
            dim=1,
        )
        of_length = self.embed(self.fl_embedder, num_frames, name="num_frames", clips=clips)
        of_length = of_length + self.embed(self.fps_embedder, fps, name="fps", clips=clips)
        h = self.embedded(x, layout, grid, height, width)
        t, t0 = self.times(timestep)
        frame_t = layout.by_frame(self.t_block(t + of_size), lambda: self.t_block(t0 + of_size))
        frame_time = layout.by_frame(self.t_block_temp(t + of_length), lambda: self.t_block_temp(t0 + of_length))
        rotation = layout.rotation(self.rope(grid[0]))
        for i, block in enumerate(self.blocks):
            h = block(h, caption.of_block(i), frame_t, frame_time, rotation, layout)
        # Given frames are told the size here, noised ones are not: the published weights were trained so.
        return layout.latents(layout.finished(self.final_layer, h, t, t0 + of_size), x, self.patch_size).float()

    def repeated_blocks(self) -> Sequence[nn.Module]:
        """The blocks, in order."""
        return list(self.blocks)


def build(options: STDiT2Options, context: Context) -> STDiT2:
    """A new STDiT2 on the default device, with the weights of `from_pretrained` where given.

    Raises: UserError, when options contradict the rest of the recipe or each other, or weights do not fit.
    """
    options = with_published_options(options, context)
    check_options(options, multiple=12)
    widths = checks.settled_widths(options, context, caption_length=DEFAULT_LENGTH)
    model = build_network(lambda: STDiT2(options, widths=widths), options, context, to_stdit2)
    freeze_part(model, options.freeze)
    return model
