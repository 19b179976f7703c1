"""Prompts that are rewritten: what is encoded, and what samples are called."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import vidgen
from vidgen import UserError
from vidgen.engine import media
from vidgen.engine.refining import refined
from vidgen.engine.tasks import plan


class Shouting:
    """Refines to capitals, and notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.released = 0

    def refine(self, prompts: Sequence[str]) -> list[str]:
        self.asked.append(list(prompts))
        return [prompt.upper() for prompt in prompts]

    def release(self) -> None:
        self.released += 1


@pytest.fixture
def planned(train: Callable[..., Path], tmp_path: Path) -> Callable[..., Any]:
    """The tasks of a recipe, with its options."""
    trained = train("trained", max_steps=1)

    def of(**changes: Any) -> Any:
        recipe = vidgen.load_recipe({"job": "sample", "checkpoint": str(trained), **changes})
        return plan(recipe.job.options, recipe.job.options, tmp_path), recipe.job.options

    return of


def test_each_text_of_a_schedule_is_refined_once_before_its_scores(planned: Callable[..., Any]) -> None:
    tasks, options = planned(prompts=["|0|a lake|2|a storm", "a lake", ""], loop=3, aes=6.5)
    refiner = Shouting()
    texts = [task.encoded for task in refined(tasks, options, refiner)]
    lake, storm = (f"{text} aesthetic score: 6.5." for text in ("A LAKE", "A STORM"))
    assert texts == [(lake, lake, storm), (lake,) * 3, (" aesthetic score: 6.5.",) * 3]
    assert refiner.asked == [["a lake", "a storm"]] and refiner.released == 1


def test_what_stands_behind_a_prompt_is_not_refined_and_a_sample_keeps_its_name(planned: Callable[..., Any]) -> None:
    tasks, options = planned(prompts=['a lake{"reference_path": ""}'], negative_prompt="blur", prompt_as_path=True)
    (task,) = refined(tasks, options, Shouting())
    assert (task.encoded, task.negative, task.path.name) == (("A LAKE",), "blur", "a lake")
    assert task.hash == tasks[0].hash, "how texts are refined is a setting of the run"


def test_without_a_refiner_or_anything_to_do_tasks_stay(planned: Callable[..., Any]) -> None:
    tasks, options = planned(prompts=["a lake"])
    assert refined(tasks, options, None) == tasks
    assert refined([], options, Shouting()) == []


def test_a_template_stands_around_each_refined_text_and_scores_behind_it(planned: Callable[..., Any]) -> None:
    """A text that looks like a schedule when it is written into the template is still one text."""
    tasks, options = planned(
        prompts=["|0|a lake|2|a storm", "a lake"],
        negative_prompt="blur",
        loop=3,
        aes=6.5,
        prompt_template="|0|fine, {}!",
    )
    lake, storm = (f"|0|fine, {text}! aesthetic score: 6.5." for text in ("a lake", "a storm"))
    assert [task.texts for task in tasks] == [(lake, lake, storm), (lake,) * 3]
    assert [task.refined for task in refined(tasks, options, None)] == [task.texts for task in tasks]
    loud = [task.encoded for task in refined(tasks, options, Shouting())]
    assert loud[1] == ("|0|fine, A LAKE! aesthetic score: 6.5.",) * 3
    assert {task.negative for task in tasks} == {"blur"}


def test_a_template_is_part_of_what_a_sample_is_and_not_of_its_name(planned: Callable[..., Any]) -> None:
    (plain,), _ = planned(prompts=["a lake"], prompt_as_path=True)
    (fine,), _ = planned(prompts=["a lake"], prompt_as_path=True, prompt_template="fine, {}")
    assert (fine.prompt, fine.path.name, fine.address) == (plain.prompt, plain.path.name, plain.address)
    assert fine.hash != plain.hash


def test_what_was_encoded_is_kept_beside_what_was_asked_for(train: Callable[..., Path], tmp_path: Path) -> None:
    trained, made = train("trained", max_steps=1), tmp_path / "made"
    recipe = {"job": "sample", "checkpoint": str(trained), "prompts": ["a lake"], "outputs": str(made)}
    vidgen.run(vidgen.load_recipe({**recipe, "prompt_template": "fine, {}"}))
    kept = media.provenance(made / "sample_0000.mp4")
    assert kept["prompt"] == "a lake" and kept["refined"] == ["fine, a lake"]
    with pytest.raises(UserError, match="files there come from other settings, weights or prompts"):
        vidgen.run(vidgen.load_recipe(recipe))


def test_a_template_without_a_place_is_refused(planned: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"prompt_template: expected words around one \{\}"):
        planned(prompts=["a lake"], prompt_template="fine")
