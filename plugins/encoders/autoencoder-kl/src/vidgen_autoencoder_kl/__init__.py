"""Frame-by-frame autoencoders.

Offers the autoencoder `pixel`. Read whenever vidgen starts, so it holds only names and options; the arithmetic lives
in `vidgen_autoencoder_kl.pixel`.
"""

from collections.abc import Iterable

from attrs import frozen
from attrs.validators import deep_iterable, ge
from vidgen import Component, hookimpl, option


@frozen(kw_only=True)
class PixelOptions:
    """Keys allowed beside `type: pixel`."""

    patch: tuple[int, int, int] = option(
        (1, 4, 4),
        "Video frames, rows and columns per latent, each 1 or more; clips' sizes must be multiples.",
        validator=deep_iterable(ge(1)),
    )


@hookimpl
def vidgen_autoencoders() -> Iterable[Component]:
    """List the autoencoders of this plugin."""
    yield Component(
        name="pixel",
        summary="No autoencoder at all: each block of pixels becomes the channels of one latent. Exact, no weights.",
        options=PixelOptions,
        factory="vidgen_autoencoder_kl.pixel:build",
    )
