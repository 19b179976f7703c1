"""What bucketers share: saying how many rows are left out, and why."""

import numpy as np

from vidgen.interfaces import Assignment


def counts(assignment: Assignment) -> list[tuple[str, int]]:
    """How many rows there are, how many of them are left out for each reason that occurs, and how many remain."""
    left_out = np.bincount(assignment.reason[assignment.bucket < 0], minlength=len(assignment.reasons))
    reasons = [(f"- {text}", int(count)) for text, count in zip(assignment.reasons, left_out, strict=True) if count]
    rows = len(assignment.bucket)
    return [("rows in the dataset", rows), *reasons, ("rows left", rows - int(left_out.sum()))]


def table_of_counts(rows: list[tuple[str, int]]) -> str:
    """Lines with a number and what it counts."""
    return "\n".join(f"    {count:>12,}  {label}" for label, count in rows)
