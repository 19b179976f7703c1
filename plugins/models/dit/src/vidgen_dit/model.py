"""DiT in video form: the network, then build().

Every block attends over all tokens of a clip and is modulated by the sum of the timestep's vector and that of the
caption or class. Clips have one size, fixed when the model is built.

Letters: B clips, C latent channels, T H W latent frames/rows/columns, t h w the same counted in patches, S = h w tokens
of one frame, D width, N caption tokens, K classes.
"""

from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen_layers import checks, video_dit
from vidgen_layers.adaln import AdaLNBlock, AdaLNFinalLayer
from vidgen_layers.checks import Size3
from vidgen_layers.embedders import NumberEmbedder, number_features
from vidgen_layers.initialise import Fill
from vidgen_layers.network import build_network, with_published_options
from vidgen_layers.patches import PatchEmbed, unpatch
from vidgen_layers.vectors import CaptionVector, LabelVector, class_count

from vidgen_dit import DiTOptions
from vidgen_dit.weights import LAYOUTS, in_layout, options_of, to_dit

DEFAULT_SIZE = (16, 32, 32)
DEFAULT_CAPTION = 512


class DiT(nn.Module):
    """The network; see `vidgen.interfaces.Model`. Made by `build`, which also gives it its start values."""

    layouts: tuple[str, ...] = LAYOUTS
    pos_embed_spatial: Tensor
    pos_embed_temporal: Tensor

    def __init__(self, options: DiTOptions, *, size: Size3, channels: int, caption: int) -> None:
        """size: latent (frames, rows, columns), multiples of the patch size. channels: of the latents. caption: width
        of the caption features."""
        super().__init__()
        self.options, self.size = options, size
        self.latent_channels = channels
        self.patch_size = options.patch_size
        frames, rows, columns = (n // p for n, p in zip(size, options.patch_size, strict=True))
        self.grid = (frames, rows, columns)
        width = options.hidden_size
        self.register_buffer("pos_embed_spatial", torch.empty(1, rows * columns, width))
        self.register_buffer("pos_embed_temporal", torch.empty(1, frames, width))
        self.x_embedder = PatchEmbed(channels=channels, patch=options.patch_size, width=width)
        self.t_embedder = NumberEmbedder(width)
        self.y_embedder = _embedder(options, caption)
        self.conditioning, self.text_width = self.y_embedder.conditioning, self.y_embedder.text_width
        self.caption_dropout = self.y_embedder.dropout
        mlp_width = int(width * options.mlp_ratio)
        self.blocks = nn.ModuleList(AdaLNBlock(width, options.num_heads, mlp_width) for _ in range(options.depth))
        out_channels = channels * (2 if options.learn_sigma else 1)
        self.final_layer = AdaLNFinalLayer(width, prod(options.patch_size) * out_channels)

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
        dtype = self.x_embedder.proj.weight.dtype
        c = self.y_embedder.vector(y, mask, drop_caption, text, clips=len(x))
        c = c + self.t_embedder.mlp(number_features(timestep).to(dtype))  # the number itself stays exact
        h = (self.x_embedder(x.to(dtype)) + self._positions()).flatten(1, 2)
        for block in self.blocks:
            h = block(h, c)
        tokens = self.final_layer(h, c).unflatten(1, (self.grid[0], -1))
        return unpatch(tokens, self.patch_size, self.grid[1]).float()

    def _positions(self) -> Tensor:
        """(1, t, S, D), or (1, S, D) without positions of frames."""
        if self.options.no_temporal_pos_emb:
            return self.pos_embed_spatial
        return self.pos_embed_spatial[:, None] + self.pos_embed_temporal[:, :, None]

    def encode_text(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The conditioning with the vector of each clip's caption or class, `text`, in place of `y`; `forward` takes
        either, with equal results."""
        return self.y_embedder.encode_text(conditioning)

    def null_conditioning(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The same with the null caption or class in place of `y`; None where there is no null class."""
        return self.y_embedder.null_conditioning(conditioning)

    def repeated_blocks(self) -> Sequence[nn.Module]:
        """The blocks, in order."""
        return list(self.blocks)

    def state_in(self, layout: str) -> dict[str, Tensor]:
        """The weights as `original` (facebookresearch/DiT) or `diffusers` (DiTTransformer2DModel) name and shape them.

        Raises: UserError, when there is no such layout or it has no place for a model of this form.
        """
        return in_layout(layout, self.state_dict(), self.options, self.grid)

    def tables(self) -> dict[str, Tensor]:
        """The position tables by name, (1, S, D) and (1, t, D) float32: functions of the options alone."""
        return video_dit.position_tables(self.grid, self.options.hidden_size)

    def start_value(self, name: str, value: Tensor) -> Fill:
        """See `vidgen_layers.initialise.Startable`; a new model returns zeros."""
        return video_dit.start_value(name, value)


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
