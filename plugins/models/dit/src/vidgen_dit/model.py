"""DiT in video form: the network, then build().

Every block attends over all tokens of a clip and is modulated by the sum of the timestep's vector and that of the
caption or class. Clips have one size, fixed when the model is built.

Letters: B clips, C latent channels, T H W latent frames/rows/columns, t h w the same counted in patches, S = h w tokens
of one frame, D width, N caption tokens, K classes.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen_layers import checks
from vidgen_layers.adaln import AdaLNBlock
from vidgen_layers.checks import Size3
from vidgen_layers.network import build_network, with_published_options
from vidgen_layers.patches import unpatch
from vidgen_layers.sharing import Sequences
from vidgen_layers.vectors import CaptionVector, LabelVector, check_condition, class_count
from vidgen_layers.video_dit import VideoDiT

from vidgen_dit import DiTOptions
from vidgen_dit.weights import LAYOUTS, config_in, in_layout, options_of, to_dit

DEFAULT_SIZE = (16, 32, 32)
DEFAULT_CAPTION = 512


class DiT(VideoDiT):
    """The network; see `vidgen.interfaces.Model`. Made by `build`, which also gives it its start values: a new model
    returns zeros."""

    layouts: tuple[str, ...] = LAYOUTS

    def __init__(self, options: DiTOptions, *, size: Size3, channels: int, caption: int) -> None:
        """size: latent (frames, rows, columns), multiples of the patch size. channels: of the latents. caption: width
        of the caption features."""
        super().__init__(options, size=size, channels=channels, learn_sigma=options.learn_sigma)
        self.options = options
        self.y_embedder = _embedder(options, caption)
        width, mlp_width = options.hidden_size, int(options.hidden_size * options.mlp_ratio)
        self.blocks = nn.ModuleList(AdaLNBlock(width, options.num_heads, mlp_width) for _ in range(options.depth))

    @property
    def embedder(self) -> LabelVector | CaptionVector:
        """What makes a vector of the caption or class."""
        return self.y_embedder

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        y: Tensor | None = None,
        mask: Tensor | None = None,
        drop_caption: Tensor | None = None,
        text: Tensor | None = None,
    ) -> Tensor:
        """Predict noise or velocity.

        x: (B, C, *size). timestep: (B,), 0 to 1000. y: caption features (B, N, caption channels), also accepted as
        (B, 1, N, caption channels), or classes (B,) or (B, 1), 0 to K - 1, K for the null class. mask: (B', N) 0/1, B'
        divides B, row i % B' for clip i, 1 where a caption token counts, at least one a row. drop_caption: (B,) bool,
        true for the null caption or class; without it a model in training mode draws it. text: instead of y, what
        `encode_text` made of it.
        Returns (B, C, *size) float32, or twice the channels with learn_sigma.
        Raises: UserError, when shapes do not fit the model.
        """
        checks.check_latents(x, timestep, channels=self.latent_channels, size=self.size)
        c = self.y_embedder.vector(y, mask, drop_caption, text, clips=len(x))
        c = c + self.t_embedder(timestep)
        clips = Sequences(length=prod(self.grid), tokens=self.tokens)
        h = self.x_embedder(x.to(self.dtype), lambda patches: clips.part(patches.flatten(1, 2)))
        h = h + clips.part(self._positions())
        for block in self.blocks:
            h = block(h, c, clips)
        tokens = clips.whole(self.final_layer(h, c)).unflatten(1, (self.grid[0], -1))
        return unpatch(tokens, self.patch_size, self.grid[1]).float()

    def _positions(self) -> Tensor:
        """(1, t S, D)."""
        of_frames = self.pos_embed_temporal[:, :, None]
        if self.options.no_temporal_pos_emb:
            of_frames = torch.zeros_like(of_frames)
        return (self.pos_embed_spatial[:, None] + of_frames).flatten(1, 2)

    def state_in(self, layout: str) -> dict[str, Tensor]:
        """The weights as `original` (facebookresearch/DiT) or `diffusers` (DiTTransformer2DModel) name and shape them.

        Raises: UserError, when there is no such layout or it has no place for a model of this form.
        """
        return in_layout(layout, self.state_dict(), self.options, self.grid)

    def config_in(self, layout: str) -> Mapping[str, Any]:
        """The `config.json` beside these weights, empty where the layout has none."""
        return config_in(layout, self.options, self.latent_channels, self.grid)


def build(options: DiTOptions, context: Context) -> DiT:
    """A new DiT on the default device, with the weights of `from_pretrained` where given.

    Raises: UserError, when options contradict the rest of the recipe or each other, or weights do not fit.
    """
    options = with_published_options(options, context, options_of)
    vae, text = "the autoencoder", "the text encoder"
    size = checks.settled(options.input_size, context.latent_size, DEFAULT_SIZE, key="input_size", source=vae)
    channels = checks.settled(options.in_channels, context.latent_channels, 4, key="in_channels", source=vae)
    caption = options.caption_channels or DEFAULT_CAPTION
    if class_count(options.condition) is None:
        caption = checks.settled(
            options.caption_channels, context.text_width, DEFAULT_CAPTION, key="caption_channels", source=text
        )
    check_condition(options.condition, context)
    checks.check_divisible(size, options.patch_size)
    checks.check_width(options.hidden_size, options.num_heads, multiple=4)
    return build_network(lambda: DiT(options, size=size, channels=channels, caption=caption), options, context, to_dit)


def _embedder(options: DiTOptions, caption: int) -> LabelVector | CaptionVector:
    classes, dropout = class_count(options.condition), options.class_dropout_prob
    if classes is not None:
        return LabelVector(classes, options.hidden_size, dropout=dropout)
    if options.condition != "text":
        raise UserError(f"the model's condition is {options.condition!r}; it can be text, or label_<K> for K classes")
    return CaptionVector(channels=caption, width=options.hidden_size, dropout=dropout)
