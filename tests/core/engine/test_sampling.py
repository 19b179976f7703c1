"""The sample job: files that are right, the same whatever else is sampled, and never made twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest
import torch
import vidgen
from tiny_run import RECIPE, merged
from vidgen import RecipeError, UserError
from vidgen.engine import media

Train = Callable[..., Path]
PROMPTS = ["a red circle moving left", "a blue square moving up", "a green triangle moving down"]


@pytest.fixture
def trained(train: Train) -> Path:
    """A run of two steps; sampling from it is well defined, if not pretty."""
    return train("trained", max_steps=2)


@pytest.fixture
def sample(trained: Path, tmp_path: Path) -> Callable[..., Path]:
    """Sample from the trained run."""

    def run(outputs: str = "samples", **changes: Any) -> Path:
        recipe = {"job": "sample", "checkpoint": str(trained), "prompts": PROMPTS, "seed": 5, **changes}
        vidgen.run(vidgen.load_recipe({**recipe, "outputs": str(tmp_path / outputs)}))
        return tmp_path / outputs

    return run


def clips(folder: Path) -> dict[str, torch.Tensor]:
    return {path.name: media.read(path) for path in sorted([*folder.glob("*.mp4"), *folder.glob("*.png")])}


def test_every_prompt_becomes_a_clip_with_its_provenance(sample: Callable[..., Path]) -> None:
    folder = sample(upscale=2, save_fps=5)
    assert list(clips(folder)) == [f"sample_{index:04d}.mp4" for index in range(3)]
    with av.open(str(folder / "sample_0001.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, float(stream.average_rate or 0)) == ("h264", "yuv420p", 5.0)
        assert (stream.frames, stream.height, stream.width) == (2, 16, 32)
    origin = media.provenance(folder / "sample_0001.mp4")
    assert origin["prompt"] == PROMPTS[1] and origin["seed"] == 5
    assert len(origin["recipe"]) == 12 and len(origin["weights"]) == 12


def test_a_single_frame_is_a_png_with_its_provenance(train: Train, tmp_path: Path) -> None:
    run = train("stills", max_steps=1, num_frames=1, sample={"prompts": PROMPTS[:1]})
    (path,) = (run / "samples").rglob("*.png")
    assert media.read(path).shape == (3, 1, 8, 16)
    assert media.provenance(path)["prompt"] == PROMPTS[0]


@pytest.mark.parametrize("batch_size", [2, 3])
def test_a_sample_is_the_same_whatever_the_batch_size(sample: Callable[..., Path], batch_size: int) -> None:
    """Up to the last bit of arithmetic in another order: at most one grey level."""
    alone, together = clips(sample("one")), clips(sample("many", batch_size=batch_size))
    assert alone.keys() == together.keys()
    for name in alone:
        assert (alone[name].int() - together[name].int()).abs().max() <= 2


def test_a_sample_does_not_depend_on_what_else_is_sampled(sample: Callable[..., Path]) -> None:
    among = clips(sample("all"))["sample_0002.mp4"]
    alone = clips(sample("last", prompts=PROMPTS[2:]))["sample_0000.mp4"]
    assert (among.int() - alone.int()).abs().max() <= 2


def test_repeats_and_repeated_prompts_differ(sample: Callable[..., Path]) -> None:
    made = clips(sample(prompts=[PROMPTS[0], PROMPTS[0]], num_samples=2))
    assert list(made) == ["sample_0000-0.mp4", "sample_0000-1.mp4", "sample_0001-0.mp4", "sample_0001-1.mp4"]
    first, *others = made.values()
    assert all((first.int() - other.int()).abs().max() > 8 for other in others)


def test_seeds_and_guidance_change_samples(sample: Callable[..., Path]) -> None:
    base = clips(sample("base", prompts=PROMPTS[:1]))["sample_0000.mp4"]
    other_seed = clips(sample("seed", prompts=PROMPTS[:1], seed=6))["sample_0000.mp4"]
    assert (base.int() - other_seed.int()).abs().max() > 8


def test_what_is_there_is_not_made_again(sample: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    folder = sample()
    (folder / "sample_0001.mp4").unlink()
    kept = (folder / "sample_0000.mp4").stat().st_mtime_ns
    sample()
    assert (folder / "sample_0000.mp4").stat().st_mtime_ns == kept
    assert (folder / "sample_0001.mp4").exists()
    assert "there already, and stay as they are: 2" in caplog.text and "other settings" not in caplog.text


@pytest.mark.parametrize("change", [{"seed": 6}, {"prompts": ["another"]}, {"ema": False}, {"save_fps": 3}])
def test_what_was_made_otherwise_is_neither_passed_off_nor_lost(
    sample: Callable[..., Path], change: dict[str, Any]
) -> None:
    folder = sample()
    before = (folder / "sample_0000.mp4").read_bytes()
    with pytest.raises(UserError, match=r"come from other settings, weights or prompts \(.*sample_0000\.mp4"):
        sample(**change)
    assert (folder / "sample_0000.mp4").read_bytes() == before


def test_more_prompts_and_another_batch_size_keep_what_is_there(sample: Callable[..., Path]) -> None:
    sample(prompts=PROMPTS[:2])
    assert len(clips(sample(batch_size=3))) == 3


def test_a_recipe_with_nothing_to_sample_from_says_so() -> None:
    with pytest.raises(RecipeError, match=r"checkpoint: missing\n    a run's folder, such as outputs/quickstart"):
        vidgen.load_recipe({"job": "sample", "prompts": PROMPTS})


def test_negative_prompts_and_files_of_prompts_work(sample: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text(f"{PROMPTS[0]}\n  {PROMPTS[1]} \n", encoding="utf-8")
    settings: dict[str, Any] = {"prompts": [], "prompt_path": str(tmp_path / "prompts.txt")}
    plain = clips(sample("plain", **settings))
    steered = clips(sample("steered", negative_prompt="a yellow square moving right", **settings))
    assert list(plain) == list(steered) == ["sample_0000.mp4", "sample_0001.mp4"]


def test_an_empty_file_of_prompts_is_refused(sample: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("")
    with pytest.raises(UserError, match=r"prompts\.txt holds no prompt"):
        sample(prompts=[], prompt_path=str(tmp_path / "prompts.txt"))


def test_no_prompt_at_all_is_refused(sample: Callable[..., Path]) -> None:
    with pytest.raises(RecipeError, match="give prompts or prompt_path"):
        sample(prompts=[])


def test_sections_come_from_the_checkpoint_unless_given(trained: Path) -> None:
    recipe = {"job": "sample", "checkpoint": str(trained), "prompts": PROMPTS, "scheduler": {"cfg_scale": 2.5}}
    options = vidgen.load_recipe(recipe).job.options
    assert options.model.options.hidden_size == RECIPE["model"]["hidden_size"]
    assert (options.scheduler.options.cfg_scale, options.scheduler.options.num_sampling_steps) == (2.5, 2)


def test_a_scheduler_that_reads_the_model_otherwise_is_refused(sample: Callable[..., Path]) -> None:
    """The model learned a velocity; taken for noise it would give noise, without a word."""
    with pytest.raises(UserError, match=r"iddpm takes .* for epsilon, but .*global_step2 learned to predict velocity"):
        sample(scheduler={"type": "iddpm", "learn_sigma": False})


def test_another_scheduler_for_the_same_prediction_may_sample(train: Train, sample: Callable[..., Path]) -> None:
    trained = train("noise", max_steps=1, scheduler={"type": "iddpm", "learn_sigma": False})
    found = sample(
        checkpoint=str(trained), scheduler={"type": "iddpm-speed", "learn_sigma": False, "num_sampling_steps": 2}
    )
    assert len(clips(found)) == 3


def test_averaged_weights_are_taken_unless_told_otherwise(sample: Callable[..., Path]) -> None:
    averaged, raw = sample("averaged"), sample("raw", ema=False)
    hashes = [media.provenance(folder / "sample_0000.mp4")["weights"] for folder in (averaged, raw)]
    assert hashes[0] != hashes[1]


def test_a_folder_without_checkpoints_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no checkpoint in"):
        vidgen.load_recipe({"job": "sample", "checkpoint": str(tmp_path), "prompts": PROMPTS})


def test_a_clip_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "clip"
    target.with_suffix(".mp4").mkdir()
    with pytest.raises(vidgen.RunError, match="could not be written"):
        media.write(target, torch.zeros(3, 2, 8, 8, dtype=torch.uint8), 8.0, {})
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_odd_sizes_survive_the_codec(tmp_path: Path) -> None:
    video = torch.full((3, 3, 7, 13), 128, dtype=torch.uint8)
    path = media.write(tmp_path / "odd", video, 7.5, {"prompt": "grey"})
    assert media.read(path).shape[2:] == (8, 14)


def test_pixels_are_rounded_to_the_nearest(tmp_path: Path) -> None:
    video = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).view(1, 1, 1, 5)
    assert media.to_pixels(video).flatten().tolist() == [0, 0, 128, 255, 255]
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 1, 256)
    assert torch.equal(media.to_pixels(media.to_unit(levels)), levels)


def test_sampling_within_training_equals_sampling_from_its_checkpoint(train: Train, tmp_path: Path) -> None:
    run = train("both", max_steps=2, sample={"prompts": PROMPTS, "batch_size": 3})
    recipe = merged({"job": "sample", "prompts": PROMPTS, "batch_size": 3, "seed": 7}, {"checkpoint": str(run)})
    vidgen.run(vidgen.load_recipe({**recipe, "outputs": str(tmp_path / "after")}))
    within, after = clips(run / "samples" / "step2"), clips(tmp_path / "after")
    assert within.keys() == after.keys()
    assert all(torch.equal(within[name], after[name]) for name in within)


def test_real_and_reconstructed_clips_lie_beside_samples_of_their_captions(train: Train) -> None:
    run = train("seen", max_steps=1, sample={"from_data": 2})
    made = clips(run / "samples" / "step1")
    names = [f"sample_{index:04d}{suffix}.mp4" for index in range(2) for suffix in ("", "_real", "_reconstructed")]
    assert sorted(made) == sorted(names)
    assert torch.equal(made["sample_0000_real.mp4"], made["sample_0000_reconstructed.mp4"])
    assert "reconstruction_psnr,99.0" in (run / "scores.csv").read_text()


def test_clips_are_compared_with_their_own_sample_after_an_interruption(train: Train) -> None:
    """One sample is missing and made again: order and scores are those of the plan, not of the making."""
    changes: dict[str, Any] = {"max_steps": 1, "sample": {"from_data": 3}}
    run = train("seen", **changes)
    before = (run / "scores.csv").read_text()
    (run / "samples" / "step1" / "sample_0000.mp4").unlink()
    train("seen", resume="latest", **changes)
    assert (run / "scores.csv").read_text() == before
