"""`vidgen new-plugin`: every kind's project works as written, and the guide shows what it writes."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from click.testing import CliRunner, Result
from vidgen import hookspecs
from vidgen.cli.new_plugin import command
from vidgen.errors import UserError
from vidgen.hookspecs import KINDS
from vidgen.interfaces import Media, RunInfo
from vidgen.registry import Registry
from vidgen.scaffold import project

GUIDE = Path(__file__).parents[2] / "docs" / "writing-plugins.md"
HOOKS = [name for name in vars(hookspecs) if name.startswith("vidgen_")]


def test_every_kinds_project_passes_its_own_tests(tmp_path):
    """Installed as pip would do it: sources on the path, and metadata with the entry point."""
    for kind in KINDS:
        write(tmp_path, f"try-{kind.replace('_', '-')}", kind)
        install(tmp_path / f"vidgen-try-{kind.replace('_', '-')}", tmp_path)
    sources = [tmp_path, *tmp_path.glob("*/src")]
    surroundings = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sources)), "OMP_NUM_THREADS": "1"}
    options = ["-q", "--import-mode=importlib", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", str(tmp_path)]
    tests = sorted(map(str, tmp_path.glob("*/tests")))
    run = [sys.executable, "-m", "pytest", *options, *tests]
    done = subprocess.run(run, cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(tests) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_project_can_be_built_and_is_registered_under_its_kind(kind):
    distribution, texts = project("vidgen-my-own", kind)
    described = tomllib.loads(texts[PurePosixPath("pyproject.toml")])
    assert distribution == described["project"]["name"] == "vidgen-my-own"
    assert described["project"]["entry-points"]["vidgen"] == {"my-own": "vidgen_my_own"}
    assert PurePosixPath("src/vidgen_my_own/py.typed") in texts
    assert f"def {KINDS[kind]}(" in texts[PurePosixPath("src/vidgen_my_own/__init__.py")]


@pytest.mark.parametrize("kind", KINDS)
def test_projects_are_as_tidy_as_this_one(kind, tmp_path):
    name = f"my-{kind.replace('_', '-')}"
    write(tmp_path, name, kind)
    rules = ["--isolated", "--line-length=120", "--select=E,F,W,I,UP,B,SIM,C4"]
    check = [sys.executable, "-m", "ruff", "check", *rules, "."]
    done = subprocess.run(check, cwd=tmp_path / f"vidgen-{name}", capture_output=True, text=True, check=False)
    if "No module named ruff" in done.stderr:
        pytest.skip("ruff is not installed")
    assert done.returncode == 0, done.stdout


def test_it_says_what_to_do_next(tmp_path):
    shown = write(tmp_path, "vidgen-sway", "scheduler").output
    for line in (f"pip install -e '{tmp_path}/vidgen-sway[dev]'", "vidgen show sway --kind scheduler", "pytest "):
        assert line in shown


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("My_Scheduler", "scheduler", "'My_Scheduler' cannot be a plugin's name"),
        ("vidgen-", "scheduler", "'' cannot be a plugin's name"),
        ("sway", "schedular", "there is no kind 'schedular' of component\n    did you mean scheduler?"),
        ("csv", "tracker", "vidgen offers the tracker 'csv' already"),
    ],
)
def test_names_and_kinds_that_cannot_be_are_refused(tmp_path, name, kind, said):
    assert said in str(refusal(tmp_path, name, kind))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "vidgen-sway").mkdir()
    assert "is there already" in str(refusal(tmp_path, "sway", "scheduler"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    assert "file/vidgen-sway cannot be written" in str(refusal(tmp_path / "file", "sway", "scheduler"))


def test_no_torch_on_the_way():
    program = "import sys, vidgen.cli.new_plugin as one; one.command.main(['--help'], standalone_mode=False); "
    run = [sys.executable, "-c", program + "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"]
    assert subprocess.run(run, capture_output=True, check=False).returncode == 0


def test_the_guide_has_a_heading_for_every_hook_and_no_other():
    assert re.findall(r"^###+ `(vidgen_\w+)`", GUIDE.read_text(), flags=re.MULTILINE) == HOOKS


def test_the_guide_names_every_kind_where_its_hook_is():
    sections = re.split(r"^###+ ", GUIDE.read_text(), flags=re.MULTILINE)
    for kind, hook in KINDS.items():
        section = next(one for one in sections if one.startswith(f"`{hook}`"))
        assert f'"{kind}"' in section or f"--kind {kind}" in section


def test_files_shown_in_the_guide_are_those_that_are_written():
    written = {}
    for kind in KINDS:
        written.update(project(f"my-{kind.replace('_', '-')}", kind)[1])
    shown = code_blocks(named=True)
    assert len(shown) > len(KINDS)
    for place, text in shown:
        assert text.strip() in written[PurePosixPath(place)], place


def test_other_code_in_the_guide_runs(tmp_path):
    """Hooks are called as a run calls them."""
    clip = Media(tmp_path / "clip.mp4", "a prompt", (2, 3, 4))
    run = RunInfo("train", tmp_path)
    told: dict[str, dict[str, Any]] = {
        "vidgen_commands": {},
        "vidgen_run_started": {"run": run},
        "vidgen_step_done": {"step": 1, "metrics": {"grad_norm": 1000.0}},
        "vidgen_checkpoint_saved": {"step": 1, "path": tmp_path / "epoch0-global_step1"},
        "vidgen_samples_written": {"step": 1, "samples": [clip]},
        "vidgen_run_finished": {"run": run},
    }
    called = set()
    for _, text in code_blocks(named=False):
        module: dict[str, Any] = {"__name__": "guide"}
        exec(compile(text, str(GUIDE), "exec"), module)
        plugin = type("Plugin", (), {name: staticmethod(one) for name, one in module.items() if name in HOOKS})()
        registry = Registry([("guide", "guide", "0", plugin)])
        assert registry.broken == []
        for name in set(module) & set(told):
            getattr(registry.hooks.hook, name)(**told[name])
            called.add(name)
    assert called == set(told)
    made = ["clip.txt", "finished", "machine.txt", "newest.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == made


def code_blocks(*, named: bool) -> list[tuple[str, str]]:
    """(file, text) of the guide's Python blocks: those that begin with a comment naming a file, or the others."""
    found = re.findall(r"^```python\n(?:# ((?:src|tests)/\S+)\n)?(.*?)^```", GUIDE.read_text(), flags=re.M | re.S)
    return [(place, text) for place, text in found if bool(place) is named]


def write(folder: Path, name: str, kind: str) -> Result:
    return CliRunner().invoke(
        command, [name, "--kind", kind, "--folder", str(folder)], standalone_mode=False, catch_exceptions=False
    )


def refusal(folder: Path, name: str, kind: str) -> UserError:
    with pytest.raises(UserError) as caught:
        write(folder, name, kind)
    return caught.value


def install(source: Path, place: Path) -> None:
    described = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    folder = place / f"{described['name'].replace('-', '_')}-{described['version']}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Name: {described['name']}\nVersion: {described['version']}\n")
    entries = [f"{name} = {module}" for name, module in described["entry-points"]["vidgen"].items()]
    (folder / "entry_points.txt").write_text("\n".join(["[vidgen]", *entries, ""]))
