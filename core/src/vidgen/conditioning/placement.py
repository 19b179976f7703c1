"""Given frames put into a clip's noise, and the mask that tells a scheduler of them.

Letters: B samples, C channels, F latent frames of the clip, T of a reference, H W rows and columns of latents.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vidgen.conditioning.spans import Span, spans
from vidgen.conditioning.strategy import Given
from vidgen.errors import UserError


def place(
    z: Tensor,
    references: Sequence[Sequence[Tensor]],
    given: Sequence[Sequence[Given]],
    loop: int,
    align: int | None = None,
    *,
    clip: bool = True,
) -> Tensor:
    """Fill the frames of `z` that are given in this loop, later ones over earlier ones; the rest stays noise.

    z: noise (B, C, F, H, W); changed in place, and not at all where something is refused. references: of each sample,
    latents (C, T, H, W). given: of each sample. align, clip: see `spans`.

    Returns the mask (B, F) float32 on z's device: 1 generate, 0 keep, between edit.

    Raises: UserError, for frames that are not there or do not fit, naming the sample's number.
    """
    samples = range(len(z))
    found = [list(_spans(z, references[b], given[b], loop, align, clip, b)) for b in samples]
    mask = torch.ones(len(z), z.shape[2])
    for b in samples:
        for span in found[b]:
            reference = references[b][span.reference]
            z[b, :, span.frames] = reference[:, span.reference_frames].to(z)
            mask[b, span.frames] = span.edit
    return mask.to(z.device)


def _spans(
    z: Tensor,
    references: Sequence[Tensor],
    given: Sequence[Given],
    loop: int,
    align: int | None,
    clip: bool,
    sample: int,
) -> Iterator[Span]:
    try:
        for span in spans(given, [len(one[0]) for one in references], z.shape[2], loop, align, clip=clip):
            size, wanted = _one_frame(references[span.reference]), (z.shape[1], *z.shape[3:])
            if size != wanted:
                raise UserError(f"reference {span.reference} has latents of {size}, the clip has {wanted}")
            yield span
    except UserError as error:
        raise UserError(f"sample {sample}: {error}") from None


def _one_frame(reference: Tensor) -> tuple[int, ...]:
    return (reference.shape[0], *reference.shape[2:])
