"""What Latte has beside the shared layers: attention along one axis of a clip, and captions taken whole.

Letters: B clips, t frames in patches, S tokens of one frame, D width, N caption tokens, C caption channels.
"""

from collections.abc import Mapping

from attrs import frozen
from torch import Tensor, nn
from vidgen import UserError
from vidgen_layers.attention import SelfAttention
from vidgen_layers.checks import check_shape
from vidgen_layers.sharing import SharedGrid


@frozen(kw_only=True, eq=False)
class WithinFrames:
    """The tokens of each frame among themselves."""

    grid: SharedGrid

    def attend(self, layer: SelfAttention, h: Tensor) -> Tensor:
        """h: this rank's part of (B, t, S, D). Returns the same shape."""
        return self.grid.over_space(layer, h)


@frozen(kw_only=True, eq=False)
class AcrossFrames:
    """The frames of each place among themselves."""

    grid: SharedGrid

    def attend(self, layer: SelfAttention, h: Tensor) -> Tensor:
        """h: this rank's part of (B, t, S, D). Returns the same shape."""
        return self.grid.over_time(layer, h)


class FlatCaption(nn.Sequential):
    """The vector of a clip's caption: SiLU, then one linear map of all tokens' features side by side. There is no null
    caption: the encoding of an empty text stands for it."""

    conditioning = frozenset({"y"})
    dropout = 0.0

    def __init__(self, *, tokens: int, channels: int, width: int) -> None:
        super().__init__(nn.SiLU(), nn.Linear(tokens * channels, width))
        self.length, self.text_width, self.width = tokens, channels, width

    def vector(
        self, y: Tensor | None, mask: Tensor | None, drop: Tensor | None, text: Tensor | None, *, clips: int
    ) -> Tensor:
        """(B, D) from features `y` (B, N, C), (B, 1, N, C) or (B, N C), or from `text` (B, D), what `encode_text` made
        of them. mask: unused, padding counts.

        Raises: UserError, when shapes do not fit or captions are to be dropped.
        """
        if drop is not None:
            raise UserError("the model's condition is flat_text, which has no null caption; leave drop_caption out")
        if text is not None:
            check_shape(text, (clips, self.width), name="text")
            return text
        if y is None:
            raise UserError("the model got no caption: give y, or text from encode_text")
        if y.shape[0] != clips or y[0].numel() != self.length * self.text_width:
            raise UserError(
                f"the model got captions of shape {tuple(y.shape)} for {clips} clips; with condition flat_text it "
                f"takes ({clips}, {self.length}, {self.text_width}): every caption padded to {self.length} tokens"
            )
        return self(y.flatten(1).to(next(self.parameters()).dtype))

    def encode_text(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The conditioning with the vectors, `text`, in place of `y`."""
        y = conditioning["y"]
        others = {key: value for key, value in conditioning.items() if key not in ("y", "mask")}
        return {**others, "text": self.vector(y, None, None, None, clips=len(y))}

    def null_conditioning(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """None: there is no null caption."""
        return None
