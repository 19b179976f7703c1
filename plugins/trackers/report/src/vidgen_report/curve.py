"""The loss curve: every logged value faintly, their running mean on top, the learning rate in a panel below."""

from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from vidgen_report.metrics import Metrics, Numbers, smooth

BLUE = "#2563eb"
AMBER = "#b45309"
INK = "#334155"


def draw_curve(metrics: Metrics | None) -> bytes | None:
    """A PNG of 1600 x 900 pixels; None without a finite loss."""
    if metrics is None or not len(metrics.known("loss")[0]):
        return None
    rates = metrics.known("lr")
    figure = Figure(figsize=(10, 5.625 if len(rates[0]) else 4.5), dpi=160, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    if len(rates[0]):
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.6, 1])
        _draw_rate(lower, *rates)
        bottom = lower
    else:
        upper = bottom = figure.subplots()
    _draw_loss(upper, *metrics.known("loss"))
    bottom.set_xlabel("training step", color=INK)
    bottom.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True))
    bottom.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw_loss(axes: Axes, steps: Numbers, loss: Numbers) -> None:
    mean = smooth(loss)
    few = len(loss) < 30
    axes.plot(steps, loss, color=BLUE, alpha=0.28, linewidth=0.9, marker="o" if few else "", markersize=3)
    axes.plot(steps, mean, color=BLUE, linewidth=2, solid_capstyle="round")
    axes.plot(steps[-1:], mean[-1:], color=BLUE, marker="o", markersize=5)
    axes.annotate(
        f"{mean[-1]:.4g}",
        (steps[-1], mean[-1]),
        xytext=(7, 0),
        textcoords="offset points",
        color=BLUE,
        fontweight="bold",
        va="center",
        annotation_clip=False,
    )
    low, high = _limits(loss, mean)
    if low > 0 and mean.max() > 8 * mean.min():
        _log_scale(axes)
        axes.set_ylim(low / 1.1, high * 1.1)
    else:
        margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)
    axes.set_ylabel("loss", color=INK)
    _plain(axes)


def _limits(loss: Numbers, mean: Numbers) -> tuple[float, float]:
    """All of the mean and nearly all of the raw values: one spike must not flatten the rest."""
    low, high = np.percentile(loss, [0.5, 99.5])
    return float(min(low, mean.min())), float(max(high, mean.max()))


def _log_scale(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_rate(axes: Axes, steps: Numbers, rates: Numbers) -> None:
    axes.plot(steps, rates, color=AMBER, linewidth=1.6)
    axes.set_ylim(bottom=min(0.0, float(rates.min())), top=float(rates.max()) * 1.15 or 1.0)
    axes.set_ylabel("learning rate", color=INK)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    _plain(axes)


def _short(value: float) -> str:
    """`2e-4` rather than `0.0002` or `2e-04`."""
    if value == 0 or abs(value) >= 0.01:
        return f"{value:g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#cbd5e1")
    axes.grid(axis="y", color="#e2e8f0", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, which="both", length=3, labelsize=9)
    axes.margins(x=0.015)
