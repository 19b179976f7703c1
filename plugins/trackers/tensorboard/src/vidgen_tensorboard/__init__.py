"""TensorBoard: metrics, sampled clips, scores and the recipe as event files in the run folder.

Offers the tracker `tensorboard`. Read whenever vidgen starts, so it holds only names and options; the writer lives in
`vidgen_tensorboard.tracker`.
"""

from collections.abc import Iterable

from attrs import frozen, validators
from vidgen import Component, hookimpl, option


@frozen(kw_only=True)
class TensorBoardOptions:
    """Keys allowed beside `type: tensorboard`."""

    folder: str = option(
        "tensorboard",
        "Folder of the event files, below the run folder.",
        validator=validators.min_len(1),
    )
    max_clips: int = option(
        16,
        "Clips shown for one step, 0 or more; the files of all clips stay in the run folder.",
        validator=validators.ge(0),
    )
    max_side: int = option(
        256,
        "Longest side in pixels, 16 or more; larger clips are scaled down, since every frame goes into the event file.",
        validator=validators.ge(16),
    )


@hookimpl
def vidgen_trackers() -> Iterable[Component]:
    """The tracker of this plugin."""
    yield Component(
        name="tensorboard",
        summary="metrics, clips and scores as TensorBoard event files in the run folder",
        options=TensorBoardOptions,
        factory="vidgen_tensorboard.tracker:build",
    )
