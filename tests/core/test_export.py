"""`vidgen export`: the weights of a checkpoint in one file, whoever wrote it."""

import resource
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from parallel_run import everything_in, run_here
from ranks import on_ranks
from safetensors.torch import load_file
from vidgen import RunError, UserError
from vidgen.cli.export import command
from vidgen.mesh import World
from vidgen.weights import find_weights


def train(world: World, outputs: Path) -> None:
    """Two steps on all ranks."""
    engine = "zero2" if world.size > 1 else "single"
    run_here(world, {"max_steps": 2, "parallel": {"type": engine}, "outputs": str(outputs)})


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two ranks"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder."""
    outputs = tmp_path_factory.mktemp("run") / "run"
    on_ranks(train, request.param, outputs)
    return outputs


def export(*arguments: object) -> str:
    """What the command says. Raises what it raises."""
    done = CliRunner().invoke(command, [str(one) for one in arguments])
    if done.exception is not None:
        raise done.exception
    return done.output


@pytest.mark.parametrize(("flag", "folder"), [("--ema", "ema"), ("--raw", "model")])
def test_weights_come_into_one_file(run: Path, tmp_path: Path, flag: str, folder: str) -> None:
    out = tmp_path / "weights.safetensors"
    told = export(run, "-o", out, flag)
    whole = find_weights(run / "checkpoints" / "epoch0-global_step2", ema=folder == "ema")
    assert told.startswith(f"{out}: 89 entries, ")
    assert told.endswith(f" numbers, from {whole}\n")
    saved = {name.removeprefix(f"{folder}/"): v for name, v in everything_in(run).items() if name.startswith(folder)}
    written = load_file(out)
    assert written.keys() == saved.keys()
    assert all(torch.equal(value, saved[name]) for name, value in written.items())
    assert list(tmp_path.iterdir()) == [out]


def test_nothing_is_overwritten(run: Path, tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_text("mine")
    with pytest.raises(UserError, match=r"weights\.safetensors is there already"):
        export(run, "-o", tmp_path / "weights.safetensors")
    assert (tmp_path / "weights.safetensors").read_text() == "mine"


@pytest.mark.parametrize(("name", "told"), [("weights.pt", "give it that ending"), ("no/w.safetensors", "no folder")])
def test_a_place_that_does_not_suit_is_said(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        export(tmp_path, "-o", tmp_path / name)


def test_a_folder_without_weights_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no weights in"):
        export(tmp_path, "-o", tmp_path / "weights.safetensors")


def test_a_full_disk_leaves_nothing_behind(run: Path, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, before[1]))
    try:
        with pytest.raises(RunError, match=r"weights\.safetensors cannot be written"):
            export(run, "-o", tmp_path / "weights.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())
