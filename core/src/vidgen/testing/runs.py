"""What surrounds a run: parallel engines, trackers, metrics, jobs."""

import copy
import json
from collections.abc import Iterator, Mapping
from functools import partial

import attrs
import torch
from torch import Tensor, nn

from vidgen.interfaces import Media, Metric
from vidgen.rng import torch_generator
from vidgen.testing.declared import declares
from vidgen.testing.subject import Subject, alike, refused
from vidgen.testing.tiny import draws_of, write_clip

CLIPS = {"clip": 4, "still": 1}  # name -> frames
PROMPT = "a red circle moving left"
PROMPTS = (PROMPT, "waves at a rocky coast", "")


def _trains(subject: Subject) -> Iterator[str]:
    """As plain torch does: gradients accumulated over two batches, their norm, a step; then one that is clipped."""
    engine = subject.build()
    x = draws_of(range(6)).normal("x", (5,), device=engine.device)
    plain = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).to(engine.device)
    model = copy.deepcopy(plain)
    sgd = torch.optim.SGD(plain.parameters(), lr=0.5)
    engine.prepare(model, lambda prepared: torch.optim.SGD(prepared.parameters(), lr=0.5))
    for max_norm, parts in ((0.0, 2), (0.01, 1)):
        for i, part in enumerate(x.chunk(parts)):
            with engine.autocast():
                loss = model(part).square().mean()
            engine.backward(loss, last=i == parts - 1)
            plain(part).square().mean().backward()
        norm, expected = engine.step(max_norm), nn.utils.clip_grad_norm_(plain.parameters(), max_norm or float("inf"))
        sgd.step()
        sgd.zero_grad()
        if not isinstance(norm, Tensor) or not alike(norm, expected, 1e-3):
            yield f"step({max_norm}) must return the norm before clipping, a scalar tensor of {expected}, not {norm}"
        with torch.no_grad():
            if not alike(model(x), plain(x), 1e-3):
                yield f"after step({max_norm}) the weights are not those that torch itself arrives at"


def _keeps_its_state(subject: Subject) -> Iterator[str]:
    state = subject.one.state_dict()
    if json.loads(json.dumps(state)) != state:
        yield f"state_dict must be plain numbers, lists and dicts with text keys, not {state!r}"
    subject.build().load_state_dict(state)


def _tracks(subject: Subject) -> Iterator[str]:
    """A run of two steps, killed and resumed after the first; and one that ends before it has done anything."""
    assert subject.context.outputs is not None
    folder = subject.context.outputs / "samples"
    clips = [Media(write_clip(folder / name, _clip(t)), "a prompt", (t, 16, 24)) for name, t in CLIPS.items()]
    for done in (0, 1, 2):
        tracker = subject.build(step=done)
        for step in range(done + 1, 3):
            tracker.log(step, {"epoch": 0, "loss": 0.5 / step, "lr": 1e-3})
            tracker.media(step, clips)
            tracker.scores(step, {"colour": 0.75})
        tracker.close()
    if not all(clip.path.exists() for clip in clips):
        yield "it removed or moved sampled clips: they belong to the run"


def _measures(subject: Subject) -> Iterator[str]:
    """Clips with something to compare with, and without where that is allowed."""
    found = []
    for _ in range(2):
        metric = subject.build()
        alone = [_measure(metric, frames, metric.needs_reference) for frames in CLIPS.values()]
        if not metric.needs_reference:
            alone.append(_measure(metric, 3, with_reference=True))
        found.append((alone, metric.compute()))
    values, together = found[0]
    if not together or not _named_floats(together):
        yield f"compute must return names and floats, not {together!r}"
    if not all(_named_floats(one) for one in values):
        yield f"update must return names and floats, those of the clip it was given alone, not {values!r}"
    if repr(found[0]) != repr(found[1]):
        yield f"the same clips are measured differently the second time: {found[0]} and {found[1]}"


def _keeps_clips_as_they_are(subject: Subject) -> Iterator[str]:
    metric, clip, reference = subject.build(), _clip(4), _clip(4).flip(dims=(3,))
    metric.update(clip, PROMPT, reference)
    if not torch.equal(clip, _clip(4)) or not torch.equal(reference, _clip(4).flip(dims=(3,))):
        yield "update changes the clip it is given: work on a copy"


def _asks_for_its_reference(subject: Subject) -> Iterator[str]:
    metric = subject.build()
    if metric.needs_reference and not refused(lambda: metric.update(_clip(4), PROMPT)):
        yield "needs_reference is True, but update without one raises no UserError"


def _tells_beforehand_what_it_cannot_mark(subject: Subject) -> Iterator[str]:
    for prompt in PROMPTS:
        metric, check = subject.build(), getattr(subject.one, "check", None)
        told = check is not None and refused(partial(check, prompt))
        refuses = refused(partial(metric.update, _clip(4), prompt, _clip(4) if metric.needs_reference else None))
        if refuses and not told:
            yield f"update refuses the prompt {prompt!r}: `check(prompt)` must do so, too, to be told before sampling"
        if told and not refuses:
            yield f"check refuses the prompt {prompt!r}, and update takes it: they must agree"


def _measure(metric: Metric, frames: int, with_reference: bool) -> Mapping[str, float]:
    return metric.update(_clip(frames), PROMPT, _clip(frames).flip(dims=(3,)) if with_reference else None)


def _named_floats(values: Mapping[str, float]) -> bool:
    return isinstance(values, Mapping) and all(type(key) is str and type(one) is float for key, one in values.items())


def _plans_dry(subject: Subject) -> Iterator[str]:
    """Tried when the required sections are given."""
    if not subject.values and any(field.default is attrs.NOTHING for field in attrs.fields(subject.component.options)):
        return
    told = subject.one.dry_run()
    if not isinstance(told, Mapping) or any(type(text) is not str for pair in told.items() for text in pair):
        yield f"dry_run must return a mapping of label to text, not {told!r}"
    if not callable(getattr(subject.one, "run", None)):
        yield "a job must have `run()`"


def _clip(frames: int) -> Tensor:
    generator = torch_generator(0, "clip", frames)
    return torch.randint(256, (3, frames, 16, 24), dtype=torch.uint8, generator=generator)


PARALLEL = (declares, _trains, _keeps_its_state)
TRACKER = (_tracks,)
METRIC = (
    declares,
    _measures,
    _keeps_clips_as_they_are,
    _asks_for_its_reference,
    _tells_beforehand_what_it_cannot_mark,
)
JOB = (_plans_dry,)
