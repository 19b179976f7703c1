"""A clip with what it is to be like, read; some ahead of the one that is measured, never more."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from attrs import frozen
from torch import Tensor
from vidgen.errors import RunError, UserError

from vidgen_evaluate.clips import VIDEOS, Clip, read
from vidgen_evaluate.references import References


@frozen(kw_only=True)
class Pair:
    """video: (3, T, H, W) uint8; None where the file cannot be read. reference: of the same shape; None where there is
    none that fits. problem: what is missing, and why; else empty."""

    clip: Clip
    video: Tensor | None = None
    reference: Tensor | None = None
    problem: str = ""


@frozen(kw_only=True)
class PairReader:
    """references: None where none are asked for. The enlargements of files are undone."""

    references: References | None
    upscale: int = 1
    reference_upscale: int = 1

    def __call__(self, clip: Clip) -> Pair:
        """Read one; what is wrong is noted in it."""
        try:
            video = read(clip.path, self.upscale)
        except RunError as error:
            return Pair(clip=clip, problem=str(error))
        if clip.problem:
            return Pair(clip=clip, problem=clip.problem)
        if self.references is None:
            return Pair(clip=clip, video=video)
        try:
            reference = read(self.references.of(clip), self.reference_upscale, most=video.shape[1] + 1)
        except (RunError, UserError) as error:
            return Pair(clip=clip, video=video, problem=str(error))
        if clip.path.suffix.lower() in VIDEOS:
            video = _unpadded(video, reference)
        if video.shape != reference.shape:
            text = f"it is {_size(video)}, its reference {_size(reference, most=video.shape[1])}"
            return Pair(clip=clip, video=video, problem=text)
        return Pair(clip=clip, video=video, reference=reference)


def read_ahead(read_one: Callable[[Clip], Pair], clips: Iterable[Clip], num_workers: int) -> Iterator[Pair]:
    """In order. num_workers: threads, and so many pairs are held beside the one given out."""
    if num_workers == 0:
        yield from map(read_one, clips)
        return
    waiting: deque[Future[Pair]] = deque()
    pool = ThreadPoolExecutor(num_workers)
    try:
        for clip in clips:
            waiting.append(pool.submit(read_one, clip))
            if len(waiting) > num_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _unpadded(video: Tensor, reference: Tensor) -> Tensor:
    """Without the last row or column that a video file needs where the number of them is odd."""
    sides = zip(video.shape[2:], reference.shape[2:], strict=True)
    rows, columns = (real if real % 2 and side == real + 1 else side for side, real in sides)
    return video[:, :, :rows, :columns]


def _size(video: Tensor, most: int | None = None) -> str:
    """In words. most: frames beyond were not counted."""
    _, frames, rows, columns = video.shape
    more = most is not None and frames > most
    number = most if more else frames
    return f"{'more than ' if more else ''}{number} frame{'' if number == 1 else 's'} of {rows}x{columns}"
