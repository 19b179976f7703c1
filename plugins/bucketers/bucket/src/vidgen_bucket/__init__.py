"""Rows of a dataset to batches.

Offers the bucketers `fixed` and `bucket`. Read whenever vidgen starts, so it holds only names and options; the planning
lives in `vidgen_bucket.fixed` and `vidgen_bucket.bucket`.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

from attrs import frozen, validators
from vidgen import Component, hookimpl, option
from vidgen.errors import Problem

Keep = float | tuple[float, float]
"""A probability, or (keep, use)."""
BucketConfig = dict[str | int, dict[str | int, tuple[Keep, int | None]]]
"""Resolution -> number of frames -> probabilities and batch size, as a recipe writes it."""
Tables = dict[str, list[tuple[int, int]]]
"""Name -> sizes, (rows, columns)."""


@frozen(kw_only=True)
class FixedOptions:
    """Keys allowed beside `type: fixed`. Sizes are the recipe's: batch_size, num_frames, image_size."""

    shuffle: bool = option(True, "Another order in every epoch; false: the order of the table.")
    drop_last: bool = option(
        True, "Leave out rows that fill no step on all ranks; false: fill it up with the epoch's first rows."
    )


@frozen(kw_only=True)
class BucketOptions:
    """Keys allowed beside `type: bucket`. The recipe's batch_size, num_frames and image_size are not used."""

    bucket_config: BucketConfig = option(
        doc="Resolution -> number of frames -> [keep probability, or [keep, use], batch size of a rank], as in "
        "Open-Sora: {240p: {1: [1.0, 16], 51: [[1.0, 0.33], 8]}, 480p: {51: [0.0, null]}}."
    )
    frame_interval: int | None = option(
        None,
        "Frames of a video between two that are used, 1 for all; null is the recipe's frame_interval.",
        validator=validators.optional(validators.ge(1)),
    )
    resolutions: Tables = option(
        {}, "Further resolutions for bucket_config, name -> list of [rows, columns]; the first says the nominal pixels."
    )
    shuffle: bool = option(True, "Another order of rows and batches in every epoch; false: the order of the table.")
    drop_last: bool = option(
        True,
        "Leave out rows that fill no batch of their bucket, and batches that fill no step on all ranks; false: repeat "
        "rows and batches.",
    )
    balance: Literal["none", "tokens"] = option(
        "none", "tokens: the ranks of a step get batches of near token count, so that none waits for a giant one."
    )
    balance_ranks: int = option(
        8,
        "With balance, so many batches of near token count follow each other; a multiple of the number of ranks.",
        validator=validators.ge(1),
    )

    def problems(self) -> Iterator[Problem]:
        """What is wrong with the buckets."""
        from vidgen_bucket.checks import problems

        return problems(self.bucket_config, self.resolutions)


@hookimpl
def vidgen_bucketers() -> Iterable[Component]:
    """List the bucketers of this plugin."""
    yield Component(
        name="fixed",
        summary="Batches of one size: every row once an epoch, at the recipe's num_frames and image_size.",
        options=FixedOptions,
        factory="vidgen_bucket.fixed:build",
    )
    yield Component(
        name="bucket",
        summary="Batches of many sizes, each of one resolution, number of frames and aspect ratio, as in Open-Sora.",
        options=BucketOptions,
        factory="vidgen_bucket.bucket:build",
    )
