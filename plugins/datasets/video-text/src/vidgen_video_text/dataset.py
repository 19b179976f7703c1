"""`VideoText` and `VariableVideoText`: rows of a table as clips with their captions.

They are one class: it gives any size it is asked for. The variable one follows Open-Sora's training with buckets, where
sizes come from the bucketer, images are single frames and rates are whole numbers.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from attrs import frozen
from numpy.typing import NDArray
from vidgen.errors import RunError, UserError
from vidgen.interfaces import Context, Sample
from vidgen.weights import file_fingerprint
from vidgen_video.fit import Fit, Size, cover
from vidgen_video.reader import Clip, Reader, Unreadable
from vidgen_video.readers import open_reader
from vidgen_video.shared import SharedTable
from vidgen_video.still import is_still, read_still
from vidgen_video.window import TooShort, random_window, window_indices

from vidgen_video_text import TableOptions, VariableVideoTextOptions, VideoTextOptions
from vidgen_video_text.metadata import check_inside, media_path, read_table
from vidgen_video_text.probing import check_known, with_media_facts

UNKNOWN_RATE = 24.0
"""Frames a second of a video of which nobody says it, as Open-Sora takes them."""


@frozen(kw_only=True)
class Cutting:
    """How media become samples: see the options of the same names.

    still_frames: frames that a still image counts as; 1, unless images are repeated.
    whole_rates: frames a second of a sample are rounded down, as Open-Sora 1.2's models learnt them, but not to 0.
    """

    transform_name: str
    frame_interval: int
    window: str
    repeat_images: bool = False
    still_frames: int = 1
    whole_rates: bool = False


class VideoText:
    """Videos and still images with captions; a `vidgen.interfaces.Dataset`.

    Cheap to fork; pickles to a few hundred bytes for workers that are started afresh (see `SharedTable`).
    """

    def __init__(
        self,
        *,
        data_path: Path,
        source: SharedTable,
        root: Path,
        reader: Reader,
        cutting: Cutting,
        max_unknown_fraction: float = 1.0,
    ) -> None:
        self._data_path = data_path
        self._max_unknown_fraction = max_unknown_fraction
        self._source = source
        self._root = root
        self._reader = reader
        self._cutting = cutting
        self._complete = False

    @property
    def table(self) -> pa.Table:
        """Columns path, text, num_frames, height, width, fps. What the file lacks is read from the headers of the media
        when first asked for, and remembered; it is null where the media cannot be read. `get` needs none of it.

        Raises: UserError, when more is unknown then than the recipe allows.
        """
        if not self._complete:
            full = with_media_facts(self._source.table, self._root, self._reader, self._cutting.still_frames)
            if full is not self._source.table:
                self._source = SharedTable(full)
            check_known(self._data_path, full, self._max_unknown_fraction)
            self._complete = True
        return self._source.table

    def get(self, row: int, num_frames: int, size: Size, rng: np.random.Generator) -> Sample:
        """Row `row` as uint8 RGB video (3, num_frames, *size) with its caption and frame rate (0 for a still image).

        A video gives equally spaced frames of a window of num_frames * frame_interval frames (of fewer, when it is
        shorter) at a place drawn from `rng`. Raises: UserError, when the media is an image or too short for what is
        asked; RunError, when it is missing or cannot be read; both name row and file.
        """
        text = self._source.table.column("text")[row].as_py()
        path = media_path(self._root, self._source.table.column("path")[row].as_py())
        where = f"{self._data_path}, row {row} (counting from 0): {path}"
        if not path.is_file():
            raise RunError(
                f"{where}: no such file. Correct the table, or set `root` to the folder its paths start from."
            )
        check_transform(self._cutting.transform_name, size)
        try:
            if is_still(path):
                return Sample(video=torch.from_numpy(self._still(path, num_frames, size, where)), text=text, fps=0.0)
            clip = self._clip(path, num_frames, size, rng)
        except Unreadable as error:
            raise RunError(f"{where}: cannot be read: {error}") from error
        except TooShort as error:
            raise UserError(f"{where}: {error}.{self._promise(row, error.total)}") from error
        return Sample(video=torch.from_numpy(clip.frames), text=text, fps=self._rate(row, clip))

    def identity(self, row: int) -> str:
        """The media's content and the caption. Raises: RunError, when the file cannot be read."""
        table = self._source.table
        path = media_path(self._root, table.column("path")[row].as_py())
        try:
            return f"{file_fingerprint(path)} {table.column('text')[row].as_py()}"
        except OSError as error:
            raise RunError(f"{self._data_path}, row {row} (counting from 0): {path}: {error.strerror}.") from error

    def _promise(self, row: int, total: int) -> str:
        """What to do about a file of `total` frames, which are too few."""
        table = self._source.table
        told = table.column("num_frames")[row].as_py() if "num_frames" in table.column_names else None
        if told is not None and told > total:
            return f" The table says {told}: correct its num_frames, or remove it to have it read from the files."
        return " Lower `num_frames`, or leave such rows out of the table."

    def _still(self, path: Path, num_frames: int, size: Size, where: str) -> NDArray[np.uint8]:
        if num_frames > 1 and not self._cutting.repeat_images:
            also = "" if self._cutting.whole_rates else ", or set `repeat_images: true` to make clips of them"
            raise UserError(
                f"{where}: an image where a video is expected ({num_frames} frames are asked for). Set "
                f"`num_frames: 1`, leave images out of the table{also}."
            )
        image = read_still(path, size, halve_first=self._cutting.transform_name == "center")
        return np.repeat(image, num_frames, axis=1)

    def _clip(self, path: Path, num_frames: int, size: Size, rng: np.random.Generator) -> Clip:
        def choose(total: int) -> NDArray[np.int64]:
            interval = self._cutting.frame_interval
            if self._cutting.window == "first":
                return window_indices(total, num_frames, interval, start=0)
            return random_window(total, num_frames, interval, rng)

        def fit_to(source: Size) -> Fit:
            return cover(source, size)

        return self._reader.read(path, choose, fit_to)

    def _rate(self, row: int, clip: Clip) -> float:
        """Frames a second of the sample: the table's word on the clip counts before the file's; 24 if neither says."""
        table = self._source.table
        known = table.column("fps")[row].as_py() if "fps" in table.column_names else None
        rate = (known or clip.fps or UNKNOWN_RATE) / self._cutting.frame_interval
        return float(int(rate)) if self._cutting.whole_rates and rate >= 1 else rate


def check_transform(transform_name: str, size: Size) -> None:
    """Raises: UserError, when the transform cannot make pictures of `size` (rows, columns)."""
    if transform_name == "center" and size[0] != size[1]:
        raise UserError(
            f"transform_name: center makes square pictures only, and {size[0]}x{size[1]} are asked for. "
            "Set `transform_name: resize_crop`, or a square image_size."
        )


def build(options: VideoTextOptions, context: Context) -> VideoText:
    """The dataset `VideoText`. Opens the table and looks for the first row's file; opens no media."""
    if context.image_size is not None:
        check_transform(options.transform_name, context.image_size)
    cutting = Cutting(
        transform_name=options.transform_name,
        frame_interval=options.frame_interval or context.frame_interval,
        window=options.window,
        repeat_images=options.repeat_images,
        still_frames=context.num_frames or 1 if options.repeat_images else 1,
    )
    return _opened(options, context, cutting)


def build_variable(options: VariableVideoTextOptions, context: Context) -> VideoText:
    """The dataset `VariableVideoText`. Opens the table and looks for the first row's file; opens no media."""
    cutting = Cutting(
        transform_name=options.transform_name,
        frame_interval=options.frame_interval or context.frame_interval,
        window=options.window,
        whole_rates=True,
    )
    return _opened(options, context, cutting)


def _opened(options: TableOptions, context: Context, cutting: Cutting) -> VideoText:
    data_path = Path(options.data_path)
    root = Path(options.root or data_path.parent).absolute()
    table = _captioned(data_path, read_table(data_path), needed="text_encoder" in context.recipe)
    check_inside(data_path, table, root)
    _check_first(data_path, table, root)
    return VideoText(
        data_path=data_path,
        source=SharedTable(table),
        root=root,
        reader=open_reader(options.reader),
        cutting=cutting,
        max_unknown_fraction=options.max_unknown_fraction,
    )


def _captioned(data_path: Path, table: pa.Table, *, needed: bool) -> pa.Table:
    """The table with a column of captions: empty ones where there are none and none are needed."""
    if "text" in table.column_names:
        return table
    if needed:
        raise UserError(f"{data_path} has no text column, so there are no captions to train on. Add a column `text`.")
    return table.append_column("text", pa.repeat(pa.scalar(""), table.num_rows))


def _check_first(data_path: Path, table: pa.Table, root: Path) -> None:
    """Most missing files are a wrong root, which the first row shows at once."""
    path = media_path(root, table.column("path")[0].as_py())
    if not path.is_file():
        raise UserError(
            f"{data_path}: row 0: no such file: {path}. Set `root` to the folder that the table's paths start from; "
            f"it is {root} now."
        )
