"""What the measurement of step caches shows: a table, the figures as JSON, and a drawing of speed against loss."""

import json
from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path

import attrs
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing
from rich.console import Console
from rich.table import Table

from vidgen_bench.step_caches import Bench, Figure, measure, settings

GOAL_SPEED, GOAL_LOSS = 1.5, 30.0
INK, FAINT = "#334155", "#e2e8f0"
COLOURS = ("#64748b", "#d97706", "#b91c1c", "#0284c7", "#7c3aed")


def report(
    checkpoint: Path, prompts: Sequence[str], *, only: str, repeats: int, json_path: Path | None, drawing: Path | None
) -> None:
    """Measure what `only` names beside exact sampling, and print the table."""
    console = Console(highlight=False)
    tried = [one for i, one in enumerate(settings()) if i == 0 or only in f"{one.family}, {one.name}"]
    with console.status("sampling"):
        figures = measure(Bench(checkpoint, prompts), tried, repeats)
    console.print(_table(figures))
    console.print(_verdict(figures))
    if json_path is not None:
        _write(json_path, figures)
    if drawing is not None:
        draw(figures, drawing)


def draw(figures: Sequence[Figure], path: Path) -> None:
    """A PNG: one line for each family, speed across; up, the PSNR of all clips, and beside it that of the worst."""
    drawing = Drawing(figsize=(11, 5), dpi=140, layout="constrained", facecolor="white")
    FigureCanvasAgg(drawing)
    left, right = drawing.subplots(1, 2, sharey=True)
    _lines(left, figures, lambda one: one.loss)
    _lines(right, figures, lambda one: min(one.psnr))
    left.set_ylabel("PSNR against the exact clips, dB", color=INK)
    left.set_title("mean of all clips", color=INK, fontsize=10)
    right.set_title("worst clip", color=INK, fontsize=10)
    right.legend(frameon=False, labelcolor=INK, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, format="png")


def _lines(axes: Axes, figures: Sequence[Figure], loss: Callable[[Figure], float]) -> None:
    exact, *rest = figures
    families = list(dict.fromkeys(one.setting.family for one in rest))
    for family, colour in zip(families, COLOURS, strict=False):
        shown = [one for one in rest if one.setting.family == family and isfinite(loss(one))]
        speeds, losses = [one.speed(exact) for one in shown], [loss(one) for one in shown]
        axes.plot(speeds, losses, "o-", color=colour, markersize=4.5, linewidth=1.6, label=family)
    axes.axhline(GOAL_LOSS, color="#cbd5e1", linestyle="--", linewidth=1)
    axes.axvline(GOAL_SPEED, color="#cbd5e1", linestyle="--", linewidth=1)
    axes.set_xlabel("times as fast as exact sampling", color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.tick_params(colors=INK, labelsize=9)


def _table(figures: Sequence[Figure]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("way", no_wrap=True)
    for column in ("s per clip", "speed", "PSNR", "worst"):
        table.add_column(column, justify="right")
    for one in figures:
        numbers = (
            f"{min(one.seconds):.3g}",
            f"{one.speed(figures[0]):.2f}",
            f"{one.loss:.1f}",
            f"{min(one.psnr):.1f}",
        )
        table.add_row(f"{one.setting.family}, {one.setting.name}", *numbers)
    return table


def _verdict(figures: Sequence[Figure]) -> str:
    """The fastest cache that keeps to the goal."""
    cached = [one for one in figures if one.setting.cache is not None and one.loss >= GOAL_LOSS]
    if not cached:
        return f"no cache keeps to {GOAL_LOSS:g} dB"
    best = max(cached, key=lambda one: one.speed(figures[0]))
    name = f"{best.setting.family}, {best.setting.name}"
    return f"fastest cache at {GOAL_LOSS:g} dB or more: {name}: {best.speed(figures[0]):.2f} times, {best.loss:.1f} dB"


def _write(path: Path, figures: Sequence[Figure]) -> None:
    plain = [
        {**attrs.asdict(one), "psnr": [value if isfinite(value) else None for value in one.psnr]} for one in figures
    ]
    path.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
