"""Prompts rewritten before they are encoded: by the recipe's prompt refiner, and with its template around them."""

import logging
from collections.abc import Mapping, Sequence

from attrs import evolve

from vidgen.conditioning.prompts import Prompt
from vidgen.conditioning.schedule import split_schedule
from vidgen.engine.tasks import Task, encoded_texts
from vidgen.interfaces import PromptRefiner
from vidgen.recipe.schema import SampleOptions

LOG = logging.getLogger("vidgen")


def refined(tasks: Sequence[Task], options: SampleOptions, refiner: PromptRefiner | None) -> list[Task]:
    """The same with the texts that the text encoder is to read instead, where there are others than the prompt's own.
    Every text of a schedule is refined for itself, before the template is put around it and scores behind it; an empty
    one is not refined. The refiner is released. Raises: UserError, RunError."""
    if refiner is None or not tasks:
        return [evolve(task, refined=task.texts) if options.prompt_template else task for task in tasks]
    said = {task: Prompt(text=task.prompt).with_suffix().text for task in tasks}
    asked = list(dict.fromkeys(text for prompt in said.values() for text in split_schedule(prompt)[0] if text.strip()))
    found = dict(zip(asked, refiner.refine(asked), strict=True))
    refiner.release()
    for before, after in found.items():
        LOG.info("refined: %s -> %s", before, after)
    return [evolve(task, refined=_texts(said[task], found, options)) for task in tasks]


def _texts(prompt: str, found: Mapping[str, str], options: SampleOptions) -> tuple[str, ...]:
    return encoded_texts(prompt, options, lambda text: found.get(text, text))
