"""Rows of a dataset to batches.

Offers the bucketers `fixed`, `bucket`, `pad` and `pack`. Read whenever vidgen starts, so it holds only names and
options; the planning lives in `vidgen_bucket.fixed`, `bucket`, `pad` and `pack`.
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


@frozen(kw_only=True)
class NativeOptions:
    """Keys that `pad` and `pack` share: how large clips are. They keep their aspect ratio and are never enlarged."""

    num_frames: list[int] = option(
        [],
        "Frames of clips to choose from: of a video the most of which it has enough, 1 for still images; empty: the "
        "recipe's num_frames.",
        validator=validators.deep_iterable(validators.ge(1)),
    )
    frame_interval: int | None = option(
        None,
        "Frames of a video between two that are used, 1 for all; null is the recipe's frame_interval.",
        validator=validators.optional(validators.ge(1)),
    )
    max_pixels: int | None = option(
        None,
        "Rows times columns of a clip at most; null: those of the recipe's image_size, unless max_tokens is given.",
        validator=validators.optional(validators.ge(1)),
    )
    max_tokens: int | None = option(
        None,
        "Tokens that the model makes of a clip at most; null: no bound.",
        validator=validators.optional(validators.ge(1)),
    )
    size_multiple: int = option(
        16,
        "Rows and columns are rounded down to a multiple of it: the autoencoder's stride times the model's patch.",
        validator=validators.ge(1),
    )
    shuffle: bool = option(True, "Another order of rows and batches in every epoch; false: the order of the table.")
    drop_last: bool = option(
        True, "Leave out what fills no batch, and batches that fill no step on all ranks; false: repeat the first."
    )


@frozen(kw_only=True)
class PadOptions(NativeOptions):
    """Keys allowed beside `type: pad`."""

    batch_size: int | None = option(
        None, "Clips of a rank's batch; null: the recipe's batch_size.", validator=validators.optional(validators.ge(1))
    )
    window: int = option(
        64,
        "Batches whose rows are sorted by size among each other: the more, the less padding, and the less chance.",
        validator=validators.ge(1),
    )


@frozen(kw_only=True)
class PackOptions(NativeOptions):
    """Keys allowed beside `type: pack`. The recipe's batch_size is not used."""

    token_budget: int = option(doc="Tokens of a rank's batch at most.", validator=validators.ge(1))
    window: int = option(
        4096,
        "Rows packed together: the more, the fuller the batches, and the less chance.",
        validator=validators.ge(1),
    )


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
    yield Component(
        name="pad",
        summary="Clips at their own aspect ratio, padded to the largest of the batch, as in FiT.",
        options=PadOptions,
        factory="vidgen_bucket.pad:build",
    )
    yield Component(
        name="pack",
        summary="Clips at their own aspect ratio, as many to a batch as fill its tokens, as in NaViT.",
        options=PackOptions,
        factory="vidgen_bucket.pack:build",
    )
