"""Cases of Open-Sora's names for sizes, of its assignment of rows to buckets, and of its batch samplers.

The reference draws from numpy generators seeded with a number for each row, and orders batches by torch's; both are
handed to vidgen's functions here, which draw at addresses otherwise.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from vidgen.aspect import aspect_ratio_names, image_size, num_frames, resolution, resolution_names
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen_bucket import BucketOptions, FixedOptions, fixed
from vidgen_bucket.batches import InOrder, group, make_batches
from vidgen_bucket.draws import RowDraws
from vidgen_bucket.levels import Level, buckets_of, walk
from vidgen_bucket.place import Shapes, place

NAME = re.compile(
    r"(opensora\.datasets\.aspect|get_closest_ratio|get_image_size|get_num_frames|Bucket\.get_bucket_id"
    r"|VariableVideoBatchSampler|StatefulDistributedSampler|Bucket$)"
)

SEEDS = 1009 * np.arange(4000) + 5
"""With these the recorded fractions were counted."""

Case = dict[str, Any]


def matches(reference: str, case: Case) -> bool:
    """Whether the case is of sizes, buckets or samplers."""
    return reference.startswith("hpcaitech/Open-Sora") and NAME.search(reference) is not None


def run(case: Case, tensors: dict[str, Tensor], folder: Path) -> None:
    """Run one case. Raises: AssertionError, when a decision differs or the case asks for something unknown."""
    found = NAME.search(case["reference"])
    assert found and not tensors
    RUN[found[1]](case)


def _tables(case: Case) -> None:
    for name, table in case["resolutions"].items():
        ours = resolution(name)
        assert ours.pixels == table["pixels"], name
        assert [(key, list(size)) for key, size in ours.sizes.items()] == list(table["sizes"].items()), name
    if "aspect_ratio_names" in case:
        assert set(resolution_names()) == set(case["resolutions"])
        assert list(aspect_ratio_names()) == list(case["aspect_ratio_names"])
        for ratio, key in case["aspect_ratio_names"].items():
            assert list(image_size("240p", ratio)) == case["resolutions"]["240p"]["sizes"][key], ratio
    for name, frames in case.get("num_frames_names", {}).items():
        assert num_frames(name) == frames, name


def _closest_ratio(case: Case) -> None:
    for name, height, width, key, size in case["cases"]:
        table = resolution(name)
        assert table.closest_ratio(height, width) == key, (name, height, width)
        assert list(table.sizes[key]) == size, (name, key)
        config = {name: {1: (1.0, 1)}}
        scale = 9000.0 if height * width < table.pixels else 1.0  # rows walk alike, whatever their size is
        placed = _assigned(walk(config), [(1, scale * height, scale * width)], 1, _no_draws)
        assert placed == [[name, 1, key, 1, *size]], (name, height, width)


def _image_size(case: Case) -> None:
    for name, ratio, wanted in case["cases"]:
        assert _result(lambda name=name, ratio=ratio: list(image_size(name, ratio)), wanted), (name, ratio)


def _num_frames(case: Case) -> None:
    for given, wanted in case["cases"]:
        assert _result(lambda given=given: num_frames(given), wanted), given


def _result(make: Callable[[], Any], wanted: Any) -> bool:
    """Whether `make` gives what is wanted; where that is the name of an error, whether it raises one."""
    try:
        return bool(make() == wanted)
    except UserError:
        return isinstance(wanted, str) and wanted.endswith("Error")


def _assignment(case: Case) -> None:
    """Deterministic decisions, decisions with seeds, and fractions of many seeds."""
    levels = walk(_config(case["bucket_config"]))
    for version in case.get("num_bucket", {}):
        assert _num_bucket(levels) == case["num_bucket"][version]
    rows = [[*row[:4], 0, row[4]] for row in case.get("cases", [])] + case.get("exact_cases", [])
    assert rows, "the case expects nothing"
    seeds = np.array([row[4] for row in rows])
    for interval in sorted({row[3] for row in rows}):
        some = [place for place, row in enumerate(rows) if row[3] == interval]
        made = _assigned(levels, [rows[one][:3] for one in some], interval, _reference_draws(seeds[some]))
        for one, result in zip(some, made, strict=True):
            assert result == rows[one][5], f"{rows[one][:5]}: {result}, wanted {rows[one][5]}"
    for one in case.get("statistics", []):
        _check_fractions(levels, one)


def _check_fractions(levels: Sequence[Level], wanted: Case) -> None:
    row = (wanted["num_frames"], wanted["height"], wanted["width"])
    made = _assigned(levels, [row] * len(SEEDS), 1, _fixed_draws)
    names = ["dropped" if one is None else f"{one[0]}/{one[1]}" for one in made]
    fractions = {name: round(names.count(name) / len(names), 4) for name in sorted(set(names))}
    assert fractions == wanted["fractions"], f"{row}: {fractions}, wanted {wanted['fractions']}"


def _config(written: Case) -> Any:
    """JSON has no numbers as keys and no tuples."""
    return {
        name: {
            int(frames): (tuple(keep) if isinstance(keep, list) else keep, batch_size)
            for frames, (keep, batch_size) in entries.items()
        }
        for name, entries in written.items()
    }


def _num_bucket(levels: Sequence[Level]) -> int:
    return sum(len(level.entries) * len(level.resolution.sizes) for level in levels)


def _assigned(
    levels: Sequence[Level], rows: Sequence[Sequence[float]], interval: int, draws: Any
) -> list[list[Any] | None]:
    """[resolution, frames, ratio key, T, H, W] of each row, None for one that is left out."""
    frames, height, width = np.array(rows, np.float64).T
    placed = place(levels, Shapes(frames=frames, height=height, width=width), interval, draws)
    buckets = buckets_of(levels)
    return [None if one < 0 else _described(buckets[one]) for one in placed.bucket]


def _described(bucket: Any) -> list[Any]:
    name, frames, *_, key = bucket.name.split()
    return [name, int(frames), key, bucket.num_frames, *bucket.size]


def _reference_draws(seeds: Any) -> Callable[[Any, int, int], Any]:
    """One generator for each row and bucket number."""

    def draw(rows: Any, number: int, which: int) -> Any:
        return np.array([np.random.default_rng(seeds[row] + number).random(2)[which] for row in rows])

    return draw


def _fixed_draws(rows: Any, number: int, which: int) -> Any:
    """`_reference_draws` of `SEEDS`, made once."""
    return _drawn(number)[rows, which]


@cache
def _drawn(number: int) -> Any:
    return np.array([np.random.default_rng(seed + number).random(2) for seed in SEEDS])


def _no_draws(rows: Any, number: int, which: int) -> Any:
    raise AssertionError("nothing is drawn where all probabilities are 1")


def _edges(case: Case) -> None:
    for one in case["cases"]:
        assert one["what"] in EDGES, f"no way to try: {one['what']}"
        made = EDGES[one["what"]]()
        refused = isinstance(one["result"], dict) and "error" in one["result"]
        assert made == ("refused" if refused else one["result"]), f"{one['what']}: {made}"


def _mistake(config: Any) -> str:
    return "refused" if list(BucketOptions(bucket_config=config).problems()) else "accepted"


def _bucket_of(num_frames: int, height: int, width: int, interval: int = 1) -> list[Any] | None:
    config = {"256": {1: (1.0, 1), 16: (1.0, 1)}}
    (found,) = _assigned(walk(config), [(num_frames, height, width)], interval, _no_draws)
    return found and found[:3]


def _without_seed() -> str:
    try:
        RowDraws(pa.table({"path": ["a"]}), seed=None, epoch=0)  # type: ignore[arg-type]
    except TypeError:
        return "refused"
    return "accepted"


def _numbers(config: dict[str, set[int]]) -> dict[str, dict[str, int]]:
    levels = walk({name: dict.fromkeys(frames, (1.0, 1)) for name, frames in config.items()})
    return {level.resolution.name: {str(one.frames): one.number for one in level.entries} for level in levels}


EDGES: dict[str, Callable[[], Any]] = {
    "unknown resolution name in the config": lambda: _mistake({"999p": {1: (1.0, 1)}}),
    "image probability given as a pair": lambda: _mistake({"256": {1: ((1.0, 0.5), 1)}}),
    "T exactly equal to bucket frames * frame_interval is not enough (16 frames, interval 1)": lambda: _bucket_of(
        16, 256, 256
    ),
    "17 frames, interval 1": lambda: _bucket_of(17, 256, 256),
    "48 and 49 frames with interval 3, bucket of 16": lambda: [_bucket_of(t, 256, 256, 3) for t in (48, 49)],
    "area threshold: 0.8 of the nominal pixel count is included (52428 < 0.8*65536=52428.8 <= 52429)": lambda: [
        _bucket_of(1, 514, 102),
        _bucket_of(1, 481, 109),
    ],
    "seed None": _without_seed,
    'number of buckets of {"256": {1, 16}, "144p": {16}}': lambda: _num_bucket(
        walk({"256": {1: (1.0, 1), 16: (1.0, 1)}, "144p": {16: (1.0, 1)}})
    ),
    'bucket numbers (used for seeding) of {"144p": {16, 51, 1}, "720p": {1, 51}}: resolutions by falling pixel count, '
    "frame counts falling": lambda: _numbers({"144p": {16, 51, 1}, "720p": {1, 51}}),
}


class _TorchOrder(InOrder):
    """The reference's: one generator for the rows of each bucket in turn, then for the batches."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def rows(self, bucket: Any, members: Any, count: int) -> Any:
        return super().rows(bucket, members, count)[self.batches(count)]

    def batches(self, count: int) -> Any:
        return torch.randperm(count, generator=self._generator).numpy()


def _sampler(case: Case) -> None:
    levels = walk(_config(case["bucket_config"]))
    for one in case["cases"]:
        _check_batches(levels, case["rows"], one)


def _check_batches(levels: Sequence[Level], rows: Sequence[Sequence[int]], case: Case) -> None:
    arguments, state = case["sampler_args"], case["load_state"] or {}
    seed = state.get("seed", arguments["seed"]) + state.get("epoch", case["epoch"])
    frames, height, width = np.array(rows, np.float64).T
    draws = _reference_draws(seed + np.arange(len(rows)) * _num_bucket(levels))
    placed = place(levels, Shapes(frames=frames, height=height, width=width), case["frame_interval"], draws)
    groups = group(buckets_of(levels), placed.bucket)
    order = _TorchOrder(seed) if arguments["shuffle"] else InOrder()
    epoch = make_batches(groups, order, drop_last=arguments["drop_last"])
    assert groups.batch_counts(drop_last=True).sum() == case["num_batch_estimate"]
    made = [
        [f"{row}-{bucket.num_frames}-{bucket.size[0]}-{bucket.size[1]}" for row in epoch.batch_rows(number)]
        for number in epoch.for_ranks(case["world"], arguments["drop_last"])
        for bucket in [epoch.bucket(number)]
    ]
    first = state.get("last_micro_batch_access_index", 0) // case["world"]
    by_rank = [made[rank :: case["world"]][first:] for rank in range(case["world"])]
    _compare(by_rank, case, [_described(bucket)[:3] for bucket in map(epoch.bucket, range(len(epoch)))])


def _compare(by_rank: list[list[list[str]]], case: Case, used: list[list[Any]]) -> None:
    """As strictly as the case says; no batch of ours is empty, and no group is lost that is not dropped on purpose."""
    assert all(batch for rank in by_rank for batch in rank)
    wanted = case["batches_by_rank"]
    if case["compare"].startswith("informational"):
        assert all(group in used for group in case["lost"])
        return
    assert case["compare"].startswith("exact"), f"no way to compare: {case['compare']}"
    assert [len(rank) for rank in by_rank] == [len(rank) for rank in wanted]
    for made, batch in zip(chain(*by_rank), chain(*wanted), strict=True):
        assert made == batch or ("empty" in case["compare"] and not batch), f"{made}, wanted {batch}"


def _plain_samplers(case: Case) -> None:
    for one in case["fixed"]:
        order = _TorchOrder(one["seed"] + one["epoch"]) if one["shuffle"] else InOrder()
        rows = order.batches(one["samples"])
        made = [rows[batch[0].row] for batch in _fixed(1, one["samples"], one["world"], drop_last=False)]
        by_rank = [made[rank :: one["world"]][one["start_index"] :] for rank in range(one["world"])]
        assert by_rank == one["by_rank"], one
    for one in case["features"]:
        share = one["buffers"] // one["world"] * one["buffer_length"]
        batches = _fixed(share, one["buffers"] * one["buffer_length"], one["world"], drop_last=True)
        first = 0 if one["loaded_start_index"] is None else one["loaded_start_index"] + 1
        assert [[request.row for request in batch][first:] for batch in batches] == one["by_rank"], one


def _fixed(batch_size: int, rows: int, world: int, *, drop_last: bool) -> Any:
    context = Context(batch_size=batch_size, num_frames=1, image_size=(8, 6))
    bucketer = fixed.build(FixedOptions(shuffle=False, drop_last=drop_last), context)
    return bucketer.plan(pa.table({"num_frames": [1] * rows}), 0, world)


RUN: dict[str, Callable[[Case], None]] = {
    "opensora.datasets.aspect": _tables,
    "get_closest_ratio": _closest_ratio,
    "get_image_size": _image_size,
    "get_num_frames": _num_frames,
    "Bucket.get_bucket_id": _assignment,
    "Bucket": _edges,
    "VariableVideoBatchSampler": _sampler,
    "StatefulDistributedSampler": _plain_samplers,
}
