"""What a model is told besides the noisy latents, assembled from what it says it takes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vidgen.interfaces import Model, TextEncoder

if TYPE_CHECKING:
    from torch import Tensor


def conditioning_for(model: Model, *sources: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Of everything known (text features, sizes, masks), what `model.conditioning` names. Later sources win."""
    known = {key: value for source in sources for key, value in source.items()}
    return {key: value for key, value in known.items() if key in model.conditioning}


def null_conditioning_for(
    model: Model, text_encoder: TextEncoder, conditioning: "Mapping[str, Tensor]", negative: Sequence[str] | None
) -> "dict[str, Tensor]":
    """The unconditional half of guidance: the encoded negative texts (one per sample) where given, else the model's
    own null caption, else the encoding of the empty text."""
    if not conditioning:
        return {}
    if negative is None:
        null = model.null_conditioning(conditioning)
        if null is not None:
            return dict(null)
        negative = [""] * len(next(iter(conditioning.values())))
    device = next(iter(conditioning.values())).device
    encoded = {key: value.to(device) for key, value in text_encoder.encode(negative).items()}
    return {**conditioning, **conditioning_for(model, encoded)}


def without_padding(
    conditioning: "Mapping[str, Tensor]", null: "Mapping[str, Tensor]"
) -> "tuple[dict[str, Tensor], dict[str, Tensor]]":
    """Both halves of guidance without the caption tokens at the end that count in no caption of either; predictions are
    the same, within rounding. Where the model takes no `mask`, all tokens count. null: may be empty. Waits for a device
    once."""
    masks = [half["mask"] for half in (conditioning, null) if "mask" in half]
    if not masks:
        return dict(conditioning), dict(null)
    used = max(int(mask.any(dim=0).nonzero().max()) for mask in masks) + 1
    return _cut(conditioning, used), _cut(null, used)


def _cut(half: "Mapping[str, Tensor]", used: int) -> "dict[str, Tensor]":
    return {key: value[:, :used] if key in ("y", "mask") else value for key, value in half.items()}
