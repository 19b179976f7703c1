"""The metrics: the mean over clips of what a function says of each. One factory for each name."""

from collections.abc import Callable, Mapping
from math import isnan
from statistics import fmean

from torch import Tensor
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen_quality.psnr import psnr as psnr_of
from vidgen_quality.ssim import ssim as ssim_of

from vidgen_quality_metrics import MetricOptions
from vidgen_quality_metrics.changes import changes, motion_of
from vidgen_quality_metrics.sharpness import sharpness_of


class _Means:
    """Keeps the values of clips, and gives their means."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def compute(self) -> dict[str, float]:
        """Mean of each value over the clips that have it; empty before the first one."""
        return {name: fmean(values) for name, values in self._values.items()}

    def _kept(self, values: Mapping[str, float]) -> dict[str, float]:
        found = {name: value for name, value in values.items() if not isnan(value)}
        for name, value in found.items():
            self._values.setdefault(name, []).append(value)
        return found


class ClipMetric(_Means):
    """A measure of clips alone; see `vidgen.interfaces.Metric`. measure: names and values of a clip; a value that is no
    number is one that the clip does not have."""

    needs_reference = False

    def __init__(self, measure: Callable[[Tensor], Mapping[str, float]], better: Mapping[str, str]) -> None:
        super().__init__()
        self._measure, self.better = measure, better

    def update(self, video: Tensor, prompt: str, reference: Tensor | None = None) -> dict[str, float]:
        """See `vidgen.interfaces.Metric`."""
        return self._kept(self._measure(video.cpu()))


class LikenessMetric(_Means):
    """A measure of two clips, the larger the more they are alike; see `vidgen.interfaces.Metric`."""

    needs_reference = True

    def __init__(self, name: str, measure: Callable[[Tensor, Tensor], float]) -> None:
        super().__init__()
        self._name, self._measure, self.better = name, measure, {name: "higher"}

    def update(self, video: Tensor, prompt: str, reference: Tensor | None = None) -> dict[str, float]:
        """See `vidgen.interfaces.Metric`. Raises: UserError without a reference."""
        if reference is None:
            raise UserError(
                f"the metric {self._name} compares a clip with the one it is to be like, and there is none: measure in "
                "`job: evaluate` with `references`, or leave this metric out."
            )
        return self._kept({self._name: self._measure(video.cpu(), reference.cpu())})


def psnr(options: MetricOptions, context: Context) -> LikenessMetric:
    """`psnr` in dB, at most 99."""
    return LikenessMetric("psnr", psnr_of)


def ssim(options: MetricOptions, context: Context) -> LikenessMetric:
    """`ssim`, at most 1; none for frames of less than 11 rows or columns."""
    return LikenessMetric("ssim", ssim_of)


def flicker(options: MetricOptions, context: Context) -> ClipMetric:
    """`flicker`, `jerk`, `flash`, shares of the range of pixels."""
    return ClipMetric(changes, {"flicker": "lower", "jerk": "lower", "flash": "lower"})


def motion(options: MetricOptions, context: Context) -> ClipMetric:
    """`motion` in pixels per frame; neither more nor less is better."""
    return ClipMetric(motion_of, {})


def sharpness(options: MetricOptions, context: Context) -> ClipMetric:
    """`sharpness`; noise is sharp, too, so neither more nor less is better."""
    return ClipMetric(sharpness_of, {})
