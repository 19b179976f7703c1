"""Prompts that are rewritten: what is encoded, and what samples are called."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import vidgen
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
