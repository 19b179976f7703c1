"""Measures of clips from their pixels alone: likeness to a reference, flicker, motion, sharpness.

Offers the metrics `psnr`, `ssim`, `flicker`, `motion` and `sharpness`. Read whenever vidgen starts, so it holds only
names and options; the arithmetic is in `vidgen_quality_metrics.changes` and `vidgen_quality_metrics.sharpness`.
"""

from collections.abc import Iterable

from attrs import frozen
from vidgen import Component, hookimpl


@frozen(kw_only=True)
class MetricOptions:
    """Keys allowed beside `type:` of each of these metrics: none."""


SUMMARIES = {
    "psnr": "peak signal-to-noise ratio against the reference, in dB; 99 for equal clips",
    "ssim": "structural similarity to the reference; 1 for equal clips",
    "flicker": "change from frame to frame; what of it bends, and what of it is undone by the next frame",
    "motion": "pixels that edges move from frame to frame",
    "sharpness": "variance of the Laplacian of the brightness",
}


@hookimpl
def vidgen_metrics() -> Iterable[Component]:
    """The metrics of this plugin."""
    for name, summary in SUMMARIES.items():
        factory = f"vidgen_quality_metrics.metrics:{name}"
        yield Component(name=name, summary=summary, options=MetricOptions, factory=factory)
