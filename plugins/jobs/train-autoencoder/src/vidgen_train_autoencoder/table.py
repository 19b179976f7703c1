"""Figures of reconstructions: one row a clip, and a summary."""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from statistics import fmean

from attrs import frozen
from vidgen.interfaces import Size3
from vidgen.runfolder import write_whole

COLUMNS = ("source", "frames", "rows", "columns", "psnr", "ssim", "problem")
MEASURES = ("psnr", "ssim")


@frozen(kw_only=True)
class Row:
    """Of one clip. path: of its reconstruction; None where there is none, and `problem` says why. psnr: in dB. ssim: no
    number for frames that are too small."""

    source: str
    path: Path | None = None
    size: Size3 = (0, 0, 0)
    psnr: float = math.nan
    ssim: float = math.nan
    problem: str = ""


def summarise(rows: Sequence[Row]) -> dict[str, float]:
    """Mean and smallest of each measure over clips, where there is one."""
    columns = {"psnr": [row.psnr for row in rows], "ssim": [row.ssim for row in rows if not math.isnan(row.ssim)]}
    known = {name: values for name, values in columns.items() if values}
    return {name: fmean(values) for name, values in known.items()} | {
        f"lowest_{name}": min(values) for name, values in known.items()
    }


def write_table(path: Path, rows: Iterable[Row]) -> None:
    """As CSV; what is not known is empty. Raises: RunError."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        measures = ["" if math.isnan(value) else f"{value:.4f}" for value in (row.psnr, row.ssim)]
        sizes = row.size if row.path is not None else ("", "", "")
        writer.writerow([row.source, *sizes, *measures, " ".join(row.problem.split())])
    write_whole(path, text.getvalue())


def write_summary(path: Path, scores: Mapping[str, float], rows: Sequence[Row]) -> None:
    """As JSON: numbers of clips, and what `summarise` says. Raises: RunError."""
    failed = sum(row.path is None for row in rows)
    write_whole(path, json.dumps({"clips": len(rows) - failed, "failed": failed, **scores}, indent=1) + "\n")
