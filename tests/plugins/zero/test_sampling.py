"""Samples from within a training of several ranks."""

from pathlib import Path

from parallel_run import run_here
from ranks import on_ranks
from vidgen.engine import media
from vidgen.mesh import World

ENGINES = ("ddp", "zero2", "zero3", "zero2-seq")
SAMPLE = {"prompts": ["a red circle", "a blue square", "a green star"], "every": 1}


def train(world: World, folder: Path) -> None:
    """Two steps, and three samples after each."""
    engines = ENGINES if world.size > 1 else ("single",)
    for name in engines:
        changes = {"max_steps": 2, "sample": SAMPLE, "parallel": {"type": name}, "outputs": str(folder / name)}
        share = world.size if name != "zero2-seq" else 1
        run_here(world, {**changes, "batch_size": 4 // share})


def test_ranks_sample_what_one_process_does(tmp_path: Path) -> None:
    """Weights are whole while they sample, and shared out in the step after; names of the weights agree, too."""
    train(World(), tmp_path)
    on_ranks(train, 2, tmp_path)
    for step in ("step1", "step2"):
        alone = sorted((tmp_path / "single" / "samples" / step).glob("*.mp4"))
        assert len(alone) == 3
        for name in ENGINES:
            for file in alone:
                made = tmp_path / name / "samples" / step / file.name
                expected = media.read(file).int()
                assert (media.read(made).int() - expected).abs().max() <= 4
