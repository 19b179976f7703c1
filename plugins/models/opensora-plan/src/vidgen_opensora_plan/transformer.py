"""What both models of Open-Sora-Plan 1.3 have around what embeds their input: captions, blocks, last layer.

Letters: B clips, C latent channels, T H W latent frames/rows/columns, h w rows and columns in patches, N = T h w
tokens, n those that a rank's blocks are given, L caption tokens, D width.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn
from vidgen import UserError
from vidgen.attention import key_mask
from vidgen.interfaces import Context
from vidgen.mesh import ALONE, TokenGroup
from vidgen_layers import captions, checks
from vidgen_layers.initialise import Fill, constant, normal, uniform, zero
from vidgen_layers.layers import modulate
from vidgen_layers.linear import Linear

from vidgen_opensora_plan import T2VOptions
from vidgen_opensora_plan.blocks import AdaLNSingle, Block, Caption, TwoLayers
from vidgen_opensora_plan.counting import COUNTING, best, blank
from vidgen_opensora_plan.dealing import Dealing, no_view
from vidgen_opensora_plan.latents import FramePatches, patched, unpatched
from vidgen_opensora_plan.layout import Layout, without_padding
from vidgen_opensora_plan.rotary import AXES, rotation
from vidgen_opensora_plan.weights import LAYOUTS, check_layout, config_of

SPARSE = range(2, 30)  # blocks that deal their tokens; however many there are


@frozen(kw_only=True)
class Widths:
    """Numbers that other components decide, where there are any. latents: channels of x; caption: of features."""

    latents: int
    caption: int


class Transformer(nn.Module):
    """The shared parts, under the names of the published state dicts. A model adds its `forward`.

    layouts: what `state_in` writes. published: the class that a released config.json names.
    """

    layouts: tuple[str, ...] = LAYOUTS
    tokens: TokenGroup = ALONE
    conditioning: frozenset[str]
    published: str

    def __init__(self, options: T2VOptions, widths: Widths) -> None:
        """`widths` stand in for the options'."""
        super().__init__()
        self.options = options
        self.latent_channels, self.text_width = widths.latents, widths.caption
        self.out_channels = options.out_channels or widths.latents
        self.side = options.patch_size
        self.patch_size = (1, self.side, self.side)
        self.caption_dropout = options.class_dropout_prob
        width = options.num_attention_heads * options.attention_head_dim
        self.scale_shift_table = nn.Parameter(torch.empty(2, width))
        self.caption_projection = TwoLayers(widths.caption, width, nn.GELU(approximate="tanh"))
        self.pos_embed = FramePatches(widths.latents, self.side, width)
        self.transformer_blocks = nn.ModuleList(Block(options, width) for _ in range(options.num_layers))
        self.proj_out = Linear(width, self.side**2 * self.out_channels)
        self.adaln_single = AdaLNSingle(width)
        self.dealings = tuple(_dealing(options, i) for i in range(options.num_layers))

    def encode_text(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same conditioning with `y` projected once, as `text` (B, L, D); `forward` takes either, with equal
        results."""
        others = {key: value for key, value in conditioning.items() if key != "y"}
        return {**others, "text": self.caption_projection(captions.flat_captions(conditioning["y"]))}

    def null_conditioning(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """None: the model has no null caption, the encoding of an empty text stands for it."""
        return None

    def repeated_blocks(self) -> Sequence[nn.Module]:
        """The blocks, in order."""
        return list(self.transformer_blocks)

    def state_in(self, layout: str) -> dict[str, Tensor]:
        """The weights as a released folder has them: under the same names. Raises: UserError, for another layout."""
        check_layout(layout)
        return self.state_dict()

    def config_in(self, layout: str) -> Mapping[str, Any]:
        """The `config.json` beside these weights. Raises: UserError, for another layout."""
        check_layout(layout)
        return config_of(self.options, self.published, **self.settled())

    def settled(self) -> dict[str, int]:
        """Options that the rest of the recipe decides where they are null."""
        return {
            "in_channels": self.latent_channels,
            "out_channels": self.out_channels,
            "caption_channels": self.text_width,
            "cross_attention_dim": self.proj_out.in_features,
        }

    def tables(self) -> dict[str, Tensor]:
        """None: positions are worked out for each clip."""
        return {}

    def start_value(self, name: str, value: Tensor) -> Fill:
        """See `vidgen_layers.initialise.Startable`. Nothing but what a model says itself starts at zero."""
        if name.endswith("scale_shift_table"):
            return normal(value.shape[1] ** -0.5)
        weight = self.get_parameter(name.rpartition(".")[0] + ".weight")
        if weight.ndim == 1:  # of a norm
            return constant(1.0) if name.endswith("weight") else zero
        return uniform(weight[0].numel() ** -0.5)

    def entered(self, x: Tensor, valid: Tensor | None, layout: Layout) -> Tensor:
        """(B, C, T, H, W) -> the latents of each of the n tokens that blocks are given, (B, n, C p q), of the weights'
        type, with zeros for padding."""
        clean = without_padding(x, valid).to(self.pos_embed.proj.weight.dtype)
        return layout.entered(patched(clean, self.side))

    def text(self, y: Tensor | None, mask: Tensor | None, text: Tensor | None, *, clips: int) -> Caption:
        """Captions ready for the blocks, from features `y` (B, L, C) or (B, 1, L, C), or projected before. Padding that
        no caption needs is cut off. mask: (B', L), B' divides B; a caption of which no token counts is attended to as a
        whole, as `counting` says.

        Raises: UserError, when shapes do not fit.
        """
        if text is None and y is None:
            raise UserError("the model got no caption: give y, or text from encode_text")
        tokens = captions.flat_captions(y) if text is None and y is not None else text
        assert tokens is not None
        mask = captions.flat_mask(mask)
        width = self.text_width if text is None else self.caption_projection.linear_2.out_features
        checks.check_caption(tokens, mask, clips=clips, width=width)
        ranks = None if mask is None else COUNTING * mask.bool().int()
        tokens, mask = captions.trimmed(tokens, None if ranks is None else best(ranks))
        if mask is not None and mask.device.type == "cpu" and mask.all():
            mask = None
        return Caption(
            tokens=self.caption_projection(tokens) if text is None else tokens,
            keys=None if mask is None else key_mask(mask, clips),
            blank=None if ranks is None else blank(ranks.repeat(clips // len(ranks), 1)),
        )

    def predicted(self, x: Tensor, h: Tensor, timestep: Tensor, text: Caption, layout: Layout) -> Tensor:
        """x: the latents, for their size. h: their tokens, (B, n, D). Returns (B, out_channels, T, H, W) float32."""
        _, _, frames, rows, columns = x.shape
        grid = frames, -(-rows // self.side), -(-columns // self.side)
        t, time = self.adaln_single(timestep)
        kinds = {kind: Dealing.of(*kind, layout.real) for kind in dict.fromkeys(self.dealings)}
        h = no_view(h)
        turns = layout.rotated(rotation(grid, self._scales, self.options.attention_head_dim, h.device))
        for kind, block in zip(self.dealings, self.transformer_blocks, strict=True):
            h = block(h, text, time, turns, kinds[kind], layout.clips)
        shift, scale = (self.scale_shift_table + t[:, None]).unsqueeze(2).unbind(1)  # (B, 1, D) each
        numbers = layout.left(self.proj_out(modulate(h, shift, scale)), grid[0] * grid[1] * grid[2])
        return unpatched(numbers, grid, self.side)[..., :rows, :columns].float()

    @property
    def _scales(self) -> tuple[float, float, float]:
        options = self.options
        return options.interpolation_scale_t, options.interpolation_scale_h, options.interpolation_scale_w


def settled_widths(options: T2VOptions, context: Context) -> Widths:
    """Checks the options with each other and with the rest of the recipe. Raises: UserError."""
    width, head = options.num_attention_heads * options.attention_head_dim, options.attention_head_dim
    if head % (2 * AXES):
        raise UserError(
            f"the model's attention_head_dim is {head}; it has to be a multiple of {2 * AXES}: frames, rows and "
            "columns turn pairs of numbers in a third of a head each"
        )
    if options.cross_attention_dim not in (None, width):
        raise UserError(
            f"the model's cross_attention_dim is {options.cross_attention_dim}; projected captions are as wide as "
            f"tokens, {options.num_attention_heads} heads of {head}: leave it out, or set {width}"
        )
    if options.patch_size_t != 1:
        raise UserError(f"the model's patch_size_t is {options.patch_size_t}; its patches are of one latent frame, 1")
    if options.activation_fn not in ("gelu-approximate", "geglu"):  # a published configuration may say so
        raise UserError(f"the model's activation_fn is {options.activation_fn!r}; it can be gelu-approximate or geglu")
    vae, text = "the autoencoder", "the text encoder"
    return Widths(
        latents=checks.settled(options.in_channels, context.latent_channels, 8, key="in_channels", source=vae),
        caption=checks.settled(options.caption_channels, context.text_width, 4096, key="caption_channels", source=text),
    )


def _dealing(options: T2VOptions, block: int) -> tuple[int, int]:
    """Parts and run of `Dealing`, of a block."""
    n = options.sparse_n
    if not options.sparse1d or n == 1 or block not in SPARSE:
        return 1, 1
    return n, n if block % 2 else 1
