"""Latte: the network, then build().

Even blocks attend within each frame, odd ones across frames at each place; the sum of the timestep's vector and that of
the caption or class modulates them all. Clips have one size, fixed when the model is built.

Letters: B clips, C latent channels, T H W latent frames/rows/columns, t h w the same counted in patches, S = h w tokens
of one frame, D width, N caption tokens, K classes.
"""

from torch import Tensor, nn
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen_layers import checks
from vidgen_layers.adaln import AdaLNBlock
from vidgen_layers.checks import Size3, Widths
from vidgen_layers.network import build_network, with_published_options
from vidgen_layers.patches import unpatch
from vidgen_layers.sharing import shared_grid
from vidgen_layers.vectors import CaptionVector, LabelVector, check_condition, class_count
from vidgen_layers.video_dit import VideoDiT

from vidgen_latte import LatteOptions
from vidgen_latte.layers import AcrossFrames, FlatCaption, WithinFrames
from vidgen_latte.weights import LAYOUTS, in_layout, to_latte

DEFAULT_SIZE = (16, 32, 32)
DEFAULT_CAPTION = 512
FLAT, NONE = "flat_text", "none"
FLAT_CAPTION, FLAT_LENGTH = 768, 77


class Latte(VideoDiT):
    """The network; see `vidgen.interfaces.Model`. Made by `build`, which also gives it its start values: a new model
    returns zeros."""

    layouts: tuple[str, ...] = LAYOUTS

    def __init__(self, options: LatteOptions, *, size: Size3, widths: Widths) -> None:
        """size: latent (frames, rows, columns), multiples of the patch size; `widths` stand in for the options'."""
        super().__init__(options, size=size, channels=widths.latents, learn_sigma=options.learn_sigma)
        self.options = options
        self.y_embedder = _embedder(options, widths)
        self.text_embedding_projection = _flat_embedder(options, widths)
        width, mlp_width = options.hidden_size, int(options.hidden_size * options.mlp_ratio)
        self.blocks = nn.ModuleList(AdaLNBlock(width, options.num_heads, mlp_width) for _ in range(options.depth))

    @property
    def embedder(self) -> LabelVector | CaptionVector | FlatCaption | None:
        """What makes a vector of the caption or class; None for a model without condition."""
        return self.y_embedder if self.y_embedder is not None else self.text_embedding_projection

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
        t = self.t_embedder(timestep)
        c = t if self.embedder is None else t + self.embedder.vector(y, mask, drop_caption, text, clips=len(x))
        grid = shared_grid(self.tokens, self.grid[0], self.grid[1] * self.grid[2])
        h = self.x_embedder(x.to(self.dtype), grid.part) + grid.space.part(self.pos_embed_spatial)
        among = WithinFrames(grid=grid), AcrossFrames(grid=grid)
        for i, block in enumerate(self.blocks):
            if i == 1:  # before the first temporal block, and nowhere else
                h = h + grid.time.part(self.pos_embed_temporal)[:, :, None]
            h = block(h, c, among[i % 2])
        # The flat captions of the original modulate the blocks and not the last layer.
        patches = grid.whole(self.final_layer(h, c if self.text_embedding_projection is None else t))
        return unpatch(patches, self.patch_size, self.grid[1]).float()

    def state_in(self, layout: str) -> dict[str, Tensor]:
        """The weights as `original` (Vchitect/Latte, the class-conditional model) names and shapes them.

        Raises: UserError, when there is no such layout or it has no place for a model of this form.
        """
        return in_layout(layout, self.state_dict(), self.options, self.grid)


def build(options: LatteOptions, context: Context) -> Latte:
    """A new Latte on the default device, with the weights of `from_pretrained` where given.

    Raises: UserError, when options contradict the rest of the recipe or each other, or weights do not fit.
    """
    options = with_published_options(options, context)
    size = checks.settled(
        options.input_size, context.latent_size, DEFAULT_SIZE, key="input_size", source="the autoencoder"
    )
    check_condition(options.condition, context)
    checks.check_divisible(size, options.patch_size)
    checks.check_width(options.hidden_size, options.num_heads, multiple=4)
    widths = _widths(options, context)
    return build_network(lambda: Latte(options, size=size, widths=widths), options, context, to_latte)


def _widths(options: LatteOptions, context: Context) -> Widths:
    """Sizes of captions are settled with the text encoder only where they matter."""
    vae, text, flat = "the autoencoder", "the text encoder", options.condition == FLAT
    caption, length = options.caption_channels or DEFAULT_CAPTION, 1
    if flat or options.condition == "text":
        default = FLAT_CAPTION if flat else DEFAULT_CAPTION
        caption = checks.settled(
            options.caption_channels, context.text_width, default, key="caption_channels", source=text
        )
    if flat:
        length = checks.settled(
            options.model_max_length, context.text_length, FLAT_LENGTH, key="model_max_length", source=text
        )
    channels = checks.settled(options.in_channels, context.latent_channels, 4, key="in_channels", source=vae)
    return Widths(latents=channels, caption=caption, caption_length=length)


def _embedder(options: LatteOptions, widths: Widths) -> LabelVector | CaptionVector | None:
    classes, dropout = class_count(options.condition), options.class_dropout_prob
    if classes is not None:
        return LabelVector(classes, options.hidden_size, dropout=dropout)
    if options.condition in (FLAT, NONE):
        return None
    if options.condition != "text":
        raise UserError(
            f"the model's condition is {options.condition!r}; it can be text, {FLAT}, {NONE}, or label_<K> for K "
            "classes"
        )
    return CaptionVector(channels=widths.caption, width=options.hidden_size, dropout=dropout)


def _flat_embedder(options: LatteOptions, widths: Widths) -> FlatCaption | None:
    if options.condition != FLAT:
        return None
    return FlatCaption(tokens=widths.caption_length, channels=widths.caption, width=options.hidden_size)
