"""Metrics that go by the words of prompts: what they cannot mark is told before anything is made."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
from tiny_run import RECIPE
from vidgen import UserError
from vidgen.engine.marking import check_prompts, refusals
from vidgen.engine.sampler import measure
from vidgen.interfaces import Context, Media
from vidgen.testing import write_clip

GOOD, OTHER = "a red circle moving left", "waves"


class Short:
    """Marks prompts of less than four letters."""

    def check(self, prompt: str) -> None:
        if len(prompt) > 3:
            raise UserError(f"{prompt!r} is long")


@pytest.fixture
def sampled(tmp_path: Path) -> Callable[..., Any]:
    """A sample job of start values, which is to be marked by its prompts."""

    def load(**changes: Any) -> Any:
        parts = {key: RECIPE[key] for key in ("vae", "text_encoder", "scheduler", "model", "image_size", "num_frames")}
        wanted = {"metrics": [{"type": "moving-shapes"}, {"type": "flicker"}], "prompts": [GOOD, OTHER], "trackers": []}
        recipe = {"job": "sample", **parts, **wanted, "outputs": str(tmp_path / "made"), **changes}
        return vidgen.load_recipe(recipe)

    return load


def context_of(recipe: Any) -> Context:
    return Context(registry=recipe.registry, recipe=recipe.plain())


def test_a_metric_without_words_to_go_by_refuses_none() -> None:
    flicker = vidgen.build("metric", "flicker")
    assert refusals(flicker, ["", OTHER]) == {}
    check_prompts(flicker, ["", OTHER])


def test_each_prompt_is_refused_once_with_its_own_reason() -> None:
    metric: Any = Short()
    assert refusals(metric, ["abcd", "abc", "abcd", "abcde"]) == {"abcd": "'abcd' is long", "abcde": "'abcde' is long"}


def test_the_first_reason_and_some_of_the_other_prompts_are_told() -> None:
    metric: Any = Short()
    with pytest.raises(UserError) as caught:
        check_prompts(metric, [letter * 5 for letter in "abcdefgh"])
    others = ", ".join(repr(letter * 5) for letter in "bcdef")
    assert str(caught.value) == f"metrics: 'aaaaa' is long\n    nor: {others} and 2 more"
    with pytest.raises(UserError, match=r"^metrics: 'aaaaa' is long$"):
        check_prompts(metric, ["aaaaa", "b"])


@pytest.mark.parametrize("dry", [False, True])
def test_prompts_that_cannot_be_marked_are_told_before_anything_is_made(
    sampled: Callable[..., Any], tmp_path: Path, dry: bool
) -> None:
    recipe = sampled()
    with pytest.raises(UserError, match=r"^metrics: the metric moving-shapes cannot mark the prompt 'waves': it needs"):
        recipe.registry.build(recipe.job, context_of(recipe)).dry_run() if dry else vidgen.run(recipe)
    assert not (tmp_path / "made").exists()


def test_clips_that_cannot_be_marked_leave_the_marks_of_the_others(
    sampled: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = sampled()
    video = torch.zeros(3, 2, 8, 16, dtype=torch.uint8)
    clips = [Media(write_clip(tmp_path / str(n), video), text, (2, 8, 16)) for n, text in enumerate((OTHER, GOOD))]
    scores = measure(recipe.job.options, clips, context_of(recipe))
    assert scores == {"colour": 0.0, "shape": 0.0, "direction": 0.0, "flicker": 0.0}
    assert "metrics: 1 of 2 samples not marked: the metric moving-shapes cannot mark the prompt 'waves'" in caplog.text
