"""Datasets and bucketers: tables, samples by address, plans that are pure functions."""

import pickle
from collections.abc import Iterator
from typing import Any

import torch

from vidgen.interfaces import Dataset, Request, Sample
from vidgen.rng import numpy_generator
from vidgen.testing.subject import Subject

TEXT = ("path", "text")
NUMBERS = ("num_frames", "height", "width", "fps")


def has_a_table(subject: Subject) -> Iterator[str]:
    """Metadata per row, of known types."""
    dataset = subject.one
    if not isinstance(dataset, Dataset) or not hasattr(dataset.table, "column_names"):
        yield "it must have `table`, an Arrow table, and `get`"
        return
    if dataset.table.num_rows < 1:
        yield "the table has no rows: give the trial some data"
    columns = {field.name: str(field.type) for field in dataset.table.schema}
    for names, types in ((TEXT, ("string", "large_string")), (NUMBERS, ("int", "uint", "float", "double"))):
        for name in set(names) & set(columns):
            if not columns[name].startswith(types):
                yield f"column `{name}` of the table must be {' or '.join(types)}, not {columns[name]}"


def gives_samples(subject: Subject) -> Iterator[str]:
    """What is asked, determined by the generator handed in, also from a worker process."""
    assert subject.context.num_frames and subject.context.image_size
    dataset, shape = subject.one, (3, subject.context.num_frames, *subject.context.image_size)
    for row in {0, dataset.table.num_rows - 1}:
        sample = _get(subject, dataset, row)
        if tuple(sample.video.shape) != shape or sample.video.dtype != torch.uint8:
            yield f"row {row}: video must be uint8 {shape}, not {sample.video.dtype} {tuple(sample.video.shape)}"
        if not isinstance(sample.text, str) or not isinstance(sample.fps, float):
            yield f"row {row}: text must be str and fps float, not {sample.text!r} and {sample.fps!r}"
        for other, what in ((dataset, "again"), (pickle.loads(pickle.dumps(dataset)), "from a pickled copy")):
            second = _get(subject, other, row)
            if second.text != sample.text or not torch.equal(second.video, sample.video):
                yield f"row {row}: the same rng gives another sample {what}: draw from `rng` alone, keep no state"


def plans(subject: Subject) -> Iterator[str]:
    """The same batches for the same arguments, as many as ranks can share, of rows there are."""
    table, other = _table(subject), subject.build()
    for epoch, ranks in ((0, 1), (1, 3)):
        plan = [list(batch) for batch in subject.one.plan(table, epoch, ranks)]
        if plan != [list(batch) for batch in other.plan(table, epoch, ranks)]:
            yield "two bucketers plan one epoch differently: draw at addresses (vidgen.rng), keep no state"
        if not plan or len(plan) % ranks:
            yield f"{len(plan)} batches for {ranks} ranks: there must be a multiple of it, and some"
        for request in (request for batch in plan for request in batch or [None]):
            fault = _wrong(request, table.num_rows)
            if fault:
                yield fault
                return


def _wrong(request: Any, rows: int) -> str:
    if not isinstance(request, Request):
        return f"a batch must hold Requests, at least one, not {request!r}"
    numbers = (request.row, request.num_frames, *request.size)
    if any(type(number) is not int for number in numbers):
        return f"{request} must hold plain ints: numpy's have other addresses; write int(row)"
    if not 0 <= request.row < rows or min(numbers[1:]) < 1:
        return f"{request} asks for a row or size that is not there; the table has {rows} rows"
    return ""


def _table(subject: Subject) -> Any:
    import pyarrow

    rows, (height, width) = 23, subject.context.image_size or (16, 24)
    columns = {"num_frames": subject.context.num_frames, "height": height, "width": width, "fps": 8.0}
    return pyarrow.table({"text": [f"row {row}" for row in range(rows)]} | {k: [v] * rows for k, v in columns.items()})


def _get(subject: Subject, dataset: Dataset, row: int) -> Sample:
    assert subject.context.num_frames and subject.context.image_size
    rng = numpy_generator(subject.context.seed, "sample", 0, row)
    return dataset.get(row, subject.context.num_frames, subject.context.image_size, rng)


DATASET_CHECKS = (has_a_table, gives_samples)
BUCKETER_CHECKS = (plans,)
