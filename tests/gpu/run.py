"""Runs the GPU tests and writes what came of them to docs/gpu.md: `python tests/gpu/run.py`, on a machine with a GPU.

Commit the page afterwards: it holds the date, the versions and the outcome of every test.
"""

import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

import torch

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "gpu.md"
MARK = "## Results\n"
PACKAGES = ("torch", "colossalai", "flash-attn", "transformers", "diffusers")


def main() -> int:
    """Run, write, and end as pytest did."""
    if not torch.cuda.is_available():
        sys.stderr.write("No CUDA device here: nothing was run, docs/gpu.md is as it was.\n")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "tests/gpu", f"--junitxml={report}", "-q"], cwd=ROOT, check=False
        )
        write(report.read_text(encoding="utf-8"))
    return done.returncode


def write(report: str) -> None:
    """report: of pytest, JUnit's XML. What the page says above its results stays."""
    above = PAGE.read_text(encoding="utf-8").split(MARK)[0]
    PAGE.write_text(above + MARK + "\n" + page_of(report), encoding="utf-8")


def page_of(report: str) -> str:
    """The date, the machine, versions, and a row for each test."""
    versions = ", ".join(f"{name} {version}" for name in PACKAGES if (version := _version(name)))
    devices = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    rows = [f"| {name} | {outcome} | {seconds:.1f} s |" for name, outcome, seconds in outcomes(report)]
    return "\n".join(
        [
            f"{datetime.now(UTC):%Y-%m-%d}, {len(devices)} x {devices[0] if devices else 'no GPU'}, {versions}, "
            f"CUDA {torch.version.cuda}.",
            "",
            "| test | outcome | time |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def outcomes(report: str) -> list[tuple[str, str, float]]:
    """Name, outcome and seconds of each test."""
    found = []
    for case in ElementTree.fromstring(report).iter("testcase"):
        marks = [child for child in case if child.tag in ("failure", "error", "skipped")]
        outcome = "passed" if not marks else marks[0].tag
        if outcome == "skipped":
            outcome = f"skipped: {marks[0].get('message')}"
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
        found.append((name, outcome, float(case.get("time", "0"))))
    return found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
