"""Which way up a frame is shown: the display matrix that cameras store instead of turning the pixels."""

from typing import Any

import numpy as np
from attrs import frozen
from av import VideoFrame
from av.sidedata.sidedata import Type
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from vidgen_video.fit import Size


@frozen
class Orientation:
    """Exchange rows and columns if `transposed`, then mirror the `rows` (upside down) and `columns` (left to right)."""

    transposed: bool = False
    rows: bool = False
    columns: bool = False

    def shown(self, size: Size) -> Size:
        """Stored size (rows, columns) to displayed size, and the other way."""
        return (size[1], size[0]) if self.transposed else size

    def upright(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The stored picture (H, W) as displayed; a view."""
        if self.transposed:
            picture = picture.T
        return picture[:: -1 if self.rows else 1, :: -1 if self.columns else 1]


def orientation_of(frame: VideoFrame) -> Orientation:
    """The orientation of a decoded frame; angles between are taken to the nearest quarter turn."""
    # A frame whose side data was looked at lives until Python's next search for cycles. So look at a tiny copy's.
    small: Any = frame.reformat(width=2, height=2, interpolation=Interpolation.POINT, threads=1)
    try:
        matrices = [bytes(data) for data in small.side_data if data.type is Type.DISPLAYMATRIX]
    except ValueError:  # side data newer than PyAV's list of it hides the matrix; its angle is still told
        return _turned(frame.rotation)
    return _from_matrix(np.frombuffer(matrices[0], np.int32)) if matrices else Orientation()


def _from_matrix(matrix: NDArray[np.int32]) -> Orientation:
    """A display matrix (ISO/IEC 14496-12, section 8.2.2) sends column x and row y to (a x + c y, b x + d y); it is
    stored as a, b, u, c, d, v, x, y, w."""
    a, b, _, c, d = matrix[:5].astype(float)
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(transposed=True, rows=bool(b < 0), columns=bool(c < 0))
    return Orientation(rows=bool(d < 0), columns=bool(a < 0))


def _turned(degrees: int) -> Orientation:
    """Turned so far counterclockwise."""
    turns = round(degrees / 90) % 4
    return Orientation(transposed=turns in (1, 3), rows=turns in (1, 2), columns=turns in (2, 3))
