"""`pad` and `pack`: sizes of clips at their own aspect ratio, and batches of different sizes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from vidgen import UserError
from vidgen.interfaces import Context, Size3
from vidgen_bucket import PackOptions, PadOptions, pack, pad

SIZES = [(1, 64, 96), (9, 64, 96), (10, 130, 96), (31, 64, 64), (200, 480, 854), (5, 15, 500), (0, 64, 64)]
"""(num_frames, height, width) of rows."""
CONTEXT = Context(seed=5)


def table(sizes: list[Size3]) -> pa.Table:
    frames, height, width = np.array(sizes).T
    return pa.table({"num_frames": frames, "height": height, "width": width})


def mixture(rows: int) -> pa.Table:
    generator = np.random.default_rng(2)
    return pa.table(
        {
            "num_frames": np.where(generator.random(rows) < 0.3, 1, generator.integers(5, 60, rows)),
            "height": generator.integers(40, 300, rows),
            "width": generator.integers(40, 300, rows),
        }
    )


def make_pad(context: Context = CONTEXT, **options: Any) -> pad.PadBucketer:
    return pad.build(
        PadOptions(**{"num_frames": [9, 4, 1], "max_pixels": 96 * 96, "batch_size": 3, **options}), context
    )


def make_pack(context: Context = CONTEXT, **options: Any) -> pack.PackBucketer:
    settings = {"num_frames": [9, 4, 1], "max_pixels": 96 * 96, "token_budget": 500, **options}
    return pack.build(PackOptions(**settings), context)


BOTH = pytest.mark.parametrize("make", [make_pad, make_pack], ids=["pad", "pack"])


def sizes_of(bucketer: Any, rows: pa.Table) -> list[Size3 | str]:
    """What becomes of each row: a size, or why there is none."""
    found = bucketer.assign(rows, 0)
    clips: list[Size3 | str] = []
    for bucket, reason in zip(found.bucket, found.reason, strict=True):
        if bucket < 0:
            clips.append(found.reasons[reason])
        else:
            clips.append((found.buckets[bucket].num_frames, *found.buckets[bucket].size))
    return clips


@BOTH
def test_clips_keep_their_aspect_ratio_and_are_never_enlarged(make: Callable[..., Any]) -> None:
    assert sizes_of(make(), table(SIZES)) == [
        (1, 64, 96),
        (4, 64, 96),  # 9 frames are not more than 9
        (9, 96, 80),  # of 111.7 x 82.5
        (9, 64, 64),
        (9, 64, 128),  # of 71.97 x 128.05
        "too few pixels, also within max_pixels and max_tokens: a side under size_multiple, 16",
        "num_frames, height or width unknown, or not above 0",
    ]


def test_frames_are_the_most_that_leave_one_over() -> None:
    frames = [(count, 64, 64) for count in (1, 2, 8, 9, 18, 19)]
    found = sizes_of(make_pad(frame_interval=2), table(frames))
    short = "videos too short for every num_frames (the shortest needs 9 frames)"
    assert found == [(1, 64, 64), short, short, (4, 64, 64), (4, 64, 64), (9, 64, 64)]
    assert sizes_of(make_pad(num_frames=[4]), table(frames))[:2] == [
        "still images, and num_frames does not hold 1",
        "videos too short for every num_frames (the shortest needs 5 frames)",
    ]


def test_clips_have_at_most_max_tokens_also_where_sides_do_not_divide_into_patches() -> None:
    def tokens(size: Size3) -> int:
        return -(-size[0] // 4) * -(-size[1] // 24) * -(-size[2] // 24)

    for multiple in (16, 24, 7):
        bucketer = make_pad(
            Context(seed=5, tokens=tokens), max_pixels=None, max_tokens=40, size_multiple=multiple, num_frames=[9, 1]
        )
        found = bucketer.assign(mixture(300), 0)
        counted = [tokens((one.num_frames, *one.size)) for one in found.buckets]
        assert 30 <= max(counted) <= 40
        assert len(set(found.buckets)) == len(found.buckets)


def test_nan_and_a_table_without_sizes_are_left_out_with_a_reason() -> None:
    rows = pa.table({"num_frames": [float("nan"), 5.0], "height": [64.0, 64.0], "width": [64.0, float("nan")]})
    unknown = "num_frames, height or width unknown, or not above 0"
    assert sizes_of(make_pad(), rows) == [unknown, unknown]
    with pytest.raises(UserError, match=r"(?s)not enough rows .* 2  - num_frames, height or width unknown"):
        make_pad().plan(pa.table({"text": ["a", "b"]}), 0, 1)


@BOTH
def test_every_row_comes_once_an_epoch_at_its_own_size(make: Callable[..., Any]) -> None:
    rows, bucketer = mixture(200), make()
    found = bucketer.assign(rows, 0)
    requests = [request for batch in bucketer.plan(rows, 0, 1) for request in batch]
    assert len({request.row for request in requests}) == len(requests) >= (found.bucket >= 0).sum() - 2
    for request in requests:
        one = found.buckets[found.bucket[request.row]]
        assert (request.num_frames, request.size) == (one.num_frames, one.size)


@BOTH
def test_rows_that_stand_in_are_others_of_the_same_size(make: Callable[..., Any]) -> None:
    rows, bucketer = mixture(400), make()
    bucket, some = bucketer.assign(rows, 0).bucket, 0
    for batch in bucketer.plan(rows, 0, 1):
        for request in batch:
            assert request.row not in request.spares
            assert {int(bucket[spare]) for spare in request.spares} <= {int(bucket[request.row])}
            some += bool(request.spares)
    assert some > 100


@BOTH
def test_with_another_number_of_ranks_only_the_last_step_differs(make: Callable[..., Any]) -> None:
    rows = mixture(200)
    alone, three, five = (list(make().plan(rows, 2, ranks)) for ranks in (1, 3, 5))
    assert len(three) % 3 == len(five) % 5 == 0
    assert len(alone) - 3 < len(three) <= len(alone)
    assert three == alone[: len(three)]
    assert five == alone[: len(five)]
    kept = list(make(drop_last=False).plan(rows, 2, 5))
    assert len(kept) % 5 == 0
    assert kept[-1] in kept[:5] or len({batch[0].row for batch in kept}) == len(kept)
    covered = {request.row for batch in kept for request in batch}
    assert covered == set(np.flatnonzero(make().assign(rows, 2).bucket >= 0).tolist())


@BOTH
def test_epochs_differ_and_repeat_exactly(make: Callable[..., Any]) -> None:
    rows = mixture(90)
    plans = [list(make().plan(rows, epoch, 1)) for epoch in (0, 0, 1)]
    assert plans[0] == plans[1]
    assert plans[0] != plans[2]
    first, later = (list(make(shuffle=False).plan(rows, epoch, 1)) for epoch in (0, 1))
    assert [[one.row for one in batch] for batch in first] == [[one.row for one in batch] for batch in later]


@BOTH
def test_a_slice_is_the_same_batches(make: Callable[..., Any]) -> None:
    plan = make().plan(mixture(60), 0, 1)
    assert list(plan[2:5]) == [plan[2], plan[3], plan[4]]
    assert plan[-1] == plan[len(plan) - 1]


def test_rows_of_one_batch_are_near_in_size() -> None:
    rows = mixture(3000)
    sorted_, chance = (make_pad(window=window).epoch(rows, 0, 1).padded_share() for window in (64, 1))
    assert sorted_ < 0.2 < chance


def test_the_padded_share_is_what_the_largest_sizes_leave_over() -> None:
    rows = table([(1, 32, 48), (5, 16, 64), (1, 64, 64)])
    made = make_pad(batch_size=3).epoch(rows, 0, 1)
    filled = 32 * 48 + 4 * 16 * 64 + 64 * 64
    assert made.padded_share() == pytest.approx(1 - filled / (3 * 4 * 64 * 64))


def test_no_pack_exceeds_its_budget_and_few_leave_much_of_it() -> None:
    rows, bucketer = mixture(3000), make_pack(token_budget=2000)
    totals = []
    for batch in bucketer.plan(rows, 0, 1):
        totals.append(sum(bucketer.sizes.tokens((one.num_frames, *one.size)) for one in batch))
    assert max(totals) <= 2000
    assert sum(totals) > 0.98 * 2000 * len(totals)


def test_a_clip_goes_where_it_fills_best() -> None:
    """Of 10: 7 + 3, 6 + 4, 5 + 5; a first fit in the order given would leave gaps."""
    packed = pack._packed(np.array([3, 4, 5, 7, 5, 6]), 10, 100)
    assert [sorted(items) for items in packed] == [[100, 103], [101, 105], [102, 104]]


def test_no_clip_is_larger_than_a_whole_pack() -> None:
    bucketer = make_pack(token_budget=90, max_pixels=None)
    rows = table([(1, 500, 800), (60, 500, 800), (1, 64, 64)])
    found = bucketer.assign(rows, 0)
    assert all(bucketer.sizes.tokens((one.num_frames, *one.size)) <= 90 for one in found.buckets)
    assert (found.bucket >= 0).all()
    assert sizes_of(make_pack(token_budget=3, max_pixels=None), rows)[1].startswith("too few pixels, also within")


def test_what_the_recipe_says_is_used_and_what_is_open_is_told() -> None:
    recipe = Context(seed=1, num_frames=4, image_size=(64, 96), batch_size=2, frame_interval=3)
    bucketer = pad.build(PadOptions(), recipe)
    assert sizes_of(bucketer, table([(13, 64, 96), (12, 64, 96)]))[0] == (4, 64, 96)
    assert len(bucketer.plan(table([(13, 64, 96)] * 5), 0, 1)) == 2
    with pytest.raises(UserError, match="pad misses batch_size"):
        pad.build(PadOptions(num_frames=[1], max_pixels=99), Context())
    with pytest.raises(UserError, match="misses how large clips are"):
        pad.build(PadOptions(batch_size=2), Context())


def test_clips_that_the_autoencoder_cannot_take_are_told_with_their_frames() -> None:
    def tokens(size: Size3) -> int:
        raise UserError("frames have to be 1 more than a multiple of 4")

    bucketer = make_pack(Context(seed=1, tokens=tokens))
    with pytest.raises(UserError, match="bucketer: clips of 9 frames: frames have to be 1 more"):
        bucketer.plan(mixture(20), 0, 1)
