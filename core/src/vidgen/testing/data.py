"""Datasets and bucketers: tables, samples by address, plans that are pure functions."""

import pickle
from collections.abc import Iterator
from typing import Any

import torch

from vidgen.interfaces import Dataset, Request, Sample
from vidgen.rng import numpy_generator
from vidgen.testing.declared import declares
from vidgen.testing.subject import Subject

NUMBER = ("int", "uint", "float", "double")
COLUMNS = {"path": ("string", "large_string"), "text": ("string", "large_string")} | dict.fromkeys(
    ("num_frames", "height", "width", "fps"), NUMBER
)


def _has_typed_columns(subject: Subject) -> Iterator[str]:
    for field in subject.one.table.schema:
        types = COLUMNS.get(field.name, ("",))
        if not str(field.type).startswith(types):
            yield f"column `{field.name}` of the table must be {' or '.join(types)}, not {field.type}"


def _gives_samples(subject: Subject) -> Iterator[str]:
    assert subject.context.num_frames and subject.context.image_size
    dataset, shape = subject.one, (3, subject.context.num_frames, *subject.context.image_size)
    for row in {0, dataset.table.num_rows - 1}:
        sample = _get(subject, dataset, row)
        if tuple(sample.video.shape) != shape or sample.video.dtype != torch.uint8:
            yield f"row {row}: video must be uint8, {shape}, not {sample.video.dtype}, {tuple(sample.video.shape)}"
        if not isinstance(sample.text, str) or not isinstance(sample.fps, float):
            yield f"row {row}: text must be str and fps float, not {sample.text!r} and {sample.fps!r}"
        for what in ("a second time", "in a worker process"):
            again = dataset if what == "a second time" else pickle.loads(pickle.dumps(dataset))
            second = _get(subject, again, row)
            if again.identity(row) != dataset.identity(row):
                yield f"row {row}: identity is another one {what}: make it of what the row holds, nothing else"
            if second.text != sample.text or not torch.equal(second.video, sample.video):
                yield f"row {row}: the same rng gives another sample {what}: draw from `rng` alone, keep no state"


def _plans(subject: Subject) -> Iterator[str]:
    table, other = _table(subject), subject.build()
    for epoch, ranks in ((0, 1), (1, 3)):
        plan = [list(batch) for batch in subject.one.plan(table, epoch, ranks)]
        if plan != [list(batch) for batch in other.plan(table, epoch, ranks)]:
            yield "two bucketers plan one epoch differently: draw at addresses (vidgen.rng), keep no state"
        if not plan or len(plan) % ranks:
            yield f"plan gives {len(plan)} batches for {ranks} ranks: it must be a multiple, and more than none"
        requests = [request for batch in plan for request in batch or [None]]
        yield from filter(None, (_wrong(request, table.num_rows) for request in requests[:1] + requests[-1:]))
        if any(isinstance(request, Request) and not 0 <= request.row < table.num_rows for request in requests):
            yield f"plan asks for rows that a table of {table.num_rows} rows does not have"


def _assigns(subject: Subject) -> Iterator[str]:
    table, one = _table(subject), subject.one
    if not isinstance(one.ragged, bool):
        yield "ragged must be true or false"
    assignment = one.assign(table, 0)
    for name, names in (("bucket", assignment.buckets), ("reason", assignment.reasons)):
        places = getattr(assignment, name)
        if len(places) != table.num_rows or places.min() < -1 or places.max() >= len(names):
            yield f"assign gives {name} {places!r}: one place in {len(names)} or -1 for each of {table.num_rows} rows"
    if any((bucket < 0) != (reason >= 0) for bucket, reason in zip(assignment.bucket, assignment.reason, strict=True)):
        yield "assign must give a reason to exactly the rows that have no bucket"
    planned = {request.row for batch in one.plan(table, 0, 1) for request in batch}
    if any(assignment.bucket[row] < 0 for row in planned):
        yield "plan asks for rows that assign leaves out"


def _wrong(request: Any, rows: int) -> str:
    if not isinstance(request, Request):
        return f"a batch must hold Requests, at least one, not {request!r}"
    if any(type(number) is not int or number < 1 for number in (request.row + 1, request.num_frames, *request.size)):
        return f"{request} must hold plain ints (numpy's have other random addresses), and sizes above 0"
    return ""


def _table(subject: Subject) -> Any:
    import pyarrow

    rows, (height, width) = 23, subject.context.image_size or (16, 24)
    frames = 2 * (subject.context.num_frames or 2)  # more than a clip has: some bucketers want one left over
    columns = {"num_frames": frames, "height": height, "width": width, "fps": 8.0}
    return pyarrow.table({"text": [f"row {row}" for row in range(rows)]} | {k: [v] * rows for k, v in columns.items()})


def _get(subject: Subject, dataset: Dataset, row: int) -> Sample:
    assert subject.context.num_frames and subject.context.image_size
    rng = numpy_generator(subject.context.seed, "sample", 0, row)
    return dataset.get(row, subject.context.num_frames, subject.context.image_size, rng)


DATASET = (declares, _has_typed_columns, _gives_samples)
BUCKETER = (_plans, _assigns)
