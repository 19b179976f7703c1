"""Training with some frames given: which ones is drawn by (seed, epoch, row), and only the others are learned."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
from attrs import evolve
from tiny_run import RECIPE, assert_same_state, loss_log, merged
from vidgen import RecipeError, UserError
from vidgen.engine.feed import Feed
from vidgen.engine.parts import shared_context
from vidgen.engine.train import Training
from vidgen.interfaces import Context
from vidgen.testing import write_clip

Train = Callable[..., Path]
STDIT2 = {"type": "STDiT2", "hidden_size": 24, "depth": 1, "num_heads": 2, "patch_size": [1, 1, 1]}
MASKED = {"model": STDIT2, "num_frames": 5, "mask_ratios": {"image_head": 0.5, "image_tail": 0.5}}


def training(tmp_path: Path, **changes: Any) -> Training:
    recipe = vidgen.load_recipe(merged({**RECIPE, "outputs": str(tmp_path)}, {**MASKED, **changes}))
    context = shared_context(recipe.job.options, Context(registry=recipe.registry, recipe=recipe.plain()))
    return Training(recipe.job.options, evolve(context, batch_size=3), None)


def masks(state: Training, tmp_path: Path, batches: int = 3) -> dict[tuple[int, int], list[bool]]:
    seen: dict[tuple[int, int], list[bool]] = {}
    scheduler, feed = (
        state.parts.scheduler,
        Feed(state.dataset, state.stream, state.recipe, seed=0, outputs=tmp_path, device=torch.device("cpu")),
    )
    for batch, _ in zip(feed, range(batches), strict=False):
        told: list[torch.Tensor] = []

        def losses(model: Any, x: torch.Tensor, *_: Any, mask: torch.Tensor, told: Any = told, **__: Any) -> Any:
            told.append(mask)
            return {"loss": x.flatten(1).sum(1)}

        state.parts = evolve(state.parts, scheduler=type("Spy", (), {"training_losses": staticmethod(losses)})())
        state.losses(batch)
        seen |= {(batch.epoch, row): mask.tolist() for row, mask in zip(batch.rows, told[0], strict=True)}
    state.parts = evolve(state.parts, scheduler=scheduler)
    return seen


def test_masks_depend_on_epoch_and_row_alone(tmp_path: Path) -> None:
    one = masks(training(tmp_path / "a"), tmp_path, batches=6)
    other = masks(training(tmp_path / "b", batch_size=3, seed=7), tmp_path, batches=6)
    assert one == other and len(one) == 18
    assert {tuple(mask) for mask in one.values()} == {(False, *[True] * 4), (*[True] * 4, False)}
    assert any(one[0, row] != one[1, row] for epoch, row in one if epoch == 1 and (0, row) in one)


def test_a_run_with_given_frames_resumes_exactly(train: Train) -> None:
    whole = train("whole", **MASKED)
    train("parts", **MASKED, max_steps=3)
    assert_same_state(whole, train("parts", **MASKED, resume="latest"), step=6)
    assert loss_log(whole) != loss_log(train("none", **{**MASKED, "mask_ratios": None}))


def test_a_model_that_cannot_be_told_is_refused(train: Train) -> None:
    with pytest.raises(UserError, match="mask_ratios: Latte cannot be told which frames are given"):
        train(mask_ratios={"image_head": 0.1}, model={**STDIT2, "type": "Latte", "condition": "text"})


def test_ratios_are_checked_with_the_recipe() -> None:
    with pytest.raises(RecipeError, match=r"mask_ratios: there are no masks called 'image_hed'(.|\n)*image_head"):
        vidgen.load_recipe(merged(RECIPE, {"mask_ratios": {"image_hed": 0.1}}))


@pytest.mark.parametrize(
    ("sample", "told"),
    [
        ({"prompts": ["a{bad"]}, "prompt 0: prompt: this is no JSON"),
        ({"prompts": ["a"], "conditions": [{"image": "gone.png"}]}, "reference gone.png: no such file"),
        ({"prompts": ["a"], "mask_strategy": ["0"]}, "takes reference 0, but the sample has none"),
        ({"prompts": ["a"], "image_size": [9, 9]}, "multiples of it"),
        ({"prompts": ["a"], "metrics": [{"type": "moving-shapes"}]}, "moving-shapes cannot mark the prompt 'a'"),
    ],
)
def test_mistakes_of_samples_within_training_are_told_before_the_first_step(
    train: Train, tmp_path: Path, sample: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        train("wrong", sample=sample)
    assert not list(tmp_path.glob("**/checkpoints"))


def test_a_caption_that_a_metric_cannot_mark_ends_no_training(
    train: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_clip(tmp_path / "waves", torch.zeros(3, 8, 8, 16, dtype=torch.uint8))
    (tmp_path / "meta.csv").write_text("path,text\nwaves.mp4,waves\n")
    dataset = {"type": "VideoText", "data_path": str(tmp_path / "meta.csv")}
    metrics = [{"type": "moving-shapes"}, {"type": "motion"}]
    outputs = train("on", dataset=dataset, batch_size=1, max_steps=2, sample={"from_data": 1, "metrics": metrics})
    first = next(one for one in caplog.messages if "cannot mark" in one)
    assert first.startswith("sample.from_data: 1 of the first captions cannot be marked: the metric moving-shapes")
    assert "metrics: 1 of 1 samples not marked: the metric moving-shapes cannot mark the prompt 'waves'" in caplog.text
    assert "motion" in (outputs / "scores.csv").read_text()
