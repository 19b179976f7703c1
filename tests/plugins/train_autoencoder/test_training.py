"""`job: train-autoencoder` as a whole: resumed runs, both networks, what is frozen, evaluation."""

import csv
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
from tiny_run import assert_same_state, loss_log, tensors_of, wait_for
from vidgen import RunError, UserError, runfolder
from vidgen.engine.media import read
from vidgen.interfaces import Context

Train = Callable[..., Path]

GAME: dict[str, Any] = {"ndf": 3, "n_layers": 1, "lecam_loss_weight": 0.5, "gradient_penalty_loss_weight": 0.1}
ALL_LOSSES: dict[str, Any] = {
    "mixed_strategy": "mixed_video_image",
    "mixed_image_ratio": 0.5,
    "use_z_rec_loss": True,
    "use_image_identity_loss": True,
    "discriminator": GAME,
    "ema": {"decay": 0.8},
}


def columns(outputs: Path) -> dict[str, list[float]]:
    """metrics.csv by column."""
    with (outputs / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def assert_same_run(one: Path, other: Path, step: int) -> None:
    """Both networks, both optimizers, the average, LeCam's averages and the log agree bit for bit."""
    assert_same_state(one, other, step)
    assert_same_state(one / "discriminator", other / "discriminator", step)
    states = [runfolder.read_state(runfolder.find_checkpoint(outputs)) for outputs in (one, other)]
    for key in ("critic", "window", "position"):
        assert states[0][key] == states[1][key]
    assert states[0]["critic"]["ema"]["real"] != 0
    assert loss_log(one) == loss_log(other)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_run_in_two_parts_equals_one_run(train: Train, num_workers: int) -> None:
    whole = train("whole", num_workers=num_workers, **ALL_LOSSES)
    train("parts", num_workers=num_workers, max_steps=3, **ALL_LOSSES)
    parts = train("parts", num_workers=num_workers, resume="latest", **ALL_LOSSES)
    assert_same_run(whole, parts, step=4)


def test_a_run_killed_between_its_two_networks_goes_on_with_both(train: Train) -> None:
    """The discriminator of step 3 was on disk, the autoencoder not yet: both go on from step 2."""
    keep = {"checkpoint__every": 1, "checkpoint__keep": 1}
    whole = train("whole", **keep, **ALL_LOSSES)
    killed = train("killed", max_steps=2, **keep, **ALL_LOSSES)
    before = {name: killed / name for name in ("checkpoints", "metrics.csv")}
    for name, path in before.items():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, killed / f"{name}.kept")
    train("killed", max_steps=3, resume="latest", **keep, **ALL_LOSSES)
    for name, path in before.items():
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)
        (killed / f"{name}.kept").rename(path)
    left = killed / "discriminator" / "checkpoints" / ".saving-epoch1-global_step4"
    left.mkdir()
    train("killed", resume="latest", **keep, **ALL_LOSSES)
    assert_same_run(whole, killed, step=4)
    assert not left.exists()


def test_sigterm_saves_and_ends_cleanly(process: Callable[..., Any], tmp_path: Path) -> None:
    running = process(max_steps=100_000)
    wait_for(tmp_path / "run" / "metrics.csv", running)
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert "stopped by SIGTERM" in err and "Traceback" not in err
    saved = runfolder.latest(tmp_path / "run")
    assert saved is not None
    assert runfolder.step_of(saved) == int(columns(tmp_path / "run")["step"][-1])


def test_every_loss_is_told_by_name_and_the_loss_is_their_sum(train: Train) -> None:
    log = columns(train(**ALL_LOSSES))
    terms = ("latents", "identity", "pixels", "kl")
    for number, loss in enumerate(log["loss"]):
        assert loss == pytest.approx(sum(log[name][number] for name in terms), rel=1e-5)
    assert set(log["identity"]) > {0.0}  # of single frames alone
    assert all(log["adversarial"]) and all(log["discriminator"]) and all(0 < value < 2 for value in log["l1"])


def test_losses_fall(train: Train) -> None:
    log = columns(train(max_steps=60, dataset__rows=2, optimizer__lr=0.03))
    assert sum(log["pixels"][-5:]) < 0.5 * sum(log["pixels"][:5])


def test_the_discriminator_waits_for_its_start_and_for_clips_long_enough(train: Train) -> None:
    log = columns(train(discriminator={**GAME, "start": 2}))
    assert [value != 0 for value in log["adversarial"]] == [False, False, True, True]
    assert [value != 0 for value in log["discriminator"]] == [False, False, True, True]
    mixed = {"mixed_strategy": "mixed_video_image", "mixed_image_ratio": 0.5, "use_image_identity_loss": True}
    log = columns(train("clips", num_frames=6, max_steps=6, discriminator={**GAME, "type": "3d"}, **mixed))
    played = [value != 0 for value in log["discriminator"]]
    assert played == [value == 0 for value in log["identity"]] and len(set(played)) == 2


def test_the_game_leaves_the_autoencoders_other_losses_and_draws_alone(train: Train) -> None:
    """The first step's errors are the same with and without a discriminator."""
    plain, game = columns(train("plain", max_steps=1)), columns(train("game", max_steps=1, discriminator=GAME))
    assert plain["pixels"] == game["pixels"] and plain["kl"] == game["kl"] and plain["grad_norm"] != game["grad_norm"]


def test_a_frozen_part_keeps_its_weights(train: Train) -> None:
    outputs = train(vae__freeze_vae_2d=True, checkpoint__every=1)
    first, last = tensors_of(outputs, 2), tensors_of(outputs, 4)
    changed = {name.split(".")[0] for name in first if not torch.equal(first[name], last[name])}
    assert "model/temporal_vae" in changed and "model/spatial_vae" not in changed


def test_low_precision_trains_and_keeps_float32_weights(train: Train) -> None:
    outputs = train(dtype="bf16", **ALL_LOSSES)
    assert all(tensor.dtype == torch.float32 for tensor in tensors_of(outputs, 4).values())
    assert all(value > 0 for value in columns(outputs)["pixels"])


def test_evaluation_writes_a_sheet_and_scores_and_changes_nothing(train: Train) -> None:
    evaluate = {"every": 2, "clips": 2, "frames": 3, "upscale": 2, "dataset": {"type": "moving-shapes", "seed": 5}}
    watched = train("watched", evaluate=evaluate, ema={"decay": 0.8})
    assert_same_state(train("plain", ema={"decay": 0.8}), watched, step=4)
    for step in (2, 4):
        sheet = read(watched / "samples" / f"step{step}" / "reconstructions.png")
        assert sheet.shape == (3, 1, 2 * (2 * 24 + 4) + 8, 3 * 32 + 2 * 2)
    with (watched / "scores.csv").open(newline="") as file:
        scores = [(row["step"], row["name"]) for row in csv.DictReader(file)]
    assert scores == [(step, f"reconstruction_{name}") for step in "24" for name in ("psnr", "ssim")]


def test_trained_weights_are_taken_by_name_of_the_run(train: Train) -> None:
    outputs = train(max_steps=1)
    log = columns(train("again", max_steps=1, vae__from_pretrained=str(outputs)))
    assert log["pixels"] != columns(outputs)["pixels"]


def test_a_dry_run_tells_sizes_and_starts_nothing(recipe_of: Callable[..., Any], tmp_path: Path) -> None:
    recipe = recipe_of(discriminator=GAME)
    job = recipe.registry.build(recipe.job, Context(registry=recipe.registry, recipe=recipe.plain()))
    told = job.dry_run()
    assert told["latent size"] == "4 x 2 x 6 x 8" and told["length"] == "4 steps" and "parameters" in told
    assert told["discriminator"] == "544 parameters" and not (tmp_path / "run").exists()


def test_an_autoencoder_without_parts_is_refused_in_words(train: Train) -> None:
    with pytest.raises(
        UserError, match=r"vae: pixel can encode and decode, but not be trained by this job: .*Pipeline"
    ):
        train(vae={"type": "pixel", "patch": [1, 4, 4]})


WAVELETS = {
    "type": "WFVAE",
    "base_channels": 32,
    "encoder_energy_flow_hidden_size": 32,
    "decoder_energy_flow_hidden_size": 32,
    "latent_dim": 3,
}
IMAGES = {"mixed_strategy": "mixed_video_image", "mixed_image_ratio": 0.5}


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        (
            {"use_image_identity_loss": True},
            r"^use_image_identity_loss: WFVAE has no spatial latents: .*Set it to false",
        ),
        (
            {"use_z_rec_loss": True},
            r"^use_z_rec_loss: WFVAE has no spatial latents: .*Set it to false; use_real_rec_loss",
        ),
        (
            {"use_image_identity_loss": True, "use_z_rec_loss": True},
            r"^use_z_rec_loss and use_image_identity_loss: WFVAE has no spatial latents: .*Set both to false",
        ),
    ],
)
def test_losses_of_spatial_latents_are_refused_where_there_are_none(
    recipe_of: Callable[..., Any], tmp_path: Path, losses: dict[str, bool], told: str
) -> None:
    recipe = recipe_of(vae=WAVELETS, num_frames=5, image_size=[16, 24], **IMAGES, **losses)
    context = Context(registry=recipe.registry, recipe=recipe.plain())
    with pytest.raises(UserError, match=told):
        recipe.registry.build(recipe.job, context).dry_run()
    with pytest.raises(UserError, match=told):
        vidgen.run(recipe)
    assert not list((tmp_path / "run").glob("checkpoints/*"))


def test_latents_unlike_the_spatial_ones_learn_by_one_loss_and_not_by_the_other(train: Train) -> None:
    """Five channels of latents, four of spatial ones."""
    other = {"vae__vae_temporal__embed_dim": 5, "max_steps": 1}
    train(use_z_rec_loss=True, **other)
    told = r"^use_image_identity_loss: VideoAuto\w+ makes spatial latents 4 x 1 x 2 x 2 and latents 5 x 1 x 2 x 2 of a"
    with pytest.raises(UserError, match=told):
        train("other", use_image_identity_loss=True, **IMAGES, **other)


def test_an_autoencoder_of_wavelets_learns_from_pixels(train: Train) -> None:
    outputs = train(vae=WAVELETS, num_frames=5, image_size=[16, 24], max_steps=1)
    assert columns(outputs)["pixels"][0] > 0


def test_weights_of_low_precision_are_refused(train: Train) -> None:
    with pytest.raises(UserError, match=r"VideoAutoencoderPipeline keeps its weights in bfloat16.*dtype at fp32"):
        train(vae__dtype="bf16")


def test_perceptual_weights_that_are_not_there_are_named_before_training(train: Train, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"perceptual_weights: no such file: .*vgg\.pth"):
        train(perceptual_loss_weight=0.1, perceptual_weights=[str(tmp_path / "vgg.pth")])


def test_clips_that_are_too_short_say_so(train: Train, clips: Path, tmp_path: Path) -> None:
    table = tmp_path / "clips.csv"
    table.write_text("path,text\nclips/a.mp4,one\nclips/sub/b.mp4,two\n")
    with pytest.raises(UserError, match=r"videos of fewer than 9 frames \(the longest has 5\)"):
        train(dataset={"type": "VideoText", "data_path": str(table)}, num_frames=9)
    with pytest.raises(UserError, match=r"evaluate: no row of the dataset has 4 frames"):
        evaluate = {"dataset": {"type": "VideoText", "data_path": str(table)}}
        (table).write_text("path,text,num_frames\nclips/sub/b.mp4,two,3\n")
        train("short", num_frames=4, evaluate=evaluate, max_steps=1)


def test_a_game_cannot_be_joined_in_the_middle(train: Train) -> None:
    train(max_steps=1)
    with pytest.raises(UserError, match=r"saved without a discriminator .* vae\.from_pretrained="):
        train(resume="latest", discriminator=GAME)


def test_a_folder_with_a_run_in_it_is_not_started_over(train: Train) -> None:
    train(max_steps=1)
    with pytest.raises(UserError, match=r"already holds a run, at epoch0-global_step1\. resume=latest goes on"):
        train(max_steps=2)


def test_a_damaged_discriminator_is_refused(train: Train) -> None:
    outputs = train(max_steps=1, discriminator=GAME)
    weights = outputs / "discriminator" / "checkpoints" / "epoch0-global_step1" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-40])
    with pytest.raises(RunError, match=r"model\.safetensors is damaged or cut short"):
        train(resume="latest", discriminator=GAME)


def test_a_lost_discriminator_ends_the_run_before_it_is_saved(train: Train) -> None:
    """Its own gradient is watched like that of the autoencoder."""
    outputs = train(max_steps=1, discriminator=GAME)
    state = outputs / "checkpoints" / "epoch0-global_step1" / "state.json"
    data = json.loads(state.read_text())
    data["critic"]["ema"] = {"real": float("nan"), "fake": 0.0}
    state.write_text(json.dumps(data))
    with pytest.raises(RunError, match=r"step 2: the loss is not finite"):
        train(resume="latest", discriminator=GAME)
