"""Trackers, metrics and jobs."""

from collections.abc import Iterator, Mapping

import attrs
import torch
from torch import Tensor

from vidgen.interfaces import Media
from vidgen.rng import torch_generator
from vidgen.testing.subject import Subject
from vidgen.testing.tiny import write_clip


def tracks(subject: Subject) -> Iterator[str]:
    """A run of two steps, killed, then resumed after the first; and a run that ends before its first step."""
    outputs = subject.context.outputs
    assert outputs is not None
    clips = [Media(write_clip(outputs / "samples" / name, _clip(t)), "a prompt", (t, 16, 24)) for name, t in NAMES]
    for first in (0, 1):
        tracker = subject.build(step=first)
        for step in range(first + 1, 3):
            tracker.log(step, {"epoch": 0, "loss": 0.5 / step, "lr": 1e-3})
        tracker.media(2, clips)
        tracker.scores(2, {"colour": 0.75})
        tracker.close()
    subject.build(step=2).close()
    if any(not clip.path.exists() for clip in clips):
        yield "it removed or moved sampled clips: they belong to the run"


def measures(subject: Subject) -> Iterator[str]:
    """Names and numbers, the same for the same clips, which stay as they are."""
    found = []
    for _ in range(2):
        metric, clips = subject.build(), [_clip(frames) for _, frames in NAMES]
        for clip in clips:
            metric.update(clip, "a red circle moving left")
        found.append(metric.compute())
        if any(not torch.equal(clip, _clip(frames)) for clip, (_, frames) in zip(clips, NAMES, strict=True)):
            yield "update changes the clip it is given: work on a copy"
    if not found[0] or any(type(name) is not str or type(value) is not float for name, value in found[0].items()):
        yield f"compute must return names and floats, not {found[0]!r}"
    if repr(found[0]) != repr(found[1]):
        yield f"the same clips are measured differently the second time: {found[0]} and {found[1]}"


def plans_dry(subject: Subject) -> Iterator[str]:
    """`dry_run` says what would be done; tried when all required options are given."""
    required = [f.name for f in attrs.fields(subject.component.options) if f.default is attrs.NOTHING]
    if not subject.values and required:
        return
    told = subject.one.dry_run()
    if not isinstance(told, Mapping) or any(type(text) is not str for pair in told.items() for text in pair):
        yield f"dry_run must return a mapping of label to text, not {told!r}"
    if not callable(getattr(subject.one, "run", None)):
        yield "a job must have `run()`"


def _clip(frames: int) -> Tensor:
    generator = torch_generator(0, "clip", frames)
    return torch.randint(256, (3, frames, 16, 24), dtype=torch.uint8, generator=generator)


NAMES = (("clip", 4), ("still", 1))
TRACKER_CHECKS = (tracks,)
METRIC_CHECKS = (measures,)
JOB_CHECKS = (plans_dry,)
