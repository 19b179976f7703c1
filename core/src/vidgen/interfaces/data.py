"""What gives clips, and puts them into batches.

Letters: B samples, T H W frames/rows/columns of pixels.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from attrs import frozen

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from torch import Tensor


@frozen(kw_only=True)
class Sample:
    """One training sample, on the CPU.

    video: (3, T, H, W) uint8 RGB. text: its caption. fps: of the clip as cut (0 for a still image).
    """

    video: "Tensor"
    text: str
    fps: float


@runtime_checkable
class Dataset(Protocol):
    """Rows of media.

    table: metadata per row, known without opening the media, as an Arrow table with any of the columns `path`, `text`,
    `num_frames`, `height`, `width`, `fps` (a still image has num_frames 1). The number of rows is `table.num_rows`.
    """

    table: "pa.Table"

    def get(self, row: int, num_frames: int, size: tuple[int, int], rng: "np.random.Generator") -> Sample:
        """Row `row` as `num_frames` frames of `size` (rows, columns) pixels. Every choice is drawn from `rng`, which
        is addressed by (seed, epoch, row). Called in worker processes. Raises: RunError when the media is unreadable,
        UserError when it cannot give what is asked; both name the file."""
        ...

    def identity(self, row: int) -> str:
        """A name for what `row` holds, media and caption: another one when either changes, the same wherever it lies.
        Features kept of the row go by it."""
        ...


@frozen
class Request:
    """What a batch asks of one row: so many frames (of video) of such a size in pixels.

    spares: other rows of the same bucket, best first, one of which stands in where `row` cannot be read.
    """

    row: int
    num_frames: int
    size: tuple[int, int]
    spares: tuple[int, ...] = ()


@frozen(kw_only=True)
class Bucket:
    """Clips of one size: `num_frames` video frames of `size` (rows, columns). name: for people, such as
    `240p 51 frames 0.56`. batch_size: clips of one rank's batch, 0 where that depends on what else is in it."""

    name: str
    num_frames: int
    size: tuple[int, int]
    batch_size: int


@frozen(kw_only=True)
class Assignment:
    """Which bucket each row of a table goes to in one epoch, and why the others go to none.

    bucket: (rows,) integers, place in `buckets`, -1 for a row that is left out.
    reason: (rows,) integers, place in `reasons`; -1 for a row that has a bucket.
    """

    buckets: "Sequence[Bucket]"
    bucket: "np.ndarray"
    reasons: Sequence[str]
    reason: "np.ndarray"


class Bucketer(Protocol):
    """Rows to batches.

    ragged: whether a batch may hold requests of different sizes. It is then padded, and only models whose conditioning
        names `valid` can be trained with it.
    """

    ragged: bool

    def assign(self, table: "pa.Table", epoch: int) -> Assignment:
        """Where rows go in one epoch: a pure function of its arguments, the options and the seed. Opens no media."""
        ...

    def plan(self, table: "pa.Table", epoch: int, num_ranks: int) -> Sequence[Sequence[Request]]:
        """All batches of one epoch in order, each for one rank; step i of the epoch takes entries i * num_ranks ..
        (i + 1) * num_ranks - 1, one a rank, so the length is a multiple of num_ranks. A pure function of its
        arguments, the options and the seed; entries may be made lazily. Raises: UserError when no row fits."""
        ...
