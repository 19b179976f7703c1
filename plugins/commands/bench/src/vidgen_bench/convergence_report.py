"""What the study of convergence shows: a table, and a figure."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator
from rich.console import Console
from rich.table import Table

from vidgen_bench.convergence import Curve, Sampler, curve

STEPS = (6, 12, 24, 48, 96, 192)  # into which steps of two and of three calls fit
INK, FAINT = "#334155", "#e2e8f0"
# One colour for each scheduler, darker with the order.
COLOURS = {"rflow": "#d97706", "iddpm": "#7c3aed", "euler-ancestral": "#db2777"}
SOLVER = {1: "#7dd3fc", 2: "#0284c7", 3: "#1e3a8a"}


def report(samplers: Iterable[Sampler], *, figure: Path | None) -> None:
    """Run them one by one, print the table, and draw where asked to."""
    console, curves = Console(highlight=False), list[Curve]()
    for sampler in samplers:
        with console.status(sampler.name):
            curves.append(curve(sampler, STEPS))
    console.print(_table(curves))
    if figure is not None:
        draw(curves, figure)


def draw(curves: Sequence[Curve], path: Path) -> None:
    """A PNG of errors against calls of the model, both in powers."""
    figure = Figure(figsize=(9, 5.4), dpi=160, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for one in sorted(curves, key=lambda one: -one.errors[-1]):  # in the legend as at the right edge
        _line(axes, one)
    _plain(axes, curves[0].calls)
    axes.set_xlabel("calls of the model", color=INK)
    axes.set_ylabel("distance from the exact result", color=INK)
    axes.legend(
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        frameon=False,
        labelcolor=INK,
        title="slope (dashed: with fresh noise)",
        alignment="left",
        fontsize=9,
        title_fontsize=9,
        labelspacing=0.8,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")


def _line(axes: Axes, one: Curve) -> None:
    sampler = one.sampler
    axes.loglog(
        one.calls,
        one.errors,
        color=COLOURS.get(sampler.scheduler) or SOLVER[sampler.order],
        linestyle="-" if sampler.ends else "--",
        marker="s" if "singlestep" in sampler.name else "o",
        markersize=4.5,
        linewidth=1.6,
        label=f"{-one.order:.2f}  {sampler.name}",
    )


def _plain(axes: Axes, calls: Sequence[int]) -> None:
    axes.set_xticks(calls, [str(number) for number in calls])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#cbd5e1")
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, which="both", length=3, labelsize=9)


def _table(curves: Sequence[Curve]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("sampler", overflow="fold")
    for column in ("order", "measured", *(f"{number} calls" for number in curves[0].calls)):
        table.add_column(column, justify="right")
    for one in curves:
        errors = [f"{error:.1e}" for error in one.errors]
        table.add_row(one.sampler.name, str(one.sampler.order), f"{one.order:.2f}", *errors)
    return table
