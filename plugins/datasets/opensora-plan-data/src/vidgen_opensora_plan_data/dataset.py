"""`OpenSoraPlanData`: annotated clips and images as samples, in the sizes and lengths that the options allow."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from torch import Tensor
from vidgen.errors import RunError, UserError
from vidgen.interfaces import Context, Sample
from vidgen.weights import file_fingerprint
from vidgen_video.reader import Reader
from vidgen_video.readers import open_reader
from vidgen_video.shared import SharedTable

from vidgen_opensora_plan_data import OpenSoraPlanDataOptions
from vidgen_opensora_plan_data.annotations import read_items
from vidgen_opensora_plan_data.frames import Clip, resample, sped_up, speed, step_of, window
from vidgen_opensora_plan_data.notices import with_notice
from vidgen_opensora_plan_data.reading import read_image, read_video
from vidgen_opensora_plan_data.rules import Rules, make_rules
from vidgen_opensora_plan_data.selection import Selection, counts, rates, refuse_empty, select
from vidgen_opensora_plan_data.sizes import Box, Size, fit_to_area, fit_to_size
from vidgen_opensora_plan_data.sources import read_sources
from vidgen_opensora_plan_data.transform import apply

LOG = logging.getLogger("vidgen")


class OpenSoraPlanData:
    """Annotated videos and images; a `vidgen.interfaces.Dataset`. A row is an item that the options keep."""

    def __init__(self, *, data_path: Path, samples: SharedTable, rules: Rules, reader: Reader) -> None:
        self._data_path, self._samples, self._rules, self._reader = data_path, samples, rules, reader

    @property
    def table(self) -> pa.Table:
        """Columns path, text (the first caption), num_frames, height, width and fps of the sample, and what is needed
        to make it: captions (null where there is one), start, clip_frames, clip_fps, crop, aesthetic."""
        return self._samples.table

    def get(self, row: int, num_frames: int, size: Size, rng: np.random.Generator) -> Sample:
        """Row `row` as uint8 RGB video (3, num_frames, *size) with one of its captions and its frame rate (0 for an
        image).

        At the row's own length and size it is the sample that Open-Sora-Plan makes. At another length the same rules
        hold for that length; for another size the centre is cut to its ratio and resized. Raises: UserError, when
        `num_frames` cannot be had; RunError, when the media is missing, damaged or contradicts its annotation.
        """
        known = self.table.slice(row, 1).to_pylist()[0]
        where = f"{self._data_path}, row {row} (counting from 0): {known['path']}"
        path = Path(known["path"])
        if not path.is_file():
            raise RunError(f"{where}: no such file. Correct the annotation, or the folder in {self._data_path}.")
        image = path.name.endswith(self._rules.image_endings)
        if image:
            self._check_frames(1, num_frames, where)
            frames, fps = read_image(path, _part(known), where), 0.0
        else:
            indices, fps = self._frames(known, num_frames, rng, where)
            frames = read_video(self._reader, path, indices, _part(known), where)
        text = with_notice(_caption(known, rng, where), known["aesthetic"], rng, image=image)
        return Sample(video=self._fitted(frames, known, size, where), text=text, fps=fps)

    def identity(self, row: int) -> str:
        """The media's content and all that the annotation says of the sample. Raises: RunError."""
        known = self.table.slice(row, 1).to_pylist()[0]
        path = known.pop("path")
        try:
            return f"{file_fingerprint(Path(path))} {known}"
        except OSError as error:
            raise RunError(f"{self._data_path}, row {row} (counting from 0): {path}: {error.strerror}.") from error

    def _frames(
        self, known: dict[str, Any], num_frames: int, rng: np.random.Generator, where: str
    ) -> tuple[NDArray[np.int64], float]:
        """Frames of the file that a sample takes, and how many of them make a second."""
        rules = self._rules
        longest = rules.num_frames if num_frames == known["num_frames"] else num_frames
        clip = Clip(known["start"], known["clip_frames"], known["clip_fps"])
        every = resample(clip, rules.train_fps)
        some = sped_up(every, longest, rules.speed_factor, at_least=longest)
        indices = window(some, longest, lambda last: int(rng.integers(0, last, endpoint=True)))[:num_frames]
        self._check_frames(len(indices), num_frames, where)
        rate = clip.fps / float(step_of(clip.fps, rules.train_fps)) / speed(len(every), longest, rules.speed_factor)
        return indices, rate

    def _check_frames(self, there: int, num_frames: int, where: str) -> None:
        if there < num_frames:
            raise UserError(
                f"{where}: it has {there} frame(s) at {self._rules.train_fps:g} frames a second, {num_frames} are "
                "asked for. Use the bucketer `grouped`, or lower `num_frames`."
            )

    def _fitted(self, frames: Tensor, known: dict[str, Any], size: Size, where: str) -> Tensor:
        source = (frames.shape[2], frames.shape[3])
        if self._rules.force_resolution or size != (known["height"], known["width"]):
            return apply(frames, fit_to_size(source, size))
        fit = fit_to_area(source, self._rules.areas[1], self._rules.hw_stride)
        made = fit.after.height, fit.after.width
        if made != size:
            raise RunError(
                f"{where}: its picture has {source[0]} rows and {source[1]} columns, which gives {made[0]}x{made[1]}, "
                f"not the {size[0]}x{size[1]} that its annotation promises. Correct `resolution` (of the part "
                "that `crop` leaves)."
            )
        return apply(frames, fit)


def _part(known: dict[str, Any]) -> Box | None:
    if known["crop"] is None:
        return None
    x0, x1, y0, y1 = known["crop"]
    return Box(y0, x0, y1 - y0, x1 - x0)


def _caption(known: dict[str, Any], rng: np.random.Generator, where: str) -> str:
    captions = known["captions"]
    if captions is None:
        return str(known["text"])
    if not captions:
        raise RunError(f"{where}: its list of captions is empty. Write one into the annotation.")
    return str(captions[int(rng.integers(len(captions)))])


def build(options: OpenSoraPlanDataOptions, context: Context) -> OpenSoraPlanData:
    """The dataset `OpenSoraPlanData`. Reads the annotations, tells in the log how many items are left out and why, and
    looks for the first sample's file; opens no media. Raises: UserError."""
    data_path, rules = Path(options.data), make_rules(options, context)
    sources = read_sources(data_path)
    items = read_items(sources)
    selection = select(items, sources, rules)
    refuse_empty(selection, str(data_path))
    _log(data_path, selection)
    table = sample_table(items, selection, rules)
    _check_first(data_path, table)
    return OpenSoraPlanData(data_path=data_path, samples=SharedTable(table), rules=rules, reader=open_reader("av"))


def sample_table(items: pa.Table, selection: Selection, rules: Rules) -> pa.Table:
    """The rows of the dataset; see `OpenSoraPlanData.table`."""
    kept = selection.kept
    chosen = items.take(pa.array(kept))
    video, fps = selection.video[kept], rates(items)[kept]
    captions = chosen.column("captions").combine_chunks()
    take = partial(pc.if_else, pc.equal(pc.list_value_length(captions), 1))
    return pa.table(
        {
            "path": chosen.column("path"),
            "text": _first_captions(captions),
            "num_frames": pa.array(selection.num_frames[kept], pa.int32()),
            "height": pa.array(selection.height[kept], pa.int32()),
            "width": pa.array(selection.width[kept], pa.int32()),
            "fps": pa.array(fps / step_of(fps, rules.train_fps), pa.float64(), mask=~video),
            "captions": take(pa.scalar(None, captions.type), captions),
            "start": chosen.column("start"),
            "clip_frames": chosen.column("num_frames"),
            "clip_fps": pa.array(fps, pa.float64()),
            "crop": chosen.column("crop"),
            "aesthetic": chosen.column("aesthetic"),
        }
    )


def _first_captions(captions: pa.Array) -> pa.Array:
    """Of lists of texts; the empty text for an empty list."""
    lengths = pc.list_value_length(captions).to_numpy(zero_copy_only=False)
    texts = captions.flatten()
    first = np.cumsum(lengths) - lengths
    places = pa.array(first, pa.int64(), mask=lengths == 0)
    return pc.fill_null(texts.take(places), "")


def _log(data_path: Path, selection: Selection) -> None:
    left_out = ", ".join(f"{word} {count}" for word, count in counts(selection).items() if count) or "none"
    LOG.info(
        "%s: %d of %d items become samples; left out: %s",
        data_path,
        len(selection.kept),
        len(selection.reason),
        left_out,
    )


def _check_first(data_path: Path, table: pa.Table) -> None:
    """Most missing files are a wrong folder, which the first row shows at once."""
    path = Path(table.column("path")[0].as_py())
    if not path.is_file():
        raise UserError(f"{data_path}: no such file: {path}. Correct the folder or the path.")
