"""Cases of the batch-size search of Open-Sora 1.1 and 1.2; a step takes a + b * size seconds and fits up to `oom`."""

from pathlib import Path
from typing import Any

from torch import Tensor
from vidgen_search_batch_size.search import NOTHING, Found, Measure, bisect, scan


def matches(reference: str, case: dict[str, Any]) -> bool:
    """Whether this file runs the case: it names the script that searches."""
    return "search_bs" in reference


def run(case: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> None:
    """Run all of one version. Raises: AssertionError, when a size or time differs, or others are tried."""
    older = "v1.1" in case["reference"]
    assert older or "v1.2" in case["reference"], case["reference"]
    assert case["cases"]
    for entry in case["cases"]:
        _check(entry, _older if older else _newer)


def _check(entry: dict[str, Any], search: Any) -> None:
    tried: list[int] = []

    def measure(size: int) -> float | None:
        tried.append(size)
        return round(entry["a"] + entry["b"] * size, 6) if size <= entry["oom"] else None

    try:
        found = search(entry, measure)
    except ValueError:
        assert "error" in entry, f"refused: {entry}"
        return
    if "error" in entry:
        assert found == NOTHING, f"{found}: {entry}"
        return
    assert (found.batch_size, found.step_time) == (entry["batch_size"], entry["step_time"]), f"{found}: {entry}"
    assert tried == entry["tried"], f"tried {tried}: {entry}"


def _newer(entry: dict[str, Any], measure: Measure) -> Found:
    return bisect(measure, lower=entry["lower"], upper=entry["upper"], goal=entry["ref_step_time"])


def _older(entry: dict[str, Any], measure: Measure) -> Found:
    lower, upper, step = _bounds(entry["bucket_entry"], entry["start"], entry["end"], entry["step"])
    return scan(measure, lower=lower, upper=upper, step=step, goal=entry["target_step_time"])


def _bounds(entry: int | list[int] | None, start: int, end: int, step: int) -> tuple[int, int, int]:
    """The older version writes them where the batch size stands in a training recipe. Raises: ValueError."""
    match [entry] if isinstance(entry, int) else entry or []:
        case []:
            return start, end, step
        case [upper]:
            return start, upper, step
        case [lower, upper]:
            return lower, upper, step
        case [lower, upper, own]:
            return lower, upper, own
    raise ValueError(f"{entry} has more than a lower and an upper size and a step")
