"""Cases of which frames of a clip a sample takes."""

from pathlib import Path
from typing import Any

from torch import Tensor
from vidgen_video.window import TooShort, last_start, window_indices

Case = dict[str, Any]


def matches(reference: str, case: Case) -> bool:
    """Whether the case is of Open-Sora's temporal random crop."""
    return reference.startswith("hpcaitech/Open-Sora") and "temporal_random_crop" in reference


def run(case: Case, tensors: dict[str, Tensor], folder: Path) -> None:
    """Run one case. Raises: AssertionError, when a frame differs or the case asks for something unknown."""
    assert case["cases"] and not tensors
    for one in case["cases"]:
        _check(one)


def _check(one: Case) -> None:
    total, num_frames, interval = one["total"], one["num_frames"], one["frame_interval"]
    assert one["begin_range"] == [0, last_start(total, num_frames, interval)], one
    try:
        taken = window_indices(total, num_frames, interval, one["begin"])
    except TooShort:
        assert "error" in one["indices"], one
    else:
        assert taken.tolist() == one["indices"], f"{one}: {taken.tolist()}"
