"""The tracker: remembers clips and scores in report.json and draws everything again when there are new clips.

Numbers are not collected here: `metrics.csv`, which vidgen itself keeps in the run folder, has them all.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidgen.interfaces import Context, Media

from vidgen_report import ReportOptions
from vidgen_report.curve import draw_curve
from vidgen_report.files import write_whole
from vidgen_report.metrics import read_metrics
from vidgen_report.page import Page, render
from vidgen_report.record import Clip, Record
from vidgen_report.sheet import draw_sheet

LOG = logging.getLogger("vidgen")

CURVE = "loss.png"
SHEET = "contact_sheet.png"


class ReportTracker:
    """Writes `report.json`, `loss.png`, `contact_sheet.png` and `index.html`."""

    def __init__(self, options: ReportOptions, *, outputs: Path, step: int, recipe: Mapping[str, Any]) -> None:
        self.options = options
        self.outputs = outputs
        self.recipe = recipe
        self.record = Record.load(outputs / "report.json", last_step=step)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Nothing: the numbers are read from metrics.csv when the page is drawn."""

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Keep the results of metrics and show them; they come after the clips, so the pictures stay."""
        self.record.add_scores(step, scores)
        self.record.save(self.outputs / "report.json")
        self._write_page()

    def media(self, step: int, samples: Sequence[Media]) -> None:
        """Keep where the clips are and show them."""
        self.record.add_clips(step, [Clip.of(sample, self.outputs) for sample in samples])
        self.record.save(self.outputs / "report.json")
        self._draw_pictures()
        self._write_page()

    def close(self) -> None:
        """Draw everything, with the last numbers, and say where to look; of a run that ended before there was anything
        to show, nothing."""
        if not (self.record.clips or self.record.scores or (self.outputs / "metrics.csv").is_file()):
            return
        self._draw_pictures()
        self._write_page()
        LOG.info("report: %s", self.outputs / "index.html")

    def _draw_pictures(self) -> None:
        self.outputs.mkdir(parents=True, exist_ok=True)
        samples = self.record.existing_clips(self.outputs)
        curve = draw_curve(read_metrics(self.outputs / "metrics.csv"))
        sheet = draw_sheet(samples[-1], self.outputs, self.options) if samples else None
        for name, picture in ((CURVE, curve), (SHEET, sheet)):
            if picture:
                write_whole(self.outputs / name, picture)

    def _write_page(self) -> None:
        page = Page(
            title=self.options.title or self.outputs.absolute().name,
            recipe=self.recipe,
            metrics=read_metrics(self.outputs / "metrics.csv"),
            samples=self.record.existing_clips(self.outputs),
            scores=self.record.scores,
            curve=CURVE if (self.outputs / CURVE).exists() else None,
            sheet=SHEET if (self.outputs / SHEET).exists() else None,
        )
        write_whole(self.outputs / "index.html", render(page).encode())


def build(options: ReportOptions, context: Context) -> ReportTracker:
    """A report in `context.outputs` (the current folder when there is none), continued from `context.step`.

    Raises: UserError, when report.json there is not a report's.
    """
    return ReportTracker(options, outputs=context.outputs or Path(), step=context.step, recipe=context.recipe)
