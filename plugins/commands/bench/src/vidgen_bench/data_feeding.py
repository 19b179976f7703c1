"""Whether worker processes keep a training fed: the share of a step spent waiting for its batch."""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter, sleep

import torch
from vidgen import build
from vidgen.engine.batch import Ask, Position
from vidgen.engine.feed import Feed
from vidgen.interfaces import Dataset, Request
from vidgen.recipe.schema import ReadingOptions

from vidgen_bench.comparison import Alternatives, Comparison
from vidgen_bench.video_clips import VideoClip, found, short_clips

STEP, STEPS, WARM_UP = 0.05, 100, 20
FRAMES, SIZE = 16, (240, 426)


def comparisons(folder: Path | None = None) -> Iterator[Comparison]:
    """folder: of clips, in place of the generated ones."""
    yield Comparison(
        name=f"share of a step of {1000 * STEP:.0f} ms waiting for {FRAMES} frames of {SIZE[0]}x{SIZE[1]}, 2 workers",
        against="reading in the main process",
        goal=1.0,
        unit="%",
        prepare=partial(_ways, folder),
        measure=_value,
        warm_up=0,
    )


def _ways(folder: Path | None) -> Alternatives:
    dataset = _dataset(list(found(folder) if folder is not None else short_clips()))
    return Alternatives(ours=partial(_waiting, dataset, 2), theirs=partial(_waiting, dataset, 0))


def _value(call: Callable[[], object]) -> float:
    share = call()
    assert isinstance(share, float), "a call returns the share"
    return share


def _waiting(dataset: Dataset, num_workers: int) -> float:
    """Percent of the time, over steps that do nothing but last."""
    rows = [number % dataset.table.num_rows for number in range(WARM_UP + STEPS)]
    asks = [[Ask(Position(0, number + 1), Request(row, FRAMES, SIZE), (row,))] for number, row in enumerate(rows)]
    options, outputs = ReadingOptions(num_workers=num_workers), Path(tempfile.mkdtemp(prefix="vidgen-bench-"))
    feed = iter(Feed(dataset, asks, options, seed=0, outputs=outputs, device=torch.device("cpu")))
    waited, begun = 0.0, 0.0
    for step in range(WARM_UP + STEPS):
        if step == WARM_UP:
            waited, begun = 0.0, perf_counter()
        asked = perf_counter()
        next(feed)
        waited += perf_counter() - asked
        sleep(STEP)
    return 100 * waited / (perf_counter() - begun)


def _dataset(clips: list[VideoClip]) -> Dataset:
    table = Path(tempfile.mkdtemp(prefix="vidgen-bench-")) / "meta.csv"
    table.write_text("".join(["path,text\n", *(f"{clip.path.name},a clip\n" for clip in clips)]), encoding="utf-8")
    dataset: Dataset = build("dataset", "VideoText", data_path=str(table), root=str(clips[0].path.parent))
    return dataset
