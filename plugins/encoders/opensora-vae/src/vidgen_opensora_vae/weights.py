"""Published weights to the names of the autoencoder.

Layouts are told apart by their entries, never by a file's name.
"""

from vidgen.weights import Converted, State
from vidgen_autoencoders.build import PIPELINE_PREFIX
from vidgen_autoencoders.network import current_name, part_of, unwrapped

TEMPORAL_PREFIX = "temporal_vae."
OF_LATENTS = ("scale", "shift")


def to_pipeline(state: State, own: State) -> Converted:
    """Of both parts: attention of the image part may have its older names. `scale` and `shift` are taken where they
    have the shape of one's own; training writes single numbers, 1 and 0, instead, and then the configured ones stay."""
    renamed = {
        current_name(name) if name.startswith(PIPELINE_PREFIX) else name: value
        for name, value in unwrapped(state).items()
    }
    foreign = [name for name in OF_LATENTS if name in renamed and renamed[name].shape != own[name].shape]
    kept = {name: value for name, value in renamed.items() if name not in foreign}
    notes = tuple(f"{name} of the file is of another shape: the configured one is taken" for name in foreign)
    return Converted(state=kept, fresh=OF_LATENTS, notes=notes)


def to_temporal(state: State) -> Converted:
    """Of the temporal part alone, or of both, of which the other is dropped."""
    chosen, others = part_of(unwrapped(state), TEMPORAL_PREFIX)
    return Converted(state={**chosen, **others}, dropped=tuple(others))
