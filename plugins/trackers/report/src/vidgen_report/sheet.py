"""The contact sheet: every clip as a strip of frames under its prompt, all on one picture.

Lengths are pixels. First the plan (how many columns, how large a frame), then the strips, then the sheet.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import matplotlib
from attrs import frozen
from PIL import Image, ImageDraw, ImageFont

from vidgen_report import ReportOptions
from vidgen_report.clips import read_frames
from vidgen_report.record import Clip, Samples

WIDTH = 1800
MARGIN = 28
GUTTER = 32  # between columns
GAP = 2  # between frames
ROW_GAP = 18
HEADER = 46
LINE = 18  # height of a caption line
TEXT_GAP = 4  # between caption and strip
MAX_FRAME = 360  # a frame is drawn no wider or higher
PAPER = "#ffffff"
INK = "#1e293b"
FAINT = "#64748b"
EMPTY = "#e2e8f0"


@frozen(kw_only=True)
class Plan:
    """columns of the sheet; frames in a strip; width and height a frame may take."""

    columns: int
    frames: int
    width: int
    height: int

    @property
    def strip_width(self) -> int:
        """Width of a strip, and so of a caption."""
        return self.frames * (self.width + GAP) - GAP


def draw_sheet(samples: Samples, outputs: Path, options: ReportOptions) -> bytes:
    """A PNG about 1800 pixels wide of the clips of one step."""
    clips = samples.clips[: options.max_clips]
    plan = plan_sheet(clips, frames=options.frames, columns=options.columns)
    strips = [draw_strip(clip, outputs, plan) for clip in clips]
    font = _font(14)
    captions = [wrap(clip.prompt, plan.strip_width, font, lines=2) for clip in clips]
    buffer = BytesIO()
    _assemble(strips, captions, plan, heading=_heading(samples, clips)).save(buffer, "PNG")
    return buffer.getvalue()


def plan_sheet(clips: Sequence[Clip], *, frames: int, columns: int | None) -> Plan:
    """The fewest columns with which the sheet is no higher than a quarter more than wide; frames as large as fit."""
    plans = [_plan(clips, frames, count) for count in ([columns] if columns else range(1, 9))]
    low_enough = [plan for plan in plans if _height(plan, len(clips)) <= 1.25 * WIDTH]
    return low_enough[0] if low_enough else plans[-1]


def _plan(clips: Sequence[Clip], frames: int, columns: int) -> Plan:
    frames = max(1, min(frames, max(clip.size[0] for clip in clips)))
    column = (WIDTH - 2 * MARGIN - (columns - 1) * GUTTER) // columns
    box = min(MAX_FRAME, (column + GAP) // frames - GAP)
    sizes = [fitted(rows, width, box) for _, rows, width in {clip.size for clip in clips}]
    width, height = (max(lengths) for lengths in zip(*sizes, strict=True))
    return Plan(columns=columns, frames=frames, width=width, height=height)


def fitted(rows: int, columns: int, box: int) -> tuple[int, int]:
    """(width, height) at which a frame fills a square box: small frames a whole number of times their size when that
    comes within a sixth of the box, so that their pixels stay even."""
    longest = max(rows, columns, 1)
    scale = box / longest
    whole = round(scale)
    if whole and abs(whole * longest - box) <= box / 6:
        scale = whole
    return max(1, round(columns * scale)), max(1, round(rows * scale))


def draw_strip(clip: Clip, outputs: Path, plan: Plan) -> Image.Image:
    """The frames of a clip side by side; an empty grey strip when the file cannot be read."""
    frames = read_frames(outputs / clip.path, num_frames=clip.size[0], wanted=plan.frames)
    if not frames:
        return Image.new("RGB", (plan.strip_width, min(plan.height, 3 * LINE)), EMPTY)
    scaled = [_scaled(frame, (plan.width, plan.height)) for frame in frames]
    strip = Image.new("RGB", (plan.strip_width, max(frame.height for frame in scaled)), PAPER)
    left = 0
    for frame in scaled:
        strip.paste(frame, (left, 0))
        left += frame.width + GAP
    return strip


def _scaled(frame: Image.Image, box: tuple[int, int]) -> Image.Image:
    scale = min(box[0] / frame.width, box[1] / frame.height)
    size = (max(1, round(frame.width * scale)), max(1, round(frame.height * scale)))
    if scale <= 1:
        return frame.resize(size, Image.Resampling.LANCZOS)
    whole = -int(-scale // 1)  # enlarge to the next whole multiple, then shrink: hard pixels of even size
    enlarged = frame.resize((frame.width * whole, frame.height * whole), Image.Resampling.NEAREST)
    return enlarged if enlarged.size == size else enlarged.resize(size, Image.Resampling.BOX)


def wrap(text: str, width: int, font: ImageFont.FreeTypeFont, *, lines: int) -> list[str]:
    """`text` in at most `lines` lines no wider than `width`; what does not fit ends in an ellipsis."""
    words = text.split()
    wrapped: list[str] = []
    while words and len(wrapped) < lines:
        line = words.pop(0)
        while words and font.getlength(f"{line} {words[0]}") <= width:
            line += f" {words.pop(0)}"
        wrapped.append(line)
    if words:
        wrapped[-1] += f" {words[0]}…"
    return [_cut(line, width, font) for line in wrapped]


def _cut(line: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    if font.getlength(line) <= width:
        return line
    kept = line.rstrip("…")
    while kept and font.getlength(f"{kept}…") > width:
        kept = kept[:-1]
    return f"{kept.rstrip()}…"


def _height(plan: Plan, count: int) -> int:
    rows = -(-count // plan.columns)
    return HEADER + 2 * MARGIN + rows * (plan.height + 2 * LINE + TEXT_GAP + ROW_GAP)


def _heading(samples: Samples, clips: Sequence[Clip]) -> str:
    shown = f"{len(clips)} of {len(samples.clips)} clips" if len(clips) < len(samples.clips) else f"{len(clips)} clips"
    sizes = {clip.size for clip in clips}
    parts = [f"step {samples.step:,}"] if samples.step else []
    parts.append(shown if len(samples.clips) > 1 else "1 clip")
    if len(sizes) == 1:
        frames, rows, columns = sizes.pop()
        parts.append(f"{frames} frames, {columns} × {rows} pixels" if frames > 1 else f"{columns} × {rows} pixels")
    return "   ·   ".join(parts)


def _assemble(strips: list[Image.Image], captions: list[list[str]], plan: Plan, *, heading: str) -> Image.Image:
    rows = [range(first, min(first + plan.columns, len(strips))) for first in range(0, len(strips), plan.columns)]
    used = min(plan.columns, len(strips))
    width = max(2 * MARGIN + used * (plan.strip_width + GUTTER) - GUTTER, 600)
    text_heights = [max(len(captions[i]) for i in row) * LINE + TEXT_GAP for row in rows]
    strip_heights = [max(strips[i].height for i in row) for row in rows]
    height = HEADER + 2 * MARGIN + sum(text_heights) + sum(strip_heights) + (len(rows) - 1) * ROW_GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - 4), heading, font=_font(20), fill=FAINT)
    top = MARGIN + HEADER
    for row, text_height, strip_height in zip(rows, text_heights, strip_heights, strict=True):
        for place, i in enumerate(row):
            left = MARGIN + place * (plan.strip_width + GUTTER)
            for line, text in enumerate(reversed(captions[i])):  # the last line sits on the strip
                draw.text((left, top + text_height - TEXT_GAP - (line + 1) * LINE), text, font=_font(14), fill=INK)
            sheet.paste(strips[i], (left, top + text_height))
        top += text_height + strip_height + ROW_GAP
    return sheet


def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings: Latin, Greek, Cyrillic and many signs, alike on every machine."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
