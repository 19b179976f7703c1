"""Rows of a dataset to batches.

Offers the bucketer `fixed`. Read whenever vidgen starts, so it holds only names and options; the planning lives in
`vidgen_bucket.fixed`.
"""

from collections.abc import Iterable

from attrs import frozen
from vidgen import Component, hookimpl, option


@frozen(kw_only=True)
class FixedOptions:
    """Keys allowed beside `type: fixed`. Sizes are the recipe's: batch_size, num_frames, image_size."""

    shuffle: bool = option(True, "Another order in every epoch; false: the order of the table.")
    drop_last: bool = option(
        True, "Leave out rows that fill no step on all ranks; false: fill it up with the epoch's first rows."
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
