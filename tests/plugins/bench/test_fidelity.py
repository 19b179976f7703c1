"""Recipes compared by what their clips show, in ever more steps."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from tiny_run import RECIPE, merged
from vidgen_bench.command import bench
from vidgen_bench.fidelity import Course, markdown, table

SAMPLE = {"prompts": ["a red circle moving left", "a blue square moving up"], "metrics": [{"type": "moving-shapes"}]}


def write(folder: Path, name: str, recipe: dict) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


def test_a_recipe_is_trained_once_and_sampled_with_every_number_of_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    first = write(tmp_path, "first", merged(RECIPE, {"max_steps": 1, "sample": SAMPLE}))
    again = {"job": "sample", "checkpoint": "outputs/first", "seed": 5, **SAMPLE}
    other = write(tmp_path, "other", again)
    call = ["fidelity", str(first), str(other), "--steps", "1", "--steps", "2", "-o", "table.md"]
    done = CliRunner().invoke(bench, call, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    lines = Path("table.md").read_text().splitlines()
    assert lines[0] == "| colour / shape / direction, % | 1 steps | 2 steps |"
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| first", "| other"]
    checkpoints = list(Path("outputs/first/checkpoints").iterdir())
    assert CliRunner().invoke(bench, call, catch_exceptions=False).exit_code == 0
    assert list(Path("outputs/first/checkpoints").iterdir()) == checkpoints


def test_a_recipe_without_metrics_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, "first", merged(RECIPE, {"max_steps": 1}))
    done = CliRunner().invoke(bench, ["fidelity", str(path), "--steps", "1"])
    assert "nothing says how to judge its clips: give sample.metrics" in str(done.exception)


def test_the_table_holds_shares_in_per_cent():
    rows = table([Course("rflow", {5: {"colour": 1.0, "shape": 0.875}})], [5])
    assert markdown(rows) == "| colour / shape, % | 5 steps |\n| --- | --- |\n| rflow | 100 / 88 |\n"
