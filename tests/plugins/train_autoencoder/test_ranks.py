"""Several ranks train both networks as one process does, and go on from each other's checkpoints."""

import csv
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from autoencoder_run import RECIPE
from launched import ranks_of, wait_until
from parallel_run import everything_in, numbers_in, run_on
from ranks import on_ranks
from tiny_run import loss_log, merged, wait_for
from torch import nn
from vidgen import RunError, UserError, runfolder, weights
from vidgen.engine.batch import Batch
from vidgen.mesh import TokenGroup, World
from vidgen.recipe.schema import OptimizerOptions
from vidgen_train_autoencoder import critic, saving
from vidgen_train_autoencoder.discriminators import NLayerDiscriminator
from vidgen_train_autoencoder.objective import Objective, Outcome
from vidgen_train_autoencoder.recipe import DiscriminatorOptions
from vidgen_train_autoencoder.train import AutoencoderTraining
from vidgen_zero.engine import Zero

CLIPS = 4  # of a step, over all ranks

GAME: dict[str, Any] = {
    "ndf": 3,
    "n_layers": 1,
    "lecam_loss_weight": 5.0,
    "gradient_penalty_loss_weight": 0.1,
}
WHOLE: dict[str, Any] = {
    "dataset.rows": 24,
    "optimizer": {"lr": 1e-3, "warmup_steps": 2, "eps": 1e-2, "grad_clip": 10.0},
    "ema": {"decay": 0.8},
    "use_z_rec_loss": True,
    "mixed_strategy": "mixed_video_image",
    "mixed_image_ratio": 0.3,
    "use_image_identity_loss": True,
    "max_steps": 5,
}
"""Every loss; an epsilon far above rounding errors, which Adam would blow up to whole steps."""

ENGINES = ("ddp", "zero2", "zero3")
CASES: dict[str, dict[str, Any]] = {
    "errors": {"evaluate": {"every": 2, "clips": 2, "frames": 3}},
    "frozen": {"vae.freeze_vae_2d": True},
    "game": {"discriminator": GAME},
    "late": {"discriminator": {**GAME, "start": 2, "generator_loss_type": "non-saturating"}},
}


class EachByItself(NLayerDiscriminator):
    """Norms of each picture in the place of batch norms, which take the statistics of a rank's clips: all else is equal
    however clips are shared out."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        norms = [place for place, layer in enumerate(self.main) if isinstance(layer, nn.BatchNorm2d)]
        for place in norms:
            self.main[place] = nn.InstanceNorm2d(self.main[place].num_features)


def run_here(world: World, changes: Mapping[str, Any]) -> Path:
    """Train the tiny recipe, changed, on all ranks of `world`. Returns the folder."""
    data = merged(RECIPE, {**WHOLE, "batch_size": CLIPS // world.size, **changes})
    return run_on(world, data, changes.get("max_steps"))


def train_all(world: World, folder: Path, engines: tuple[str, ...]) -> None:
    """Every case with every engine, all judged without batch norms."""
    critic.NETWORKS["2d"] = EachByItself  # type: ignore[index]
    try:
        for engine in engines:
            for case, changes in CASES.items():
                where = {"outputs": str(folder / f"{engine}-{case}"), "parallel": {"type": engine}}
                run_here(world, {**changes, **where})
    finally:
        critic.NETWORKS["2d"] = NLayerDiscriminator  # type: ignore[index]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all runs: of one process, and of two ranks."""
    folder = tmp_path_factory.mktemp("equality")
    train_all(World(), folder, ("single",))
    on_ranks(train_all, 2, folder, ENGINES)
    return folder


def state_of(outputs: Path) -> dict[str, torch.Tensor]:
    """Both networks' weights, averages and optimizers."""
    found = everything_in(outputs)
    game = outputs / "discriminator"
    if game.exists():
        newest = runfolder.latest(game)
        assert newest is not None
        for part in ("model", "optimizer"):
            alone = newest / part / f"{part}.safetensors"
            read = weights.read_state(alone if alone.exists() else newest / part)
            found |= {f"discriminator/{part}/{name}": value for name, value in read.items()}
    return found


def assert_same_course(one: Path, other: Path, case: str) -> None:
    """But for rounding."""
    game = ("adversarial", "discriminator", "real_logits", "fake_logits") if "discriminator" in CASES[case] else ()
    columns = ("step", "loss", "pixels", "kl", "latents", "identity", "l1", "grad_norm", "lr", *game)
    torch.testing.assert_close(numbers_in(one, *columns), numbers_in(other, *columns), atol=1e-5, rtol=1e-5)
    mine, theirs = state_of(one), state_of(other)
    assert mine.keys() == theirs.keys() and any("exp_avg_sq" in name for name in mine)
    assert any(name.startswith("discriminator/") for name in mine) == bool(game)
    for name, value in mine.items():
        torch.testing.assert_close(value, theirs[name], atol=1e-5, rtol=1e-5, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", CASES)
def test_ranks_learn_what_one_process_learns(folder: Path, case: str, engine: str) -> None:
    """Five clipped steps, two clips a rank against four: numbers, both networks, the average, moments, float32."""
    assert_same_course(folder / f"single-{case}", folder / f"{engine}-{case}", case)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_main_rank_reconstructs_what_one_process_does(folder: Path, engine: str) -> None:
    """In the midst of training and at its end, by the averaged weights, which are whole there."""
    alone, shared = (scores_in(folder / f"{name}-errors") for name in ("single", engine))
    assert alone.keys() == shared.keys() and len(alone) == 3 * 2
    assert list(shared.values()) == pytest.approx(list(alone.values()), rel=1e-3)
    assert (folder / f"{engine}-errors" / "samples" / "step4" / "reconstructions.png").exists()


def scores_in(outputs: Path) -> dict[tuple[str, str], float]:
    with (outputs / "scores.csv").open(newline="") as file:
        return {(row["step"], row["name"]): float(row["value"]) for row in csv.DictReader(file)}


def train(world: World, runs: list[dict[str, Any]]) -> list[list[int]]:
    """Runs one after the other, with a game. Returns the rows that this rank saw in each."""
    seen: list[list[int]] = []
    honest = AutoencoderTraining.train_step

    def watched(self: AutoencoderTraining, batch: Batch) -> None:
        seen[-1].extend(batch.rows)
        honest(self, batch)

    AutoencoderTraining.train_step = watched  # type: ignore[method-assign]
    for changes in runs:
        seen.append([])
        run_here(world, {"parallel": {"type": "ddp" if world.size > 1 else "single"}, "discriminator": GAME, **changes})
    AutoencoderTraining.train_step = honest  # type: ignore[method-assign]
    return seen


def test_ranks_go_on_from_their_checkpoint_bit_for_bit(tmp_path: Path) -> None:
    """With batch norms, whose running means all ranks save alike, and the autoencoder written in the background."""
    runs = []
    for engine in ("ddp", "zero2"):
        how = {"parallel": {"type": engine}, "checkpoint.background": True}
        whole, parts = ({**how, "outputs": str(tmp_path / f"{engine}-{name}")} for name in ("whole", "parts"))
        runs += [whole, {**parts, "max_steps": 3}, {**parts, "resume": "latest"}]
    on_ranks(train, 2, runs)
    for engine in ("ddp", "zero2"):
        assert_same_run(tmp_path / f"{engine}-whole", tmp_path / f"{engine}-parts")
        assert any("running_var" in name for name in state_of(tmp_path / f"{engine}-parts"))


def running_means(world: World) -> torch.Tensor:
    """Of a discriminator that has learned once, on clips of this rank."""
    ranks = TokenGroup(), world.rank, world.size
    device, dtype = torch.device("cpu"), torch.float32
    engine = Zero(stage="ddp", device=device, dtype=dtype, world=world, tokens=ranks, offload=False)
    learning = critic.Critic(DiscriminatorOptions(**GAME), OptimizerOptions(), engine, seed=0)
    clips = torch.full((2, 3, 1, 8, 8), float(world.rank))
    learning.learn(clips, clips / 2, step=0, lr=0.0)
    return torch.cat([one.flatten() for one in learning.network.buffers()])


def test_running_means_are_those_of_all_ranks() -> None:
    """Once averaged after every step they are the same on all, whichever rank saves them."""
    first, second = on_ranks(running_means, 2)
    assert torch.equal(first, second) and not torch.equal(first, on_ranks(running_means, 1)[0])


def assert_same_run(one: Path, other: Path) -> None:
    """Bit for bit."""
    mine, theirs = state_of(one), state_of(other)
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []
    assert loss_log(one) == loss_log(other)
    states = [runfolder.read_state(runfolder.find_checkpoint(outputs)) for outputs in (one, other)]
    for key in ("critic", "window", "position"):
        assert states[0][key] == states[1][key]


def on(size: int, run: dict[str, Any]) -> list[int]:
    """A run on so many ranks; the rows that all have seen."""
    answers = on_ranks(train, size, [run]) if size > 1 else [train(World(), [run])]
    return [row for (rows,) in answers for row in rows]


@pytest.mark.parametrize(("first", "second"), [(2, 1), (1, 2)])
def test_another_number_of_ranks_goes_on_with_both_networks_and_the_clips_left(
    tmp_path: Path, first: int, second: int
) -> None:
    """An epoch of 24 clips: half of it in steps of two clips a rank, half of it after, and hardly learning."""
    run = {"batch_size": 2, "outputs": str(tmp_path / "run")}
    begun = {**run, "max_steps": 6 // first}
    more = {**run, "max_steps": 6 // first + 6 // second, "resume": "latest", "optimizer.lr": 1e-12}
    seen = on(first, begun)
    before = state_of(tmp_path / "run")
    seen += on(second, more)
    after = state_of(tmp_path / "run")
    assert sorted(seen) == list(range(24))
    assert before.keys() == after.keys()
    for name in (name for name in before if "model/" in name and name.endswith(("weight", "bias"))):
        torch.testing.assert_close(before[name], after[name], rtol=0, atol=1e-9)
    told = (tmp_path / "run" / "log.txt").read_text()
    assert f"epoch0-global_step{6 // first} was written by a run that read {first} batches at a time" in told


@pytest.mark.parametrize(("dtype", "engine", "rounding"), [("bf16", "zero2", 2**-7), ("fp16", "zero3", 2**-10)])
def test_low_precision_learns_alike_but_for_rounding(tmp_path: Path, dtype: str, engine: str, rounding: float) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    train(World(), [{"dtype": dtype, "outputs": str(alone)}])
    on_ranks(train, 2, [{"dtype": dtype, "parallel": {"type": engine}, "outputs": str(shared)}])
    losses = [numbers_in(outputs, "loss", "pixels") for outputs in (alone, shared)]
    torch.testing.assert_close(*losses, rtol=2 * rounding, atol=0)
    assert {value.dtype for value in state_of(shared).values() if value.is_floating_point()} == {torch.float32}


def refusals(world: World, folder: Path, cases: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What this rank is told of each case."""
    told = {}
    for name, changes in cases.items():
        with pytest.raises((UserError, RunError)) as caught:
            run_here(world, {**changes, "outputs": str(folder / name)})
        told[name] = str(caught.value)
    return told


def test_engines_that_share_clips_and_other_recipes_are_refused_on_all_ranks(tmp_path: Path) -> None:
    cases = {
        "sharing": {"parallel": {"type": "zero2-seq"}},
        "alone": {"parallel": {"type": "single"}},
    }
    first, second = on_ranks(refusals, 2, tmp_path, cases)
    assert first == second
    assert first["sharing"].startswith(
        "parallel.type: ranks of zero2-seq share each clip, 2 to one, and no autoencoder"
    )
    assert "ddp, zero2, zero3, or single for one process" in first["sharing"]
    assert first["alone"].startswith("parallel.type: single is one process, but 2 were started.")
    assert not list(tmp_path.iterdir())


def spoilt(world: World, changes: dict[str, Any]) -> str:
    """A run in which rank 1 loses its loss in step 3."""
    honest = Objective.__call__

    def lost(self: Objective, video: torch.Tensor, draws: Any, step: int) -> Outcome:
        outcome = honest(self, video, draws, step)
        return outcome._replace(total=outcome.total * (float("nan") if step == 2 and world.rank == 1 else 1.0))

    Objective.__call__ = lost  # type: ignore[method-assign]
    with pytest.raises(RunError) as caught:
        run_here(world, changes)
    Objective.__call__ = honest  # type: ignore[method-assign]
    return str(caught.value)


def test_a_gradient_that_is_lost_on_one_rank_stops_all_and_saves_nothing(tmp_path: Path) -> None:
    changes = {"parallel": {"type": "ddp"}, "checkpoint.every": 2, "log.every": 50, "outputs": str(tmp_path / "run")}
    first, second = on_ranks(spoilt, 2, changes)
    assert first == second
    assert first.startswith("step 3: the loss is not finite on rank ")
    assert [path.name for path in runfolder.checkpoints(tmp_path / "run")] == ["epoch0-global_step2"]


def start(folder: Path, changes: dict[str, Any], *words: str, **environment: str) -> subprocess.Popen[str]:
    """Through the command line, as processes of their own."""
    recipe = folder / "recipe.yaml"
    mine = {
        **WHOLE,
        "parallel": {"type": "ddp"},
        "discriminator": GAME,
        "batch_size": 2,
        "outputs": str(folder / "run"),
    }
    recipe.write_text(yaml.safe_dump(merged(RECIPE, {**mine, **changes})))
    return subprocess.Popen(
        [sys.executable, "-m", "vidgen.run", str(recipe), *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def finished(process: subprocess.Popen[str]) -> str:
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    return told


def test_a_run_that_was_killed_and_then_stopped_equals_one_that_was_left_alone(tmp_path: Path) -> None:
    """Two ranks killed in the midst of saving, which they do after each step, leave a discriminator to every
    checkpoint, and go on from the newest; SIGTERM ends them in order."""
    outputs, words = tmp_path / "run", ("--nproc", "2", "resume=latest")
    often = {"max_steps": 100_000, "checkpoint.every": 1, "checkpoint.keep": 2}
    launcher = start(tmp_path, often, *words)
    wait_for(outputs / "checkpoints" / "epoch0-global_step2", launcher)
    for process in (launcher.pid, *ranks_of(launcher).values()):
        os.kill(process, signal.SIGKILL)
    launcher.communicate()
    left = runfolder.checkpoints(outputs)
    assert left and all((outputs / saving.FOLDER / "checkpoints" / path.name).is_dir() for path in left)
    launcher = start(tmp_path, often, *words)
    wait_until(lambda: runfolder.latest(outputs) not in (None, left[-1]), launcher)
    launcher.send_signal(signal.SIGTERM)
    assert "stopped by SIGTERM at step" in finished(launcher)
    last = runfolder.step_of(runfolder.find_checkpoint(outputs))
    on_ranks(train, 2, [{"max_steps": last, "batch_size": 2, "outputs": str(tmp_path / "whole")}])
    assert_same_run(tmp_path / "whole", outputs)


def test_tasks_of_slurm_train_both_networks(tmp_path: Path) -> None:
    """Rank 0 serves the store by which ranks meet, once for both engines."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    slurm = {"SLURM_NTASKS": "2", "SLURM_STEP_NODELIST": "localhost", "SLURM_JOB_ID": "7", "MASTER_PORT": port}
    tasks = [start(tmp_path, {"max_steps": 1}, **slurm, SLURM_PROCID=one) for one in "01"]
    for task in tasks:
        finished(task)
    assert len(numbers_in(tmp_path / "run", "discriminator")) == 1
