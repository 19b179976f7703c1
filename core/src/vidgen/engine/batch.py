"""What goes in and out of reading data: places in the stream, asks, answers, and the batches they come to."""

from collections.abc import Mapping, Sequence

import torch
from attrs import evolve, frozen
from torch import Tensor

from vidgen.engine.features import Features
from vidgen.errors import VidgenError
from vidgen.interfaces import Request, Sample, Size3

IMAGE_FPS = 120.0  # what Open-Sora's models were told for a still image


@frozen
class Position:
    """A place in the data: batches `batch` and later of epoch `epoch` are still to come. Counted over all ranks."""

    epoch: int = 0
    batch: int = 0


@frozen
class Ask:
    """A request with everything its answer depends on. position: where the stream goes on after its step. rows: to try
    in turn, until one can be read. crossed: whether the step ends in the epoch after this request's."""

    position: Position
    request: Request
    rows: tuple[int, ...]
    crossed: bool = False

    @property
    def epoch(self) -> int:
        """The request's."""
        return self.position.epoch - self.crossed


@frozen
class Failure:
    """A sample that could not be had; carried out of the worker as data, since an exception there loses its type.
    fatal: nothing may stand in for it."""

    error: VidgenError
    fatal: bool = False


@frozen
class BadSample:
    """A row that could not be read in `epoch`, and why. key: of its features, 0 where none are kept."""

    row: int
    epoch: int
    error: VidgenError
    key: int = 0


@frozen(kw_only=True)
class Answer:
    """What an ask came to. row: the one that was read. key: of its features, 0 where none are kept. bad: rows that were
    tried before."""

    ask: Ask
    row: int
    key: int
    found: Sample | Features | Failure
    bad: tuple[BadSample, ...] = ()


@frozen
class Group:
    """Clips of one size: `video` (B', 3, T, H, W) uint8 of the samples at `places` of their batch."""

    places: tuple[int, ...]
    video: Tensor

    def pin_memory(self) -> "Group":
        """The same in page-locked memory."""
        return Group(self.places, self.video.pin_memory())


@frozen(kw_only=True)
class Batch:
    """sizes: video (T, H, W) of each sample. rows: of the dataset. following: where the stream goes on after this.

    groups: clips of the samples whose features are not known. features: of the others, by place in the batch. keys: of
    all samples, where features are kept. bad: rows that could not be read, of which `rows` holds the stand-ins. shown:
    what a model is shown of the clips, where it was worked out with the features.
    """

    groups: tuple[Group, ...]
    sizes: tuple[Size3, ...]
    texts: list[str]
    fps: Tensor
    rows: tuple[int, ...]
    epoch: int
    following: Position
    features: Mapping[int, Features] = {}
    keys: tuple[int, ...] = ()
    bad: tuple[BadSample, ...] = ()
    shown: Mapping[str, Tensor] = {}

    def pin_memory(self) -> "Batch":
        """The same in page-locked memory, from where a GPU can fetch it while it computes; the DataLoader asks."""
        return evolve(self, groups=tuple(group.pin_memory() for group in self.groups), fps=self.fps.pin_memory())

    def numbers(self) -> dict[str, Tensor]:
        """`height`, `width`, `num_frames`, `fps`, `ar`, each (B,) float32."""
        return size_numbers(self.sizes, self.fps)


@frozen(kw_only=True)
class Missed:
    """A batch of which no sample could be read, or (`fatal`) one that nothing may stand in for; `error` is its."""

    error: VidgenError
    bad: tuple[BadSample, ...]
    following: Position
    fatal: bool = False


def size_numbers(sizes: Sequence[Size3], fps: Tensor | float) -> dict[str, Tensor]:
    """What models may be told of clips of (T, H, W), (B,) float32 each: ar = height / width, stills have 120 fps."""
    frames, height, width = torch.tensor(sizes, dtype=torch.float32).unbind(1)
    rate = torch.where(frames == 1, IMAGE_FPS, torch.as_tensor(fps, dtype=torch.float32))
    return {"height": height, "width": width, "num_frames": frames, "ar": height / width, "fps": rate}


def collate(answers: Sequence[Answer]) -> Batch | Missed:
    """Answers to a batch, without those that failed with all their stand-ins."""
    good = [answer for answer in answers if not isinstance(answer.found, Failure)]
    bad = tuple(one for answer in answers for one in answer.bad)
    failures = [answer.found for answer in answers if isinstance(answer.found, Failure)]
    fatal = [failure for failure in failures if failure.fatal]
    if fatal or not good:
        error, following = (fatal or failures)[-1].error, answers[-1].ask.position
        return Missed(error=error, bad=bad, following=following, fatal=bool(fatal))
    features = {place: a.found for place, a in enumerate(good) if isinstance(a.found, Features)}
    samples = {place: a.found for place, a in enumerate(good) if isinstance(a.found, Sample)}
    sizes = tuple((a.ask.request.num_frames, *a.ask.request.size) for a in good)
    ask = answers[-1].ask
    return Batch(
        groups=_grouped(samples, sizes),
        sizes=sizes,
        texts=[samples[i].text if i in samples else features[i].caption for i in range(len(good))],
        fps=torch.tensor([(samples.get(i) or features[i]).fps for i in range(len(good))], dtype=torch.float32),
        rows=tuple(answer.row for answer in good),
        epoch=ask.epoch,
        following=ask.position,
        features=features,
        keys=tuple(answer.key for answer in good),
        bad=bad,
    )


def _grouped(samples: Mapping[int, Sample], sizes: Sequence[Size3]) -> tuple[Group, ...]:
    places: dict[Size3, list[int]] = {}
    for place in samples:
        places.setdefault(sizes[place], []).append(place)
    return tuple(
        Group(tuple(group), torch.stack([samples[place].video for place in group])) for group in places.values()
    )
