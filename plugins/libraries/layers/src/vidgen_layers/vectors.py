"""One vector per clip for what the clip shows: from its class, or from its caption averaged over the tokens.

Letters: B clips, N caption tokens, C caption channels, D width.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor
from vidgen import UserError
from vidgen.interfaces import Context

from vidgen_layers import captions, checks
from vidgen_layers.embedders import CaptionEmbedder, LabelEmbedder

NAMED_CLASSES = re.compile(r"label.*_(\d+)")


def class_count(condition: str) -> int | None:
    """K of `label_<K>`, or of any text that begins with `label` and ends in such a number; None for other texts.

    Raises: UserError, when a text begins with `label` and names no number of classes.
    """
    found = NAMED_CLASSES.fullmatch(condition)
    if condition.startswith("label") and (found is None or int(found[1]) < 1):
        raise UserError(
            f"the model's condition is {condition!r}, which does not say how many classes there are; write "
            "label_1000 for 1000 of them"
        )
    return int(found[1]) if found else None


def check_condition(condition: str, context: Context) -> None:
    """Raises: UserError, when a model of classes meets a text encoder that gives features."""
    if class_count(condition) is not None and context.text_width:
        raise UserError(
            f"the model's condition is {condition}, which takes classes, but the text encoder gives captions of width "
            f"{context.text_width}; use a text encoder that gives classes, or condition: text"
        )


class LabelVector(LabelEmbedder):
    """The vector of a clip's class."""

    text_width = 0

    def __init__(self, classes: int, width: int, *, dropout: float) -> None:
        """dropout: how often a class is replaced by the null class in training; 0: there is no null class."""
        super().__init__(classes, width, null_class=dropout > 0)
        self.dropout = dropout
        self.conditioning = frozenset({"y", "drop_caption"} if dropout > 0 else {"y"})

    def vector(
        self, y: Tensor | None, mask: Tensor | None, drop: Tensor | None, text: Tensor | None, *, clips: int
    ) -> Tensor:
        """(B, D) from classes `y` (B,) or (B, 1), or from `text` (B, D), what `encode_text` made of them. mask: of
        captions; unused. drop: (B,) bool, true for the null class; in training mode drawn where not given.

        Raises: UserError, when shapes do not fit, or y are no classes of this model (their range is looked at on the
        CPU alone: elsewhere looking would stop the device).
        """
        if text is not None:
            return _ready(text, clips, self.embedding_table.embedding_dim)
        labels = self._labels(y, clips)
        return self(
            labels, self._drop(captions.dropped(drop, clips, self.dropout if self.training else 0, labels.device))
        )

    def encode_text(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The conditioning with the vectors, `text`, in place of `y`; for sampling, where no class is dropped."""
        y = conditioning["y"]
        vectors = self(self._labels(y, len(y)), self._drop(conditioning.get("drop_caption")))
        return {**_without_captions(conditioning), "text": vectors}

    def null_conditioning(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The conditioning with the null class as every `y`; None without a null class."""
        if not self.null_class:
            return None
        return {**conditioning, "y": torch.full_like(conditioning["y"], self.classes)}

    def _drop(self, drop: Tensor | None) -> Tensor | None:
        if drop is not None and not self.null_class:
            raise UserError("the model has no null class to drop classes for; set class_dropout_prob above 0")
        return drop

    def _labels(self, y: Tensor | None, clips: int) -> Tensor:
        if y is None:
            raise UserError("the model got no classes: give y, or text from encode_text")
        if y.is_floating_point() or tuple(y.shape) not in ((clips,), (clips, 1)):
            raise UserError(
                f"the model got y of shape {tuple(y.shape)} in {y.dtype} for {clips} clips; it takes classes, whole "
                f"numbers of shape ({clips},). Use a text encoder that gives classes, or condition: text"
            )
        last = self.classes if self.null_class else self.classes - 1
        if y.device.type == "cpu" and bool(((y < 0) | (y > last)).any()):
            raise UserError(f"the model got the classes {y.flatten().tolist()}; it takes 0 to {last}")
        return y.flatten()


class CaptionVector(CaptionEmbedder):
    """The vector of a clip's caption: the mean of the features of the tokens that count, projected."""

    conditioning = frozenset({"y", "mask", "drop_caption"})

    def __init__(self, *, channels: int, width: int, dropout: float) -> None:
        """dropout: how often a caption is replaced by the null caption in training."""
        super().__init__(channels=channels, width=width, length=1)
        self.text_width, self.dropout = channels, dropout

    def vector(
        self, y: Tensor | None, mask: Tensor | None, drop: Tensor | None, text: Tensor | None, *, clips: int
    ) -> Tensor:
        """(B, D) from features `y` (B, N, C) or (B, 1, N, C) and their mask (B', N), B' divides B, or from `text`
        (B, D), what `encode_text` made of them. drop: (B,) bool, true for the null caption; in training mode drawn
        where not given.

        Raises: UserError, when shapes do not fit.
        """
        if text is not None:
            return _ready(text, clips, self.y_proj.fc2.out_features)
        if y is None:
            raise UserError("the model got no caption: give y, or text from encode_text")
        y, mask = captions.flat_captions(y), captions.flat_mask(mask)
        checks.check_caption(y, mask, clips=clips, width=self.text_width)
        return self._projected(y, mask, captions.dropped(drop, clips, self.dropout if self.training else 0, y.device))

    def encode_text(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The conditioning with the vectors, `text`, in place of `y`; for sampling, where no caption is dropped."""
        y, mask = captions.flat_captions(conditioning["y"]), captions.flat_mask(conditioning.get("mask"))
        vectors = self._projected(y, mask, conditioning.get("drop_caption"))
        return {**_without_captions(conditioning), "text": vectors}

    def null_conditioning(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The conditioning with the null caption as every token of `y`, everything else as it is."""
        y = conditioning["y"]
        return {**conditioning, "y": self.y_embedding.to(y).expand_as(y)}

    def _projected(self, y: Tensor, mask: Tensor | None, drop: Tensor | None) -> Tensor:
        pooled = captions.mean_caption(y, mask).to(self.y_proj.fc1.weight.dtype)
        return self(pooled[:, None], drop)[:, 0]


def _ready(text: Tensor, clips: int, width: int) -> Tensor:
    checks.check_shape(text, (clips, width), name="text")
    return text


def _without_captions(conditioning: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in conditioning.items() if key not in ("y", "mask", "drop_caption")}
