"""What can go wrong in a run: one paragraph on stderr, the right exit status, and nothing already saved lost."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import vidgen
import yaml
from filelock import FileLock
from safetensors.torch import load_file, save_file
from tiny_run import RECIPE, merged, tensors_of
from vidgen import RunError, UserError, runfolder
from vidgen.engine import train as train_module

Train = Callable[..., Path]


def run_command(folder: Path, changes: dict[str, object], **settings: object) -> subprocess.CompletedProcess[str]:
    """The small recipe, changed, through the command line."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(merged(RECIPE, {"outputs": str(folder / "run"), **changes})))
    command = [sys.executable, "-m", "vidgen.run", str(recipe)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, **settings)  # type: ignore[call-overload]


def spoil_losses(monkeypatch: pytest.MonkeyPatch, at_step: int, factor: float) -> None:
    """Multiply the loss of one step of every run."""
    honest = train_module.Training.losses

    def spoilt(self: train_module.Training, batch: object) -> dict[str, torch.Tensor]:
        losses = honest(self, batch)  # type: ignore[arg-type]
        return {name: value * factor if self.step + 1 == at_step else value for name, value in losses.items()}

    monkeypatch.setattr(train_module.Training, "losses", spoilt)


def test_a_loss_that_is_not_finite_stops_the_run_before_it_is_saved(
    train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spoil_losses(monkeypatch, at_step=5, factor=float("nan"))
    with pytest.raises(RunError, match=r"step 5: the loss is not finite .* on rows \d") as caught:
        train(checkpoint__every=2)
    newest = runfolder.latest(tmp_path / "run")
    assert newest is not None and runfolder.step_of(newest) == 4
    assert str(newest) in str(caught.value)
    assert all(tensor.isfinite().all() for tensor in tensors_of(tmp_path / "run", 4).values())


def test_the_step_is_named_even_when_losses_are_read_back_seldom(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil_losses(monkeypatch, at_step=3, factor=float("inf"))
    with pytest.raises(RunError, match="step 3: the loss is not finite"):
        train(log__every=50)


def test_an_exploding_loss_stops_the_run(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil_losses(monkeypatch, at_step=25, factor=1e6)
    with pytest.raises(RunError, match="step 25: the loss exploded"):
        train(max_steps=30)


def test_a_full_disk_leaves_earlier_checkpoints_whole(tmp_path: Path) -> None:
    """A file-size limit makes every later write fail as a full disk does, in the middle of a file."""
    done = run_command(tmp_path, {"max_steps": 2})
    assert done.returncode == 0, done.stderr
    newest = runfolder.latest(tmp_path / "run")
    before = tensors_of(tmp_path / "run", 2)

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))

    full = run_command(tmp_path, {"max_steps": 4, "resume": "latest"}, preexec_fn=small_files_only)
    assert full.returncode == 1, full.stderr
    assert "could not be written" in full.stderr and f"{newest} is intact" in full.stderr
    assert "Traceback" not in full.stderr
    assert runfolder.latest(tmp_path / "run") == newest
    after = tensors_of(tmp_path / "run", 2)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))
    assert run_command(tmp_path, {"max_steps": 4, "resume": "latest"}).returncode == 0


def test_a_folder_that_cannot_be_written_is_said(train: Train, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"outputs: .*file/run cannot be written"):
        train("file/run")


def test_a_second_run_in_one_folder_is_refused(train: Train, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"), pytest.raises(UserError, match="another run is writing to"):
        train("run")


def test_a_checkpoint_of_another_model_is_refused_with_names(train: Train) -> None:
    train(max_steps=1)
    with pytest.raises(UserError, match=r"holds weights of another model than STDiT") as caught:
        train(resume="latest", force=True, model__hidden_size=24)
    assert "in the file" in str(caught.value) and "in the model" in str(caught.value)
    with pytest.raises(UserError, match=r"not in the file .*blocks\.1\."):
        train(resume="latest", force=True, model__depth=2)


def test_a_truncated_checkpoint_is_refused(train: Train, tmp_path: Path) -> None:
    outputs = train(max_steps=1)
    weights = outputs / "checkpoints" / "epoch0-global_step1" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(RunError, match=r"model\.safetensors is damaged or cut short"):
        train(resume="latest")


def test_a_damaged_state_is_refused(train: Train) -> None:
    outputs = train(max_steps=1)
    (outputs / "checkpoints" / "epoch0-global_step1" / "state.json").write_text('{"epoch": ')
    with pytest.raises(RunError, match=r"state\.json cannot be read"):
        train(resume="latest")


def test_a_checkpoint_that_learned_another_target_is_refused(train: Train) -> None:
    outputs = train(max_steps=1)
    path = outputs / "checkpoints" / "epoch0-global_step1" / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "prediction_type": "epsilon"}))
    with pytest.raises(UserError, match=r"rflow takes .* for velocity, but .* learned to predict epsilon"):
        train(resume="latest")


def test_half_written_checkpoints_are_never_seen_and_are_cleared_away(train: Train) -> None:
    outputs = train(max_steps=1)
    left = outputs / "checkpoints" / ".saving-epoch0-global_step2"
    (left / "model").mkdir(parents=True)
    save_file({"x": torch.ones(1)}, left / "model" / "model.safetensors")
    newest = runfolder.latest(outputs)
    assert newest is not None and runfolder.step_of(newest) == 1
    train(max_steps=2, resume="latest")
    assert not left.exists()


def test_only_the_newest_checkpoints_are_kept(train: Train) -> None:
    outputs = train(checkpoint__every=1, checkpoint__keep=2)
    assert [runfolder.step_of(path) for path in runfolder.checkpoints(outputs)] == [5, 6]


def test_an_empty_dataset_is_refused_before_anything_is_written(train: Train, tmp_path: Path) -> None:
    table = tmp_path / "clips.csv"
    table.write_text("path,text,num_frames,height,width,fps\n")
    with pytest.raises(UserError) as caught:
        train(dataset={"type": "VideoText", "data_path": str(table)})
    assert "clips.csv" in str(caught.value) and not (tmp_path / "run" / "recipe.yaml").exists()


def test_too_few_rows_for_one_batch_say_so(train: Train) -> None:
    with pytest.raises(UserError, match="8"):
        train(batch_size=9)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_unreadable_video_stops_the_run_with_its_name(train: Train, tmp_path: Path, num_workers: int) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video at all" * 100)
    table = tmp_path / "clips.csv"
    table.write_text("path,text,num_frames,height,width,fps\n" + "broken.mp4,nothing,20,16,16,8\n" * 3)
    with pytest.raises(RunError, match=r"broken\.mp4"):
        train(dataset={"type": "VideoText", "data_path": str(table)}, num_workers=num_workers)


def test_an_image_where_a_video_is_expected_is_the_users_mistake(train: Train, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (20, 16), "red").save(tmp_path / "still.png")
    table = tmp_path / "clips.csv"
    table.write_text("path,text\n" + "still.png,a red field\n" * 3)
    with pytest.raises(UserError, match=r"still\.png|num_frames"):
        train(dataset={"type": "VideoText", "data_path": str(table)})


def test_no_step_waits_for_the_device(recipe_of: Callable[..., vidgen.recipe.Recipe], tmp_path: Path) -> None:
    """D10: between loggings, nothing reads a number back from the device."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from vidgen.engine.feed import Feed
    from vidgen.engine.parts import shared_context
    from vidgen.interfaces import Context

    class CountReads(TorchDispatchMode):
        reads = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            CountReads.reads += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.item.default)
            return func(*args, **(kwargs or {}))

    recipe = recipe_of()
    context = shared_context(recipe.job.options, Context(registry=recipe.registry, recipe=recipe.plain()))
    training = train_module.TrainJob(recipe.job.options, context)
    state = train_module.Training(training.recipe, training.context, None)
    feed = Feed(state.dataset, state.stream, recipe.job.options, seed=0, outputs=tmp_path, device=torch.device("cpu"))
    batch = next(iter(feed))
    state.train_step([batch])
    with CountReads():
        state.train_step([batch])
    assert CountReads.reads == 0


def test_checkpoints_hold_no_pickle(train: Train) -> None:
    """D11: safetensors and JSON, nothing else."""
    outputs = train(max_steps=1)
    files = [path for path in (outputs / "checkpoints").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json"}
    assert load_file(outputs / "checkpoints" / "epoch0-global_step1" / "model" / "model.safetensors")
