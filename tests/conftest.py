"""Fixtures that tests of core and of plugins share: recipes on disk, plugins made up on the spot, the command line."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from vidgen import hookimpl


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a recipe into the current folder, which is `tmp_path`, and gives its relative path."""
    monkeypatch.chdir(tmp_path)

    def written(text: str, name: str = "r.yaml") -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return written


@pytest.fixture
def plugin() -> Callable[..., ModuleType]:
    """Makes a plugin out of hook names and the components each gives: `plugin(vidgen_models=[...])`."""

    def made(**hooks: Any) -> ModuleType:
        module = ModuleType("made_up")
        for name, answer in hooks.items():
            setattr(module, name, hookimpl(answer if callable(answer) else _giving(answer)))
        return module

    return made


@pytest.fixture
def install(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes a distribution `vidgen-NAME` 2.5 of one module `made_up_NAME`, as pip would; gives the folder it is in."""

    def installed(name: str, code: str) -> Path:
        site = tmp_path / "site"
        info = site / f"vidgen_{name}-2.5.dist-info"
        info.mkdir(parents=True)
        (site / f"made_up_{name}.py").write_text(code, encoding="utf-8")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vidgen-{name}\nVersion: 2.5\n")
        (info / "entry_points.txt").write_text(f"[vidgen]\n{name} = made_up_{name}\n")
        return site

    return installed


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `vidgen ...`, or `vidgen-run ...`, in `tmp_path`; `path` names folders of further plugins."""

    def run(program: str, *arguments: Any, path: Iterable[Path] = (), flags: Iterable[str] = ()) -> Any:
        module = {"vidgen": "vidgen.cli", "vidgen-run": "vidgen.cli.run"}[program]
        inherited = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
        start = f"import sys; sys.argv[0] = {program!r}; from {module} import main; main()"
        return subprocess.run(
            [sys.executable, *flags, "-c", start, *map(str, arguments)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, path), *inherited]), "OMP_NUM_THREADS": "1"},
            timeout=120,
        )

    return run


def _giving(answer: Any) -> Callable[[], Any]:
    return lambda: answer
