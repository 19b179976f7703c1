"""Buckets suggested from a table."""

import numpy as np
import pyarrow as pa
import pytest
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen_bucket import BucketOptions
from vidgen_bucket.bucket import build


def make(context=None, **options):
    """Batches of 4 clips of 51 frames at 240p, and no more tokens."""
    return build(BucketOptions(bucket_config={"240p": {51: (1.0, 4)}}, **options), context or Context())


def table(*kinds):
    """kinds: (rows, frames, height, width)."""
    columns = np.concatenate([np.tile(kind, (rows, 1)) for rows, *kind in kinds]).T
    return pa.table(dict(zip(("num_frames", "height", "width"), columns, strict=True)))


def test_resolutions_and_frames_are_those_of_many_rows():
    given = table((500, 60, 240, 426), (300, 120, 480, 854), (200, 1, 480, 854), (9, 60, 1080, 1920), (9, 9, 144, 256))
    assert make().suggest(given) == {
        "type": "bucket",
        "bucket_config": {"480p": {1: [1.0, 55], 51: [1.0, 1]}, "240p": {51: [1.0, 4]}},
    }


def test_few_rows_of_a_size_count_with_the_next_smaller_one():
    """A twentieth is needed: 4 and 2 of 100 together have it."""
    given = table((4, 60, 720, 1280), (2, 60, 480, 854), (94, 60, 240, 426))
    assert list(make().suggest(given)["bucket_config"]) == ["480p", "240p"]
    given = table((4, 60, 720, 1280), (96, 60, 240, 426))
    assert list(make().suggest(given)["bucket_config"]) == ["240p"]


def test_a_bucket_takes_the_videos_that_are_longer_than_it_at_the_frame_interval():
    given = table((50, 103, 240, 426), (50, 102, 240, 426))
    assert list(make().suggest(given)["bucket_config"]["240p"]) == [51, 102]
    assert list(make(frame_interval=2).suggest(given)["bucket_config"]["240p"]) == [34, 51]
    assert make(frame_interval=2).suggest(given)["frame_interval"] == 2


def test_batches_are_as_large_as_the_largest_of_the_recipe_in_tokens():
    """204 of them, where a frame is one."""
    config = {"240p": {51: (1.0, 4), 17: (1.0, 11)}}
    bucketer = build(BucketOptions(bucket_config=config), Context(tokens=lambda size: size[0]))
    given = table((40, 1, 240, 426), (30, 40, 240, 426), (20, 205, 240, 426), (10, 900, 240, 426))
    assert bucketer.suggest(given)["bucket_config"] == {"240p": {1: [1.0, 204], 34: [1.0, 6], 204: [1.0, 1]}}


def test_what_a_suggestion_sends_to_buckets_is_nearly_everything():
    draw = np.random.default_rng(0)
    rows = 2000
    given = pa.table(
        {
            "num_frames": np.where(draw.random(rows) < 0.3, 1, draw.integers(18, 700, rows)),
            "height": draw.integers(150, 1100, rows),
            "width": draw.integers(200, 2000, rows),
        }
    )
    suggested = make().suggest(given)
    bucketer = build(BucketOptions(bucket_config=as_options(suggested["bucket_config"])), Context())
    assert (bucketer.assign(given, 0).bucket >= 0).mean() > 0.95
    assert list(BucketOptions(bucket_config=as_options(suggested["bucket_config"])).problems()) == []


def as_options(config):
    return {name: {frames: tuple(one) for frames, one in entries.items()} for name, entries in config.items()}


def test_frames_that_the_autoencoder_cannot_take_are_not_suggested():
    def tokens(size):
        if size[0] % 2 and size[0] > 1:
            raise UserError("odd")
        return size[0]

    context = Context(tokens=tokens)
    bucketer = build(BucketOptions(bucket_config={"240p": {102: (1.0, 4), 17: (1.0, 1)}}), context)
    assert list(bucketer.suggest(table((10, 120, 240, 426)))["bucket_config"]["240p"]) == [102]


@pytest.mark.parametrize("given", [table((3, 60, 90, 90)), pa.table({"path": ["a", "b", "c"]})])
def test_a_table_without_usable_sizes_is_refused(given):
    with pytest.raises(UserError, match="of 3 rows none has a known num_frames, height and width, 29,492 pixels"):
        make().suggest(given)


def test_a_resolution_without_room_for_videos_is_suggested_for_still_images_alone():
    given = table((50, 60, 1080, 1920), (50, 1, 1080, 1920))
    assert make().suggest(given)["bucket_config"] == {"1080p": {1: [1.0, 10]}, "720p": {17: [1.0, 1]}}


def test_resolutions_and_frames_of_the_recipe_are_among_the_choices():
    tables = {"tiny": [(16, 24), (20, 20)]}
    bucketer = build(BucketOptions(bucket_config={"tiny": {8: (1.0, 3)}}, resolutions=tables), Context())
    assert bucketer.suggest(table((5, 9, 30, 40), (5, 40, 30, 40))) == {
        "type": "bucket",
        "bucket_config": {"tiny": {8: [1.0, 3], 17: [1.0, 1]}},
        "resolutions": {"tiny": [[16, 24], [20, 20]]},
    }
