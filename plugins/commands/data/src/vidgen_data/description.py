"""What is in a table: missing values, ranges, histograms, hours; gathered in one pass."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from attrs import define, field
from numpy.typing import NDArray

from vidgen_data.source import Source

EDGES: dict[str, tuple[float, ...]] = {
    "num_frames": (1, 2, 17, 34, 51, 102, 204, 408, 816, 1632, 3264),
    "height": (1, 144, 240, 256, 360, 480, 512, 720, 1080, 1440, 2160),
    "width": (1, 144, 240, 256, 426, 512, 640, 854, 1280, 1920, 2560, 3840),
    "fps": (0, 1, 10, 15, 20, 24, 25, 30, 50, 60, 120),
}
"""Lower ends of the bars, the last one open; fixed, so that tables can be compared."""

BAR = 40


@define
class Column:
    """missing: values that are null, NaN or an empty text. low, high: of numbers."""

    kind: str
    missing: int = 0
    low: float = np.inf
    high: float = -np.inf

    def add(self, values: pa.Array) -> None:
        """Take in a batch."""
        if pa.types.is_string(values.type):
            self.missing += values.null_count + (pc.sum(pc.equal(values, "")).as_py() or 0)
        elif not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
            self.missing += values.null_count
        else:
            known = _numbers(values)
            known = known[~np.isnan(known)]
            self.missing += len(values) - len(known)
            if len(known):
                self.low, self.high = min(self.low, float(known.min())), max(self.high, float(known.max()))

    @property
    def range(self) -> str:
        """`16 to 300`; nothing of what is no number."""
        return f"{self.low:g} to {self.high:g}" if self.low <= self.high else ""


@define
class Description:
    """columns: by name. histograms: name -> rows in each bar of `EDGES`. seconds: of video. bytes: of the files."""

    rows: int = 0
    columns: dict[str, Column] = field(factory=dict)
    histograms: dict[str, NDArray[np.int64]] = field(factory=dict)
    seconds: float = 0.0
    bytes: int = 0


def describe(source: Source) -> Description:
    """Go through a table once."""
    found = Description(columns={one.name: Column(str(one.type)) for one in source.schema})
    for name, edges in EDGES.items():
        if name in source.schema.names:
            found.histograms[name] = np.zeros(len(edges), np.int64)
    for batch in source.batches():
        found.rows += batch.num_rows
        for name, column in found.columns.items():
            column.add(batch.column(name))
        for name, bars in found.histograms.items():
            bars += _bars(_numbers(batch.column(name)), EDGES[name])
        found.seconds += _seconds(batch)
        if "size" in found.columns:
            found.bytes += int(np.nansum(_numbers(batch.column("size"))))
    return found


def lines(bars: NDArray[np.int64], edges: tuple[float, ...]) -> Iterator[tuple[str, str, str]]:
    """(range, rows, bar) of each bar that has rows."""
    most = max(int(bars.max()), 1)
    for place, (low, count) in enumerate(zip(edges, bars.tolist(), strict=True)):
        if count:
            high = f"below {edges[place + 1]:g}" if place + 1 < len(edges) else "and more"
            yield f"{low:g} {high}", f"{count:,}", "#" * max(1, round(BAR * count / most))


def _numbers(values: pa.Array) -> NDArray[np.float64]:
    """A column as numbers, NaN where there is none."""
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        return np.full(len(values), np.nan)
    return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def _bars(numbers: NDArray[np.float64], edges: tuple[float, ...]) -> NDArray[np.int64]:
    return np.histogram(numbers[~np.isnan(numbers)], (*edges, np.inf))[0]


def _seconds(batch: pa.RecordBatch) -> float:
    if not {"num_frames", "fps"} <= set(batch.schema.names):
        return 0.0
    frames, fps = _numbers(batch.column("num_frames")), _numbers(batch.column("fps"))
    videos = (frames > 1) & (fps > 0)
    return float((frames[videos] / fps[videos]).sum())
