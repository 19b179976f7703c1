"""Wishes to clips, with parts that are built once. Each wish is checked as a recipe is before it is made."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from vidgen import aspect
from vidgen.engine.given import takes_given_frames
from vidgen.engine.parts import model_context, shared_context
from vidgen.engine.sample import loaded_parts, settings_hash
from vidgen.engine.sampler import Sampler, make_sampler
from vidgen.engine.session import write_recipe
from vidgen.engine.tasks import Task
from vidgen.interfaces import Context, Media, Scheduler
from vidgen.recipe import Recipe, load_recipe
from vidgen.recipe.schema import SampleRecipe
from vidgen.recipe.source import dump_yaml
from vidgen.weights import fingerprint

from vidgen_ui.uploads import LARGEST, Upload
from vidgen_ui.wish import asked

Progress = Callable[[str, int, int], None]


@frozen(kw_only=True)
class Order:
    """A clip that can be made. recipe: of it alone. wish: as it came. settings: what it is made with, for people."""

    recipe: Recipe
    wish: Mapping[str, Any]
    settings: Mapping[str, str]


class Studio:
    """recipe: of a sample job; its prompts are replaced by those of the page. Building it takes as long as the weights
    take to load. Raises: UserError, RunError."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        options: SampleRecipe = recipe.job.options
        context = shared_context(options, Context(registry=recipe.registry, recipe=recipe.plain()))
        self._parts = loaded_parts(options, context)
        known = model_context(context, self._parts)
        self._context = evolve(known, out_channels=self._parts.model.out_channels)  # for schedulers built later

    def start(self) -> dict[str, Any]:
        """What the page begins with: values of its fields, names to choose from, what the model can do."""
        options: SampleRecipe = self._recipe.job.options
        takes_references = takes_given_frames(self._parts.model)
        of_references = [aspect.REFERENCE] if takes_references else []
        return {
            "model": options.model.type,
            "weights": str(options.checkpoint or ""),
            "takes_references": takes_references,
            "largest_file": LARGEST,
            "resolutions": aspect.resolution_names(),
            "aspect_ratios": [*aspect.aspect_ratio_names(), *of_references],
            "fields": {
                "negative_prompt": options.negative_prompt,
                "image_size": options.image_size,
                "resolution": options.resolution,
                "aspect_ratio": options.aspect_ratio,
                "num_frames": options.num_frames,
                "num_sampling_steps": self._parts.scheduler.num_sampling_steps,
                "cfg_scale": self._parts.scheduler.cfg_scale,
                "seed": options.seed,
            },
        }

    def order(self, wish: Mapping[str, Any], uploaded: Callable[[int], Upload]) -> Order:
        """Check a wish (see `vidgen_ui.wish.asked`). Raises: UserError, RunError, when the clip cannot be made."""
        recipe = load_recipe(asked(self._recipe.plain(), wish, uploaded), registry=self._recipe.registry)
        sampler = self._sampler(recipe, lambda *_: None)
        (task,) = sampler.tasks(Path())
        sampler.check([task])
        return Order(recipe=recipe, wish=dict(wish), settings=_settings(task, sampler))

    def make(self, order: Order, folder: Path, progress: Progress, stopped: Callable[[], bool]) -> Media | None:
        """Write a clip into a fresh folder, and beside it the recipe that makes it again. None: it was stopped.
        Raises: RunError, UserError; whatever `progress` raises, with nothing half-made left."""
        # without its folder, so that the same recipe, run again, writes elsewhere
        plain = {key: value for key, value in order.recipe.plain().items() if key != "outputs"}
        write_recipe(folder / "recipe.yaml", dump_yaml(plain))
        made = self._sampler(order.recipe, progress).run(folder, stopped, strict=True)
        return made[0] if made else None

    def _sampler(self, recipe: Recipe, progress: Progress) -> Sampler:
        options: SampleRecipe = recipe.job.options
        scheduler: Scheduler = self._context.components.build(options.scheduler, self._context)
        parts = evolve(self._parts, scheduler=scheduler)
        sampler = make_sampler(parts, options, options, settings_hash(recipe.plain()), progress, self._context)
        return evolve(sampler, made_by=self._made_by)

    @cached_property
    def _made_by(self) -> str:
        """The weights stay the same as long as the page is there."""
        return fingerprint(self._parts.model)


def _settings(task: Task, sampler: Sampler) -> dict[str, str]:
    frames, rows, columns = task.size
    scheduler = sampler.parts.scheduler
    return {
        **({} if task.negative is None else {"negative prompt": task.negative}),
        "size": f"{rows} x {columns}",
        "frames": str(frames),
        "steps": str(scheduler.num_sampling_steps),
        "guidance": f"{scheduler.cfg_scale:g}",
        "seed": str(task.seed),
        **({"given frames": _drawing(task, sampler)} if task.given else {}),
    }


def _drawing(task: Task, sampler: Sampler) -> str:
    """Of given frames, with files by their names alone."""
    text = "\n".join(line.strip() for line in sampler.drawing(task).splitlines())
    for name in task.references:
        text = text.replace(name, Path(name).name)
    return text
