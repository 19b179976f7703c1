"""The tracker: remembers clips and scores in report.json and draws everything again when there are new clips.

Numbers are not collected here: `metrics.csv`, which vidgen itself keeps in the run folder, has them all.
"""

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
        """Keep the results of metrics; the page shows them when it is drawn next."""
        self.record.add_scores(step, scores)
        self.record.save(self.outputs / "report.json")

    def media(self, step: int, samples: Sequence[Media]) -> None:
        """Keep where the clips are and draw everything."""
        self.record.add_clips(step, [Clip.of(sample, self.outputs) for sample in samples])
        self.record.save(self.outputs / "report.json")
        self.draw()

    def close(self) -> None:
        """Draw everything, with the last numbers."""
        self.draw()

    def draw(self) -> None:
        """Write the pictures and the page from the files of the run folder."""
        self.outputs.mkdir(parents=True, exist_ok=True)
        metrics = read_metrics(self.outputs / "metrics.csv")
        samples = self.record.existing_clips(self.outputs)
        curve = draw_curve(metrics)
        sheet = draw_sheet(samples[-1], self.outputs, self.options) if samples else None
        for name, picture in (("loss.png", curve), ("contact_sheet.png", sheet)):
            if picture:
                write_whole(self.outputs / name, picture)
        page = Page(
            title=self.options.title or self.outputs.absolute().name,
            recipe=self.recipe,
            metrics=metrics,
            samples=samples,
            scores=self.record.scores,
            curve="loss.png" if curve else None,
            sheet="contact_sheet.png" if sheet else None,
        )
        write_whole(self.outputs / "index.html", render(page).encode())


def build(options: ReportOptions, context: Context) -> ReportTracker:
    """A report in `context.outputs` (the current folder when there is none), continued from `context.step`.

    Raises: UserError, when report.json there is not a report's.
    """
    return ReportTracker(options, outputs=context.outputs or Path(), step=context.step, recipe=context.recipe)
