"""Videos longer than a clip: every further clip is given the end of the one before, and continues it.

Given frames and references grow from loop to loop. Nothing here changes what it is handed, so that each sample of a
prompt starts from the prompt's own.
"""

from collections.abc import Sequence
from typing import TypeVar

from vidgen.conditioning.latent_time import LatentTime
from vidgen.conditioning.strategy import Given, to_text
from vidgen.errors import UserError

Reference = TypeVar("Reference")

KEY = "condition_frame_length"


def dropped_frames(condition_frame_length: int, time: LatentTime) -> int:
    """Video frames that a clip repeats of the one before and that are left out when they are joined.

    The last so many frames of a clip, encoded alone, are the `condition_frame_length` latent frames that the next one
    is given: with 5 latent frames for 17 video frames, 10 are 34; where each frame has its own, 10 are 10.

    Raises: UserError, for a number that divides what the autoencoder codes together.
    """
    return time.frames_of_chunks(condition_frame_length, KEY)


def total_frames(num_frames: int, loop: int, dropped: int) -> int:
    """Video frames of `loop` joined clips."""
    return loop * (num_frames - dropped) + dropped


def check_long(condition_frame_length: int, loop: int, time: LatentTime) -> None:
    """Raises: UserError, when clips cannot be joined so, or would add nothing."""
    if loop == 1:
        return
    if condition_frame_length < 0:
        raise UserError(f"{KEY}: {condition_frame_length} is below 0; 0 joins clips that know nothing of each other")
    if dropped_frames(condition_frame_length, time) >= time.num_frames:
        raise UserError(
            f"{KEY}: {condition_frame_length} {time.unit}s are all of a clip of {time.num_frames} video frames "
            f"({time.latents} {time.unit}s), so that further clips add nothing\n"
            f"    give less than {time.latents}, or a larger num_frames"
        )


def carried(loop: int, references: int, length: int, edit: float) -> Given:
    """What clip `loop` is given of the last of `references` references: its last `length` latent frames, in front."""
    return Given(loop=loop, reference=references - 1, reference_start=-length, start=0, length=length, edit=edit)


def continued(
    given: Sequence[Given], references: Sequence[Reference], end: Reference, *, loop: int, length: int, edit: float
) -> tuple[tuple[Given, ...], tuple[Reference, ...]]:
    """One sample's given frames and references for clip `loop`, which goes on from `end`.

    end: the clip before, or its last frames (`dropped_frames` of them), encoded; joins the references. length:
    `condition_frame_length`, latent frames. edit: `condition_frame_edit`.
    """
    more = (*references, end)
    return (*given, carried(loop, len(more), length, edit)), more


def appended(strategy: str | None, given: Given) -> str:
    """The strategy's text with one more group."""
    return f"{strategy};{to_text([given])}" if strategy else to_text([given])
