"""Results as files: a row for each clip, the summary, the comparison."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from vidgen.runfolder import write_whole

from vidgen_evaluate.figures import Difference, Figure
from vidgen_evaluate.scores import Scores


def write_rows(path: Path, scores: Scores) -> None:
    """As CSV: clip, prompt, size, a column for each value, problem. What is not known is empty. Raises: RunError."""
    names = list(dict.fromkeys(name for row in scores.rows for name in row.values))
    lines: list[list[Any]] = [["clip", "prompt", "frames", "rows", "columns", *names, "problem"]]
    for row in scores.rows:
        values = [f"{row.values[name]:.6g}" if name in row.values else "" for name in names]
        problems = "; ".join(" ".join(text.split()) for text in row.problems)
        lines.append([row.name, row.prompt, *(row.size or ("", "", "")), *values, problems])
    write_whole(path, _csv(lines))


def write_differences(path: Path, found: Mapping[str, Difference]) -> None:
    """As CSV: a row for each value. Raises: RunError."""
    columns = ("better", "here", "there", "both", "change", "wins")
    lines: list[list[Any]] = [["value", *columns]]
    for name, one in found.items():
        cells = [getattr(one, column) for column in columns]
        lines.append([name, *(f"{cell:.6g}" if isinstance(cell, float) else cell for cell in cells)])
    write_whole(path, _csv(lines))


def write_summary(path: Path, folder: Path, scores: Scores, figures: Mapping[str, Figure]) -> None:
    """As JSON: numbers of clips, figures of each value, what metrics say of all clips together. Raises: RunError."""
    summary = {
        "samples": str(folder),
        "clips": sum(row.size is not None for row in scores.rows),
        "left_out": sum(row.size is None for row in scores.rows),
        "with_problems": sum(bool(row.problems) for row in scores.rows),
        "values": {name: _plain(figure) for name, figure in figures.items()},
        "overall": dict(scores.overall),
    }
    write_whole(path, json.dumps(summary, indent=1, ensure_ascii=False) + "\n")


def _plain(figure: Figure) -> dict[str, Any]:
    ends = {"lowest": figure.lowest, "highest": figure.highest}
    judged = {"better": figure.better, "worst": figure.worst, "worst_clip": figure.worst_clip} if figure.better else {}
    return {"clips": figure.clips, "mean": figure.mean, "median": figure.median, **ends, **judged}


def _csv(lines: Iterable[Sequence[Any]]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
