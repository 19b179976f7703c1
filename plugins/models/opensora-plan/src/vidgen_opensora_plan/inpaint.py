"""OpenSoraInpaint_v1_3: text to video, shown frames of the clip.

Letters: B clips, C latent channels, T H W latent frames/rows/columns, F video frames, S video frames per latent frame,
L caption tokens, D width.
"""

import torch
from torch import Tensor, nn
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen_layers import checks
from vidgen_layers.initialise import Fill, zero
from vidgen_layers.linear import Linear
from vidgen_layers.network import build_network, with_published_options

from vidgen_opensora_plan import InpaintOptions
from vidgen_opensora_plan.latents import FramePatches
from vidgen_opensora_plan.layout import layout_of
from vidgen_opensora_plan.transformer import Transformer, Widths, settled_widths
from vidgen_opensora_plan.weights import options_of, to_inpaint


class OpenSoraInpaint(Transformer):
    """The network; see `vidgen.interfaces.Model`. Made by `build`, which also gives it its start values: at first, what
    it is shown has no influence."""

    conditioning = frozenset({"y", "mask", "masked_video", "video_mask", "valid"})
    published = "OpenSoraInpaint_v1_3"

    def __init__(self, options: InpaintOptions, widths: Widths, frames: int) -> None:
        """frames: S. `widths` stand in for the options'."""
        super().__init__(options, widths)
        self.frames = frames
        width = self.proj_out.in_features
        self.pos_embed_masked_hidden_states = _embedder(widths.latents, self.side, width)
        self.pos_embed_mask = _embedder(frames, self.side, width)

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        y: Tensor | None = None,
        mask: Tensor | None = None,
        valid: Tensor | None = None,
        attention_mask: Tensor | None = None,
        text: Tensor | None = None,
        masked_video: Tensor | None = None,
        video_mask: Tensor | None = None,
    ) -> Tensor:
        """Predict noise, velocity or the like.

        As `OpenSoraT2V`, and what is shown. masked_video: (B, C, T, H, W), latents of the clip with its other frames
        grey, and video_mask: (B, S, T, H, W), 1 where pixels are to be made, 0 where they are shown, of the S video
        frames in each latent frame. Without them nothing is shown, between latents of zero.
        Raises: UserError, when shapes do not fit the model.
        """
        checks.check_latents(x, timestep, channels=self.latent_channels, size=(*x.shape[2:],))
        layout = layout_of(x, valid, attention_mask, self.side, self.tokens)
        caption = self.text(y, mask, text, clips=len(x))
        shown, to_make = self._shown(x, masked_video, video_mask)
        h = self.pos_embed(self.entered(x, valid, layout))
        h = h + self.pos_embed_masked_hidden_states(self.entered(shown, valid, layout))
        h = h + self.pos_embed_mask(self.entered(to_make, valid, layout))
        return self.predicted(x, h, timestep, caption, layout)

    def settled(self) -> dict[str, int]:
        """See `Transformer`."""
        return {**super().settled(), "vae_scale_factor_t": self.frames}

    def start_value(self, name: str, value: Tensor) -> Fill:
        """See `Transformer`."""
        if name in ("pos_embed_masked_hidden_states.1.weight", "pos_embed_mask.1.weight"):
            return zero
        return super().start_value(name, value)

    def _shown(self, x: Tensor, masked_video: Tensor | None, video_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Latents of what is shown, and the mask of what is to be made."""
        clips, _, frames, rows, columns = x.shape
        of_mask = (clips, self.frames, frames, rows, columns)
        if masked_video is not None and video_mask is not None:
            checks.check_shape(masked_video, tuple(x.shape), name="masked_video")
            checks.check_shape(video_mask, of_mask, name="video_mask")
            return masked_video, video_mask
        if masked_video is not None or video_mask is not None:
            raise UserError("the model got masked_video or video_mask without the other: give both, or neither")
        return torch.zeros_like(x), x.new_ones(of_mask)


def build(options: InpaintOptions, context: Context) -> OpenSoraInpaint:
    """A new OpenSoraInpaint_v1_3 on the default device, with the weights of `from_pretrained` where given, which may be
    those of an OpenSoraT2V_v1_3.

    Raises: UserError, when options contradict the rest of the recipe or each other, or weights do not fit.
    """
    options = with_published_options(options, context, options_of)
    widths = settled_widths(options, context)
    stride = context.latent_stride[0] if context.latent_stride else None
    frames = checks.settled(options.vae_scale_factor_t, stride, 4, key="vae_scale_factor_t", source="the autoencoder")
    return build_network(lambda: OpenSoraInpaint(options, widths, frames), options, context, to_inpaint)


def _embedder(channels: int, side: int, width: int) -> nn.Sequential:
    return nn.Sequential(FramePatches(channels, side, width), Linear(width, width, bias=False))
