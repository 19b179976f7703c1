"""The commands in this process, and files for them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import vidgen
from attrs import frozen
from click.testing import CliRunner
from vidgen.errors import VidgenError
from vidgen_convert.convert_command import convert
from vidgen_convert.weights_command import convert_weights


@frozen
class Done:
    """status: what the process would return. out, err: what it printed; err also has what it would print on failing."""

    status: int
    out: str
    err: str


def invoked(command: Any, arguments: tuple[Any, ...]) -> Done:
    result = CliRunner().invoke(command, list(map(str, arguments)))
    if isinstance(result.exception, VidgenError):
        return Done(result.exception.exit_status, result.stdout, str(result.exception))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a table of clips and a file of prompts."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "meta.csv").write_text("path,text\n")
    (tmp_path / "prompts.txt").write_text("a red circle\n")
    return tmp_path


@pytest.fixture
def run(here: Path) -> Callable[..., Done]:
    """Runs `vidgen convert ...` in the current folder."""
    return lambda *arguments: invoked(convert, arguments)


@pytest.fixture
def weigh(here: Path) -> Callable[..., Done]:
    """Runs `vidgen convert-weights ...` in the current folder."""
    return lambda *arguments: invoked(convert_weights, arguments)


@frozen
class Converted:
    """done: how the command ended. recipe: what it wrote, loaded as plain data. text: as it was written."""

    done: Done
    recipe: dict[str, Any]
    text: str


@pytest.fixture
def converted(here: Path, run: Callable[..., Done]) -> Callable[..., Converted]:
    """Writes a file, converts it and loads the recipe, which has to be possible."""

    def convert_text(text: str, name: str = "given.py") -> Converted:
        (here / name).write_text(text)
        done = run(name, "-o", "made.yaml", "--force")
        assert done.status == 0, done.err
        assert "Still to do" not in done.err, done.err
        return Converted(done, vidgen.load_recipe("made.yaml").plain(), (here / "made.yaml").read_text())

    return convert_text
