"""The bucketer `bucket`, on tables."""

import logging
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from attrs import evolve
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen.testing import assert_conforms, tiny_context
from vidgen_bucket import BucketOptions
from vidgen_bucket import bucket as module
from vidgen_bucket.bucket import build

CONFIG = {
    "144p": {1: (0.5, 5), 17: (1.0, 3)},
    "240p": {1: (0.8, 4), 17: (0.6, 2), 51: ((1.0, 0.5), 1)},
    "480p": {17: (0.3, 1)},
}
SIZES = [(144, 256), (256, 144), (240, 426), (320, 320), (480, 854), (100, 100)]


def make(config=CONFIG, *, context=None, **options):
    return build(BucketOptions(bucket_config=config, **options), context or Context(seed=3))


def table(rows=401, seed=0):
    draw = np.random.default_rng(seed)
    height, width = np.array(SIZES)[draw.integers(len(SIZES), size=rows)].T
    frames = draw.choice([1, 9, 18, 40, 60], rows)
    paths = [f"clips/{row:04d}.mp4" for row in range(rows)]
    return pa.table({"path": paths, "num_frames": frames, "height": height, "width": width})


def rows_of(batches):
    return [request.row for batch in batches for request in batch]


def test_it_conforms():
    """Rows of 2 frames, which a bucket of 1 frame does not take, are left out of the trial by its context."""
    context = evolve(tiny_context(), num_frames=3)
    config = {"tiny": {2: [0.9, 2]}}
    assert_conforms(
        "bucketer", "bucket", context=context, bucket_config=config, resolutions={"tiny": [[16, 24], [24, 16]]}
    )


def test_every_batch_is_of_one_bucket_and_asks_for_its_size():
    plan = make().plan(table(), 0, 1)
    assignment = make().assign(table(), 0)
    seen = set()
    for batch in plan:
        (bucket,) = {assignment.buckets[assignment.bucket[request.row]] for request in batch}
        assert len(batch) == bucket.batch_size
        assert {(request.num_frames, request.size) for request in batch} == {(bucket.num_frames, bucket.size)}
        seen.add(bucket.name)
    assert len(seen) > 10 and "240p 51 frames 0.56" in seen


def test_no_row_comes_twice_in_an_epoch():
    assert max(Counter(rows_of(make().plan(table(), 2, 3))).values()) == 1


def test_assignment_depends_on_what_a_row_is_and_not_on_where_it_stands():
    given = table()
    order = np.random.default_rng(5).permutation(given.num_rows)
    there, here = make().assign(given, 4), make().assign(given.take(order), 4)
    assert np.array_equal(here.bucket, there.bucket[order])
    assert np.array_equal(here.reason, there.reason[order])


def test_assignment_does_not_depend_on_how_a_table_lies_in_memory(monkeypatch):
    given = table()
    whole = make().assign(given, 1)
    pieces = pa.concat_tables([given.slice(0, 100), given.slice(100, 7), given.slice(107)])
    monkeypatch.setattr(module, "CHUNK", 31)
    for numbered in (given, pieces, pieces.combine_chunks()):
        made = make().assign(numbered, 1)
        assert np.array_equal(made.bucket, whole.bucket) and np.array_equal(made.reason, whole.reason)


def test_without_paths_rows_are_known_by_their_numbers(monkeypatch):
    given = table().drop_columns(["path"])
    whole = make().assign(given, 1)
    monkeypatch.setattr(module, "CHUNK", 31)
    assert np.array_equal(make().assign(given, 1).bucket, whole.bucket)


def test_assignment_is_drawn_anew_for_every_epoch_and_seed():
    first = make().assign(table(), 0).bucket
    assert np.array_equal(make().assign(table(), 0).bucket, first)
    assert not np.array_equal(make().assign(table(), 1).bucket, first)
    assert not np.array_equal(make(context=Context(seed=4)).assign(table(), 0).bucket, first)


def test_probabilities_are_kept():
    """Videos of 60 frames at 480x854: 0.3 stay there, half of the others try 51 frames, of the rest 0.6 stay."""
    rows = 20_000
    paths = [f"{row}.mp4" for row in range(rows)]
    given = pa.table({"path": paths, "num_frames": [60] * rows, "height": [480] * rows, "width": [854] * rows})
    assignment = make().assign(given, 0)
    counts = Counter(assignment.buckets[one].name for one in assignment.bucket)
    shares = {name: count / rows for name, count in counts.items()}
    wanted = {"480p 17 frames 0.56": 0.3, "240p 51 frames 0.56": 0.35, "240p 17 frames 0.56": 0.21}
    wanted["144p 17 frames 0.56"] = 0.14
    assert shares == pytest.approx(wanted, abs=0.015)


def test_frame_interval_is_the_recipes_unless_it_is_set():
    given = pa.table({"num_frames": [18, 35, 52], "height": [144] * 3, "width": [256] * 3})
    config = {"144p": {17: (1.0, 1)}}
    for bucketer, placed in (
        (make(config), 3),
        (make(config, context=Context(frame_interval=2)), 2),
        (make(config, context=Context(frame_interval=2), frame_interval=3), 1),
    ):
        assert (bucketer.assign(given, 0).bucket >= 0).sum() == placed


def test_batches_are_the_same_on_any_number_of_ranks_but_for_the_tail():
    one = list(make().plan(table(), 1, 1))
    for ranks in (2, 3, 8):
        plan = make().plan(table(), 1, ranks)
        assert len(plan) == len(one) // ranks * ranks
        assert list(plan) == one[: len(plan)]


def test_without_dropping_all_rows_with_a_bucket_are_used():
    bucketer = make(drop_last=False)
    plan = bucketer.plan(table(), 1, 3)
    assert len(plan) % 3 == 0
    assert set(rows_of(plan)) == set(np.flatnonzero(bucketer.assign(table(), 1).bucket >= 0))
    assert all(batch for batch in plan)


def test_a_slice_is_the_rest_of_the_plan():
    plan = make().plan(table(), 0, 2)
    assert list(plan[10:]) == list(plan)[10:] and list(plan[1::2]) == list(plan)[1::2]
    with pytest.raises(IndexError):
        plan[len(plan)]


def test_epochs_and_seeds_have_their_own_orders():
    first = rows_of(make().plan(table(), 0, 1))
    assert first == rows_of(make().plan(table(), 0, 1))
    assert first != rows_of(make().plan(table(), 1, 1))
    assert first != rows_of(make(context=Context(seed=4)).plan(table(), 0, 1))


def test_without_shuffling_buckets_come_in_the_order_of_the_table():
    config = {"144p": {1: (1.0, 2), 17: (1.0, 2)}}
    frames = [18, 1, 18, 1, 1, 18, 18, 1]
    given = pa.table({"num_frames": frames, "height": [192] * 8, "width": [192] * 8})
    for epoch in (0, 5):
        assert rows_of(make(config, shuffle=False).plan(given, epoch, 1)) == [0, 2, 5, 6, 1, 3, 4, 7]


def test_rows_that_stand_in_are_of_the_same_bucket():
    assignment = make().assign(table(), 0)
    for batch in make().plan(table(), 0, 1)[::7]:
        for request in batch:
            assert len(request.spares) == 8
            assert {assignment.bucket[row] for row in request.spares} == {assignment.bucket[request.row]}
            assert all(type(row) is int for row in (request.row, *request.spares))


def test_ranks_of_a_step_get_batches_of_near_token_count():
    given = table(3001)
    waits = {}
    for balance in ("none", "tokens"):
        plan = make(balance=balance, balance_ranks=4).plan(given, 0, 4)
        tokens = [len(batch) * batch[0].num_frames * batch[0].size[0] * batch[0].size[1] for batch in plan]
        steps = np.reshape(tokens, (-1, 4))
        waits[balance] = 1 - steps.mean(1).sum() / steps.max(1).sum()
    assert waits["none"] > 0.25
    assert waits["tokens"] < 0.03


def test_balanced_batches_are_the_same_on_any_number_of_ranks():
    one = list(make(balance="tokens").plan(table(), 1, 1))
    plan = make(balance="tokens").plan(table(), 1, 4)
    assert list(plan) == one[: len(plan)] and len(plan) > len(one) - 4


def test_the_models_tokens_count_where_they_are_known():
    """One that makes more of images than of videos turns the order around."""
    context = Context(seed=3, tokens=lambda size: 1000 if size[0] == 1 else 1)
    plan = make(balance="tokens", balance_ranks=4, context=context).plan(table(3001), 0, 4)
    steps = [{batch[0].num_frames == 1 for batch in plan[first : first + 4]} for first in range(0, len(plan), 4)]
    assert sum(len(kinds) > 1 for kinds in steps) <= 2


def test_a_bucket_that_the_autoencoder_cannot_take_is_refused_before_any_batch():
    def tokens(size):
        raise UserError(f"{size[1]} rows are no multiple of 7.")

    context = Context(seed=3, tokens=tokens)
    with pytest.raises(UserError, match=r"bucketer: the bucket 240p 51 frames 0\.56: 240 rows are no multiple of 7\."):
        make({"240p": {51: (1.0, 1)}}, context=context).plan(one_video(60, 240, 426), 0, 1)


def one_video(frames, height, width):
    return pa.table({"num_frames": [frames], "height": [height], "width": [width]})


def test_further_resolutions_have_sizes_of_their_own():
    tables = {"tiny": [(16, 24), (24, 16), (20, 20)]}
    bucketer = make({"tiny": {1: (1.0, 1)}}, resolutions=tables)
    sizes = [(16, 24), (18, 19), (300, 100), (15, 20)]  # the last has less than 0.8 of 16 x 24 pixels
    given = pa.table({"num_frames": [1] * 4, "height": [h for h, _ in sizes], "width": [w for _, w in sizes]})
    assignment = bucketer.assign(given, 0)
    found = [None if one < 0 else assignment.buckets[one].size for one in assignment.bucket]
    assert found == [(16, 24), (20, 20), (24, 16), None]


def test_left_over_rows_are_reported_once(caplog):
    given = pa.table({"num_frames": [18] * 5 + [1] * 2, "height": [144] * 7, "width": [256] * 7})
    with caplog.at_level(logging.INFO, logger="vidgen"):
        make({"144p": {1: (1.0, 3), 17: (1.0, 2)}}).plan(given, 0, 1)
    assert [record.getMessage() for record in caplog.records] == [
        "3 of 7 rows fill no batch in this epoch: 2 of 144p 1 frame 0.56 (batches of 3), "
        "1 of 144p 17 frames 0.56 (batches of 2)"
    ]


def test_nothing_is_reported_where_nothing_is_left_over(caplog):
    given = pa.table({"num_frames": [18] * 4, "height": [144] * 4, "width": [256] * 4})
    with caplog.at_level(logging.INFO, logger="vidgen"):
        make({"144p": {17: (1.0, 2)}}).plan(given, 0, 2)
    assert caplog.records == []


def test_no_matching_row_is_refused_with_the_reasons_counted():
    sizes = [(60, 100, 100), (1, 480, 854), (1, 480, 854), (17, 480, 854), (None, 480, 854), (60, float("nan"), 854)]
    frames, height, width = zip(*sizes, strict=True)
    given = pa.table({"num_frames": frames, "height": [float(h) for h in height], "width": width})
    with pytest.raises(UserError) as error:
        make({"240p": {17: (1.0, 3), 51: (1.0, 2)}}).plan(given, 0, 1)
    first, *lines, advice = str(error.value).splitlines()
    assert first == "not enough rows to fill one step on every rank:"
    assert [line.split(maxsplit=1) for line in lines] == [
        ["6", "rows in the dataset"],
        ["2", "- num_frames, height or width unknown, or not above 0"],
        ["1", "- too few pixels for every resolution (the smallest, 240p, needs 81,792)"],
        ["2", "- still images, and no resolution of their size has a bucket of 1 frame"],
        ["1", "- videos too short for every bucket of their size (the shortest of all needs 18 frames)"],
        ["0", "rows left"],
    ]
    assert advice.strip().startswith("give buckets that suit the data")


def test_too_few_rows_for_the_ranks_are_refused_with_the_buckets():
    given = pa.table({"num_frames": [18] * 4 + [1], "height": [144] * 5, "width": [256] * 5})
    with pytest.raises(UserError) as error:
        make({"144p": {1: (1.0, 2), 17: (1.0, 2)}}).plan(given, 0, 3)
    lines = [line.split(maxsplit=1) for line in str(error.value).splitlines()[1:]]
    assert lines[1:-1] == [
        ["5", "rows left"],
        ["4", "- in 144p 17 frames 0.56 (batches of 2)"],
        ["1", "- in 144p 1 frame 0.56 (batches of 2)"],
        ["2", "full batches"],
    ]
    assert " ".join(lines[-1]).startswith("lower batch sizes, use fewer ranks than 3, set drop_last: false")


@pytest.mark.parametrize("columns", [{"path": ["a", "b"]}, {"path": pa.array([], pa.string())}])
def test_a_table_that_tells_no_sizes_is_refused(columns):
    rows = len(columns["path"])
    with pytest.raises(UserError, match=f"{rows}  rows in the dataset"):
        make().plan(pa.table(columns), 0, 1)


def test_unknown_sizes_leave_a_row_out():
    given = pa.table({"num_frames": [18, None, 18], "height": [144, 144, None], "width": [256.0, 256.0, 256.0]})
    assert make({"144p": {17: (1.0, 1)}}).assign(given, 0).bucket.tolist()[1:] == [-1, -1]


def test_absurd_sizes_do_no_harm():
    """Numbers that no float64 holds exactly, infinite ones, and a width of 0."""
    columns = {"num_frames": [1 << 60, 18, 18], "height": [144, 1 << 60, 0], "width": [256.0, 1e300, float("inf")]}
    assert (make({"144p": {17: (1.0, 1)}}).assign(pa.table(columns), 0).bucket >= 0).tolist() == [True, True, False]
