"""How sharp frames are."""

from statistics import fmean

from torch import Tensor

from vidgen_quality_metrics.brightness import brightness


def sharpness_of(video: Tensor) -> dict[str, float]:
    """`sharpness` of a clip (3, T, H, W) uint8 RGB: the variance of the Laplacian (four neighbours) of the brightness,
    0 to 255, mean over frames. Comparable between clips of one size and subject alone; noise raises it. Nothing for
    frames of less than 3 rows or columns.

    Source: Pech-Pacheco et al. 2000, Diatom autofocusing in brightfield microscopy, ICPR, LAPV.
    """
    if min(video.shape[2:]) < 3:
        return {}
    return {"sharpness": fmean(_of_frame(brightness(frame)) for frame in video.unbind(dim=1))}


def _of_frame(frame: Tensor) -> float:
    middle = frame[1:-1, 1:-1]
    around = frame[:-2, 1:-1] + frame[2:, 1:-1] + frame[1:-1, :-2] + frame[1:-1, 2:]
    return (around - 4 * middle).var(correction=0).item()
