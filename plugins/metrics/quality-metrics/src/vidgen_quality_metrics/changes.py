"""What changes from frame to frame: flicker, and motion. Frame by frame, so that a long clip costs no memory.

Letters: T frames, H rows, W columns; clips are (3, T, H, W) uint8 RGB.
"""

from collections.abc import Iterable, Iterator
from statistics import fmean

import torch
from torch import Tensor

from vidgen_quality_metrics.brightness import brightness

FULL = 255.0


def changes(video: Tensor) -> dict[str, float]:
    """Three means over pixels, channels and frames, as shares of the range 0 to 255; empty for a still.

    flicker: how much a pixel differs from the one before. Source: VBench, arXiv 2311.17982, whose temporal flickering
        is 1 - flicker, of clips in which nothing moves; motion counts as well here.
    jerk: how much a frame differs from the straight line through its neighbours, doubled: x[t-1] - 2 x[t] + x[t+1]. A
        fade has none, flicker to and fro has twice its `flicker`, and so has a hard edge that moves.
    flash: how much a frame differs from the median of itself and its two neighbours: change that the next frame undoes.
        Neither fades nor edges that move have any; flicker to and fro is flash altogether. Small things that pass a
        pixel within one frame flash, too.
    """
    found = {"flicker": _mean(abs(b - a) for a, b in _windows(video, 2))} if video.shape[1] > 1 else {}
    if video.shape[1] > 2:
        found["jerk"] = _mean(abs(a - 2 * b + c) for a, b, c in _windows(video, 3))
        found["flash"] = _mean(abs(b - _median(a, b, c)) for a, b, c in _windows(video, 3))
    return found


def motion_of(video: Tensor) -> dict[str, float]:
    """`motion`: change of brightness per frame over its slope per pixel, both summed over the clip: the pixels that
    edges move across themselves from one frame to the next. Exact for a straight edge at any speed; an edge that moves
    along itself counts as still. Changes of light count as motion. Nothing for a still, or where there is no edge.

    Source: brightness constancy, Horn and Schunck 1981, Artificial Intelligence 17, equation 1.
    """
    if video.shape[1] < 2:
        return {}
    frames = [brightness(video[:, t]) for t in (0, video.shape[1] - 1)]
    slopes = sum(_slope(brightness(frame)) for frame in video.unbind(dim=1))
    slopes -= sum(_slope(frame) for frame in frames) / 2  # each change has a frame before and one after
    change = sum(_change(a, b) for a, b in zip(video.unbind(dim=1), video[:, 1:].unbind(dim=1), strict=False))
    return {"motion": change / slopes} if slopes > 0 else {}


def _windows(video: Tensor, length: int) -> Iterator[tuple[Tensor, ...]]:
    """Neighbouring frames, (3, H, W) int16 each."""
    for start in range(video.shape[1] - length + 1):
        yield tuple(frame.short() for frame in video[:, start : start + length].unbind(dim=1))


def _mean(pictures: Iterable[Tensor]) -> float:
    return fmean(picture.double().mean().item() for picture in pictures) / FULL


def _median(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.maximum(torch.minimum(a, b), torch.minimum(torch.maximum(a, b), c))


def _change(before: Tensor, after: Tensor) -> float:
    return _inner(brightness(after) - brightness(before)).abs().sum().item()


def _slope(frame: Tensor) -> float:
    """Sum of lengths of the gradient of (H, W)."""
    return torch.hypot(frame[1:, :-1] - frame[:-1, :-1], frame[:-1, 1:] - frame[:-1, :-1]).sum().item()


def _inner(frame: Tensor) -> Tensor:
    """The pixels that have a slope."""
    return frame[:-1, :-1]
