"""Which items become samples, of how many frames and of which size, and why the others do not.

Items are tables as `annotations.SCHEMA`; all of them are looked at together. Source: Open-Sora-Plan v1.3, T2V_dataset.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from attrs import frozen
from numpy.typing import NDArray
from vidgen.bucketing import table_of_counts
from vidgen.errors import UserError

from vidgen_opensora_plan_data.annotations import item_name
from vidgen_opensora_plan_data.frames import count_resampled, usable_frames
from vidgen_opensora_plan_data.rules import Rules
from vidgen_opensora_plan_data.shapes import shapes_of
from vidgen_opensora_plan_data.sizes import RATIOS, in_ratios, limited, to_stride
from vidgen_opensora_plan_data.sources import Source

ASSUMED_FPS = 24.0  # of a video whose annotation does not tell
TOO_LONG = 5  # times num_frames at its own rate
SHORT_SEED = 42
MINORITY = 4  # times the total batch size

REASONS = {
    "no_cap": "without captions (cap)",
    "no_resolution": "without a size (resolution), or with one that is not above 0",
    "res_mismatch_stride": "smaller than hw_stride",
    "res_too_small": "smaller than min_hxw",
    "aspect_mismatch": "much taller or wider than samples may be",
    "too_long": f"videos longer than {TOO_LONG} times num_frames",
    "too_short": "videos too short",
    "filter_minority": "of a shape that fewer than 4 * total_batch_size samples have",
}
"""Why items are left out, in the order they are asked about: Open-Sora-Plan's word -> ours."""

BY_KIND = ("res_mismatch_stride", "res_too_small", "aspect_mismatch")
"""Reasons that Open-Sora-Plan counts apart for images and videos."""

Mask = NDArray[np.bool_]
Numbers = NDArray[np.float64]


@frozen(kw_only=True)
class Selection:
    """What becomes of each item; arrays of one entry an item.

    reason: place in `REASONS`, -1 for items that become samples. video: whether it is one, by its name.
    num_frames, height, width: of the sample. available: frames a clip has at the rate of training.
    """

    reason: NDArray[np.int8]
    video: Mask
    num_frames: NDArray[np.int64]
    height: NDArray[np.int64]
    width: NDArray[np.int64]
    available: NDArray[np.int64]

    @property
    def kept(self) -> NDArray[np.int64]:
        """Places of the items that become samples, in order."""
        return np.flatnonzero(self.reason < 0)

    def count(self, reason: str, *, of: Mask | None = None) -> int:
        """Items left out for a reason, of all or of some."""
        found = self.reason == list(REASONS).index(reason)
        return int(np.count_nonzero(found if of is None else found & of))


class _Sieve:
    """Items that are still in; each is left out for the first reason that holds."""

    def __init__(self, items: int) -> None:
        self.reason = np.full(items, -1, np.int8)

    @property
    def inside(self) -> Mask:
        return self.reason < 0

    def leave_out(self, reason: str, items: Mask) -> None:
        self.reason[items & self.inside] = list(REASONS).index(reason)


def select(items: pa.Table, sources: Sequence[Source], rules: Rules) -> Selection:
    """What becomes of the items. sources: they come from, for messages.

    Raises: UserError, for an item that is neither video nor image, or a video without a number of frames.
    """
    sieve = _Sieve(items.num_rows)
    sieve.leave_out("no_cap", items.column("captions").is_null().to_numpy())
    height, width = _numbers(items, "height"), _numbers(items, "width")
    sieve.leave_out("no_resolution", np.isnan(height) | np.isnan(width))
    height, width = _sift_sizes(sieve, np.nan_to_num(height), np.nan_to_num(width), rules)
    video, image = (_ends(items, endings) for endings in (rules.video_endings, rules.image_endings))
    _check_kinds(items, sources, rules, other=sieve.inside & ~video & ~image)
    frames = _numbers(items, "num_frames")
    _check_frames(items, sources, unknown=sieve.inside & video & np.isnan(frames))
    available = np.zeros(items.num_rows, np.int64)
    num_frames = _sift_lengths(sieve, np.nan_to_num(frames), rates(items), video, available, rules)
    selection = Selection(
        reason=sieve.reason,
        video=video,
        num_frames=num_frames,
        height=height.astype(np.int64),
        width=width.astype(np.int64),
        available=available,
    )
    sieve.leave_out("filter_minority", _minority(selection, MINORITY * rules.total_batch_size))
    return selection


def rates(items: pa.Table) -> Numbers:
    """Frames a second of items, 24 where they do not tell."""
    fps = _numbers(items, "fps")
    return np.where(np.isnan(fps), ASSUMED_FPS, fps)


def counts(selection: Selection) -> dict[str, int]:
    """How many items are left out, by Open-Sora-Plan's words; those that come to nothing as well."""
    found = {}
    for reason in REASONS:
        if reason in BY_KIND:
            found[f"cnt_img_{reason}"] = selection.count(reason, of=~selection.video)
            found[f"cnt_vid_{reason}"] = selection.count(reason, of=selection.video)
        else:
            found["cnt_filter_minority" if reason == "filter_minority" else reason] = selection.count(reason)
    return found


def refuse_empty(selection: Selection, where: str) -> None:
    """Raises: UserError with the reasons counted, when no item becomes a sample. where: the list of sources."""
    if len(selection.kept):
        return
    rows = [("items", len(selection.reason))]
    rows += [(f"- {text}", selection.count(word)) for word, text in REASONS.items() if selection.count(word)]
    raise UserError(
        f"{where}: no item becomes a sample:\n{table_of_counts([*rows, ('samples', 0)])}\n"
        "    for small or short clips lower min_hxw, hw_stride, num_frames or drop_short_ratio, for long ones raise "
        "num_frames; total_batch_size: 0 keeps rare shapes."
    )


def _sift_sizes(sieve: _Sieve, height: Numbers, width: Numbers, rules: Rules) -> tuple[Numbers, Numbers]:
    """Rows and columns of the samples."""
    if rules.force_resolution:
        ratio = rules.max_height / rules.max_width
        sieve.leave_out("aspect_mismatch", ~in_ratios(height, width, RATIOS[0] * ratio, RATIOS[1] * ratio))
        return np.full_like(height, rules.max_height), np.full_like(width, rules.max_width)
    smallest, largest = rules.areas
    sieve.leave_out("no_resolution", (height <= 0) | (width <= 0))
    height, width = (to_stride(side, rules.hw_stride) for side in limited(height, width, largest))
    sieve.leave_out("res_mismatch_stride", (height <= 0) | (width <= 0))
    sieve.leave_out("res_too_small", height * width < smallest)
    sieve.leave_out("aspect_mismatch", ~in_ratios(height, width, *RATIOS))
    return height, width


def _sift_lengths(
    sieve: _Sieve, frames: Numbers, fps: Numbers, video: Mask, available: NDArray[np.int64], rules: Rules
) -> NDArray[np.int64]:
    """Frames of the samples; fills in `available`, of videos that are not too long."""
    wanted = rules.num_frames
    longest = TOO_LONG * (wanted * fps / rules.train_fps * rules.speed_factor)
    sieve.leave_out("too_long", video & (frames > longest))
    clips = sieve.inside & video
    available[clips] = count_resampled(frames[clips], fps[clips], rules.train_fps)
    short = np.flatnonzero(clips & (available < wanted))
    generator = torch.Generator().manual_seed(SHORT_SEED)
    dropped = np.zeros_like(video)
    dropped[short] = torch.rand(len(short), generator=generator).double().numpy() < rules.drop_short_ratio
    usable = usable_frames(np.minimum(available, wanted), rules.ae_stride_t, rules.sp_size)
    sieve.leave_out("too_short", dropped | (clips & (usable == 0)))
    return np.where(video, usable, 1)


def _minority(selection: Selection, least: int) -> Mask:
    """Items whose shape fewer than `least` samples have."""
    kept = selection.kept
    frames, height, width = selection.num_frames[kept], selection.height[kept], selection.width[kept]
    shapes = shapes_of(frames, height, width, among=kept, rows=len(selection.reason))
    rare = np.zeros(len(selection.reason), bool)
    for members in shapes.members():
        rare[members] = len(members) < least
    return rare


def _check_kinds(items: pa.Table, sources: Sequence[Source], rules: Rules, *, other: Mask) -> None:
    if other.any():
        row = int(other.argmax())
        videos, images = ", ".join(rules.video_endings), ", ".join(rules.image_endings)
        raise UserError(
            f"{item_name(sources, items, row)}: {items.column('path')[row].as_py()} is neither a video ({videos}) nor "
            f"an image ({images}) by its name. Leave it out, or add the ending to `video_endings` or `image_endings`."
        )


def _check_frames(items: pa.Table, sources: Sequence[Source], *, unknown: Mask) -> None:
    if unknown.any():
        row = int(unknown.argmax())
        raise UserError(
            f"{item_name(sources, items, row)}: the video {items.column('path')[row].as_py()} has no num_frames. Write "
            "into the annotation how many frames the clip has."
        )


def _numbers(items: pa.Table, name: str) -> Numbers:
    """A column, NaN where null."""
    numbers: Numbers = items.column(name).to_numpy()
    return numbers.astype(np.float64, copy=False)


def _ends(items: pa.Table, endings: tuple[str, ...]) -> Mask:
    found = np.zeros(items.num_rows, bool)
    for ending in endings:
        found |= pc.ends_with(items.column("path"), ending).to_numpy()
    return found
