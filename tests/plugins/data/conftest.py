"""The command line in this process, tables on disk, small clips."""

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from attrs import frozen
from click.testing import CliRunner
from PIL import Image
from vidgen.errors import VidgenError
from vidgen_data.command import data
from vidgen_data.source import open_source


@frozen
class Done:
    """status: what the process would return. out: what it printed; error: what it would print on failing."""

    status: int
    out: str
    error: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Runs `vidgen data ...` in `tmp_path`."""
    monkeypatch.chdir(tmp_path)

    def running(*arguments: Any) -> Done:
        result = CliRunner().invoke(data, list(map(str, arguments)))
        error = result.exception
        if isinstance(error, VidgenError):
            return Done(error.exit_status, result.stdout, str(error))
        if error is not None and not isinstance(error, SystemExit):
            raise error
        return Done(result.exit_code, result.stdout, result.stderr)

    return running


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Writes a table of rows into `tmp_path`, as its name says: CSV text, or Parquet."""

    def write(name: str, content: str | list[dict[str, Any]]) -> Path:
        path = tmp_path / name
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            pa.parquet.write_table(pa.Table.from_pylist(content), path)
        return path

    return write


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """The rows of a table in `tmp_path`."""

    def read(name: str) -> list[dict[str, Any]]:
        return [row for batch in open_source(tmp_path / name).batches() for row in batch.to_pylist()]

    return read


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., Path]:
    """Writes a clip of 30 frames a second, 34x50 pixels, into `tmp_path`."""

    def write(name: str, frames: int = 7, turned: int = 0) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as output:
            stream = output.add_stream("mpeg4", rate=30)
            stream.height, stream.width, stream.pix_fmt = 34, 50, "yuv420p"
            stream.codec_context.gop_size = 4
            if turned:
                stream.set_display_rotation(turned)
            for number in range(frames):
                frame = av.VideoFrame.from_ndarray(np.full((34, 50, 3), 9 * number % 256, np.uint8), "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 30)
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        return path

    return write


@pytest.fixture
def still(tmp_path: Path) -> Callable[..., Path]:
    """Writes a picture of 5 rows and 7 columns into `tmp_path`."""

    def write(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (7, 5), (200, 100, 0)).save(path)
        return path

    return write


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of real clips."""
    default = Path(__file__).resolve().parents[3].parent / "shared" / "clips"
    folder = Path(os.environ.get("VIDGEN_CLIPS", default))
    if not folder.is_dir():
        pytest.skip(f"no folder of real clips at {folder}; set VIDGEN_CLIPS")
    return folder
