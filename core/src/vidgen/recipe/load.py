"""load_recipe: text -> data with places -> options, with every mistake reported at its place."""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from attrs import evolve, fields_dict, frozen

from vidgen.component import Selection
from vidgen.errors import Problem, RecipeError
from vidgen.recipe.source import Source, dump_yaml, from_mapping, lay_over, read_source
from vidgen.recipe.structure import Mistakes, Structurer, unstructure
from vidgen.registry import Registry

RECIPE_VERSION = 1
"""Raised when a recipe written for the one before would mean something else; keys that are renamed do not raise it."""


@frozen
class Recipe:
    """A checked recipe: the chosen job with all its options, and the registry that can build them."""

    job: Selection
    registry: Registry

    def plain(self) -> dict[str, Any]:
        """Everything resolved, with defaults, as plain data."""
        return unstructure(self.job)

    def to_yaml(self) -> str:
        """The same as YAML, which loads to the same recipe."""
        return dump_yaml(self.plain())

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name these settings; where a run writes is none of them."""
        return recipe_hash(self.plain())


def recipe_hash(plain: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that name a resolved recipe, wherever it writes."""
    settings = {key: value for key, value in plain.items() if key not in ("outputs", "resume", "force")}
    return sha256(dump_yaml(settings).encode()).hexdigest()[:12]


def load_recipe(
    recipe: str | Path | Mapping[str, Any], overrides: Iterable[str] = (), registry: Registry | None = None
) -> Recipe:
    """Read and check a recipe.

    recipe: a YAML file, or the same as a mapping. overrides: `key.path=value` texts, values in YAML.
    Raises: RecipeError, with every problem found.
    """
    registry = registry or Registry.discover()
    if isinstance(recipe, Mapping):
        source = from_mapping(unstructure(recipe), overrides)
    else:
        source = read_source(Path(recipe), overrides)
    _check_version(source)
    options = _job_options(source, registry)
    if not isinstance(recipe, Mapping) and options and "outputs" in fields_dict(options):
        source.data.setdefault("outputs", f"outputs/{Path(recipe).stem}")
    source = _inherit(source, options)
    try:
        job = Structurer(registry, *source.folders).selection("job", source.data, key="job")
    except Mistakes as mistakes:
        raise RecipeError(_placed(mistakes.problems, source)) from None
    return Recipe(job, registry)


def _check_version(source: Source) -> None:
    """Raises: RecipeError, when the recipe says that it was written for a newer vidgen than this one."""
    version = source.data.pop("recipe_version", RECIPE_VERSION)
    if type(version) is not int or not 1 <= version <= RECIPE_VERSION:
        text = f"this vidgen reads recipes of version 1 to {RECIPE_VERSION}, not {version!r}"
        problem = Problem(("recipe_version",), text, ("pip install --upgrade vidgen",))
        raise RecipeError([evolve(problem, place=source.place(problem.path))])


def _job_options(source: Source, registry: Registry) -> type | None:
    name = source.data.get("job")
    return next((one.component.options for one in registry.offers("job") if one.component.name == name), None)


def _inherit(source: Source, options: type | None) -> Source:
    """Let a job that starts from another run take over the sections its own recipe leaves out."""
    inherits = getattr(options, "inherits", None)
    found = inherits(source.data, source.folders) if inherits else None
    if found is None:
        return source
    name, data = found
    return lay_over(Source(name, data, value_places={(key,): name for key in data}), source)


def _placed(problems: Iterable[Problem], source: Source) -> list[Problem]:
    placed = [evolve(one, place=one.place or source.place(one.path, one.at_key)) for one in problems]
    return sorted(placed, key=lambda one: _order(one.place, source.name))


def _order(place: str, own: str) -> tuple[int, str, int, int]:
    """The recipe itself from top to bottom, then files it builds on, then the command line."""
    match = re.fullmatch(r"(.*):(\d+):(\d+)", place)
    if match is None or place.startswith("command line"):
        return 2, "", 0, 0
    return int(match[1] != own), match[1], int(match[2]), int(match[3])
