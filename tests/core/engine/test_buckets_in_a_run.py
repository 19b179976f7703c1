"""Training over clips of many sizes: resumed exactly, from kept features the same, with a file that cannot be read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
from tiny_run import RECIPE, assert_same_state, loss_log, merged
from vidgen import UserError
from vidgen.engine import media

Train = Callable[..., Path]
SIZES = {"tiny": [[8, 12], [12, 8]], "small": [[16, 16], [12, 20]]}
BUCKETS = {"small": {3: [0.5, 1]}, "tiny": {1: [1.0, 2], 3: [1.0, 2]}}
STDIT3 = {"type": "STDiT3", "hidden_size": 24, "depth": 1, "num_heads": 2, "patch_size": [1, 1, 1]}


@pytest.fixture
def changes(tmp_path: Path) -> dict[str, Any]:
    """Twelve videos and stills of three shapes, one of them cut off."""
    lines = ["path,text,num_frames,height,width,fps"]
    for row in range(12):
        frames = 1 if row % 4 == 0 else 5
        size = ((12, 20), (20, 12), (18, 18))[row % 3]
        clip = torch.randint(0, 255, (3, frames, *size), generator=torch.Generator().manual_seed(row))
        path = media.write(tmp_path / f"clip{row}", clip.to(torch.uint8), 8.0, {})
        lines.append(f"{path.name},clip {row},{frames},{size[0]},{size[1]},8")
    (tmp_path / "clip7.mp4").write_bytes((tmp_path / "clip7.mp4").read_bytes()[:60])
    (tmp_path / "clips.csv").write_text("\n".join(lines))
    return {
        "dataset": {"type": "VariableVideoText", "data_path": str(tmp_path / "clips.csv")},
        "bucketer": {"type": "bucket", "bucket_config": BUCKETS, "resolutions": SIZES, "drop_last": False},
        "vae": {"type": "pixel", "patch": [1, 4, 4]},
        "model": STDIT3,
        "num_frames": None,
        "image_size": None,
        "max_bad_fraction": 0.2,
        "max_steps": 12,
    }


def bad_rows(run: Path) -> set[int]:
    return {json.loads(line)["row"] for line in (run / "bad_samples.jsonl").read_text().splitlines()}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_run_over_buckets_resumes_exactly_in_any_epoch(
    train: Train, changes: dict[str, Any], num_workers: int
) -> None:
    whole = train("whole", **changes, num_workers=num_workers)
    train("parts", **{**changes, "max_steps": 7})
    parts = train("parts", **changes, num_workers=num_workers, resume="latest")
    assert_same_state(whole, parts, step=12)
    assert loss_log(whole) == loss_log(parts)
    assert bad_rows(whole) == bad_rows(parts) == {7}


def test_kept_features_of_buckets_give_the_same_losses(train: Train, changes: dict[str, Any], tmp_path: Path) -> None:
    """Each (row, frames, size) has its own entry."""
    plain = train("plain", **changes)
    features = {"cache": str(tmp_path / "cache"), "epochs": 4}
    encode = {"job": "encode", "outputs": str(tmp_path / "encode"), "features": features}
    vidgen.run(vidgen.load_recipe(merged(RECIPE, {**changes, **encode})))
    kept = train("kept", **changes, features=features)
    assert_same_state(plain, kept, step=12)
    written = train(
        "written", **changes, features={"cache": str(tmp_path / "other"), "mode": "write-through", "epochs": 4}
    )
    assert_same_state(plain, written, step=12)


@pytest.mark.parametrize("bucketer", [{"type": "pack", "token_budget": 60}, {"type": "pad", "max_pixels": 320}])
def test_batches_of_different_sizes_train_and_resume(
    train: Train, changes: dict[str, Any], bucketer: dict[str, Any]
) -> None:
    settings = {**changes, "bucketer": {**bucketer, "size_multiple": 4, "num_frames": [3, 1]}, "batch_size": 3}
    whole = train("whole", **settings)
    train("parts", **{**settings, "max_steps": 5})
    assert_same_state(whole, train("parts", **settings, resume="latest"), step=12)


def test_a_model_that_takes_one_size_a_batch_is_refused_before_anything_is_loaded(
    train: Train, changes: dict[str, Any], tmp_path: Path
) -> None:
    latte = {**STDIT3, "type": "Latte", "condition": "text"}
    settings = {**changes, "bucketer": {"type": "pack", "token_budget": 60}, "model": latte}
    settings |= {"image_size": [8, 12], "num_frames": 3}
    with pytest.raises(UserError, match="batches of pack hold clips of different sizes, which Latte cannot be trained"):
        train(**settings)


def test_a_dry_run_of_buckets_counts_its_steps(changes: dict[str, Any]) -> None:
    loaded = vidgen.load_recipe(merged(RECIPE, {**changes, "max_steps": None, "epochs": 2}))
    context = vidgen.interfaces.Context(registry=loaded.registry, recipe=loaded.plain())
    assert "2 epochs of" in loaded.registry.build(loaded.job, context).dry_run()["steps"]
