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
