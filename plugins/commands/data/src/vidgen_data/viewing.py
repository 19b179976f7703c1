"""The samples that training will see first of each bucket, read as it reads them."""

from collections.abc import Iterator, Sequence

import numpy as np
from vidgen.errors import VidgenError
from vidgen.interfaces import Assignment, Bucket, Request
from vidgen.rng import numpy_generator

from vidgen_data.contact_sheet import Card, Sheet
from vidgen_data.recipe_data import RecipeData
from vidgen_data.terminal import progress


def sheets(data: RecipeData, *, count: int, epoch: int) -> list[Sheet]:
    """About `count` samples of an epoch, as many of each bucket. Raises: UserError, when no row fits."""
    table = data.dataset.table
    batches = data.bucketer.plan(table, epoch, 1)
    assignment = data.bucketer.assign(table, epoch)
    chosen = _chosen(batches, assignment, count)
    rows = np.bincount(assignment.bucket[assignment.bucket >= 0], minlength=len(assignment.buckets))
    with progress() as bar:
        task = bar.add_task("clips", total=sum(map(len, chosen.values())))
        made = list[Sheet]()
        for place, requests in sorted(chosen.items()):
            cards = list[Card]()
            for request in requests:
                cards.append(_card(data, request, epoch))
                bar.advance(task)
            bucket = assignment.buckets[place]
            made.append(Sheet(name=bucket.name, facts=_facts(bucket, int(rows[place])), cards=cards))
    return made


def _chosen(batches: Sequence[Sequence[Request]], assignment: Assignment, count: int) -> dict[int, list[Request]]:
    """Bucket -> its first requests in the order of training; the same number of each bucket where it has as many."""
    filled = np.unique(assignment.bucket[assignment.bucket >= 0])
    share = -(-count // max(len(filled), 1))
    found: dict[int, list[Request]] = {}
    for request in _requests(batches):
        place = int(assignment.bucket[request.row])
        mine = found.setdefault(place, [])
        if len(mine) < count:
            mine.append(request)
        if len(found) == len(filled) and sum(min(len(one), share) for one in found.values()) >= count:
            break
    return _dealt(found, count)


def _dealt(found: dict[int, list[Request]], count: int) -> dict[int, list[Request]]:
    """At most `count` in all, one of each bucket in turn; every bucket at least once."""
    deepest = max(map(len, found.values()), default=0)
    order = [place for turn in range(deepest) for place in sorted(found) if turn < len(found[place])]
    kept = order[: max(count, len(found))]
    return {place: found[place][: kept.count(place)] for place in found}


def _requests(batches: Sequence[Sequence[Request]]) -> Iterator[Request]:
    for number in range(len(batches)):
        yield from batches[number]


def _card(data: RecipeData, request: Request, epoch: int) -> Card:
    table, row = data.dataset.table, request.row
    known = {name: table.column(name)[row].as_py() or "" for name in ("path", "text") if name in table.column_names}
    rng = numpy_generator(data.seed, "sample", epoch, row)
    try:
        sample = data.dataset.get(row, request.num_frames, request.size, rng)
    except VidgenError as error:
        path, text = known.get("path", ""), known.get("text", "")
        return Card(row=row, path=path, text=text, fps=0.0, video=None, error=str(error))
    return Card(row=row, path=known.get("path", ""), text=sample.text, fps=sample.fps, video=sample.video.numpy())


def _facts(bucket: Bucket, rows: int) -> str:
    size = f"{bucket.num_frames} frames of {bucket.size[0]}×{bucket.size[1]}"
    batch = f", batches of {bucket.batch_size}" if bucket.batch_size else ""
    return f"{size}{batch}, {rows:,} row{'s' * (rows != 1)}"
