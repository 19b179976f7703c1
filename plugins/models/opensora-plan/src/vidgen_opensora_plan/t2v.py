"""OpenSoraT2V_v1_3: text to video.

Letters: B clips, C latent channels, T H W latent frames/rows/columns, L caption tokens, D width.
"""

from torch import Tensor
from vidgen.interfaces import Context
from vidgen_layers import checks
from vidgen_layers.network import build_network, with_published_options

from vidgen_opensora_plan import T2VOptions
from vidgen_opensora_plan.layout import layout_of
from vidgen_opensora_plan.transformer import Transformer, settled_widths
from vidgen_opensora_plan.weights import options_of, to_t2v


class OpenSoraT2V(Transformer):
    """The network; see `vidgen.interfaces.Model`. Made by `build`, which also gives it its start values."""

    conditioning = frozenset({"y", "mask", "valid"})
    published = "OpenSoraT2V_v1_3"

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        y: Tensor | None = None,
        mask: Tensor | None = None,
        valid: Tensor | None = None,
        attention_mask: Tensor | None = None,
        text: Tensor | None = None,
    ) -> Tensor:
        """Predict noise, velocity or the like.

        x: (B, C, T, H, W) of any size; zeros are put behind rows and columns up to whole patches. timestep: (B,), 0 to
        999, whole or not. y: caption features (B, L, caption channels), also accepted as (B, 1, L, caption channels).
        mask: (B', L) 0/1, B' divides B, row i % B' for clip i, 1 where a token counts. valid: (B, T, H, W) bool, see
        `vidgen.interfaces.Model`: each clip is treated as it is alone. attention_mask: instead, (B, T, H, W), not 0
        where a latent counts, as Open-Sora-Plan trained on padded batches: sub-sequences are dealt from the padded
        grid. text: instead of y, what `encode_text` made of it.
        Returns (B, out_channels, T, H, W) float32.
        Raises: UserError, when shapes do not fit the model.
        """
        checks.check_latents(x, timestep, channels=self.latent_channels, size=(*x.shape[2:],))
        layout = layout_of(x, valid, attention_mask, self.side, self.tokens)
        caption = self.text(y, mask, text, clips=len(x))
        return self.predicted(x, self.pos_embed(self.entered(x, valid, layout)), timestep, caption, layout)


def build(options: T2VOptions, context: Context) -> OpenSoraT2V:
    """A new OpenSoraT2V_v1_3 on the default device, with the weights of `from_pretrained` where given.

    Raises: UserError, when options contradict the rest of the recipe or each other, or weights do not fit.
    """
    options = with_published_options(options, context, options_of)
    widths = settled_widths(options, context)
    return build_network(lambda: OpenSoraT2V(options, widths), options, context, to_t2v)
