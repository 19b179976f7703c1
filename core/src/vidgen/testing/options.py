"""Every kind: registered without heavy imports, options documented, typed and strict, a factory that imports."""

import inspect
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import attrs

from vidgen.component import InputPath
from vidgen.errors import RecipeError
from vidgen.recipe.structure import PLAIN, unstructure
from vidgen.testing.subject import Subject

HEAVY = ("torch", "numpy", "pyarrow", "av", "PIL", "transformers", "diffusers")
REGISTER = """
import sys
from importlib import import_module
from vidgen.registry import Registry
registry = Registry([(name, name, "0", import_module(name)) for name in {modules!r}])
print(*(one.error for one in registry.broken), *("!" + name for name in {heavy!r} if name in sys.modules), sep="\\n")
"""


def _registers_lightly(subject: Subject) -> Iterator[str]:
    for line in _register(subject.modules):
        heavy = f"registering it imports {line[1:]}: every command would wait for it; import it where the factory is"
        yield heavy if line.startswith("!") else f"it cannot be registered: {line}"


@cache
def _register(modules: tuple[str, ...]) -> list[str]:
    program = REGISTER.format(modules=modules, heavy=HEAVY)
    places = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", program], env=places, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines() if done.returncode == 0 else done.stderr.strip().splitlines()[-1:]
    return [line for line in lines if line]


def _describes_itself(subject: Subject) -> Iterator[str]:
    component, options = subject.component, subject.component.options
    if not component.summary.strip() or "\n" in component.summary:
        yield "`summary` must be one line: `vidgen plugins` shows it"
    if not attrs.has(options) or not _frozen(options):
        yield f"options: {options.__name__} must be a class with @attrs.frozen(kw_only=True)"
    else:
        yield from _undescribed(options, "")


def _frozen(options: type) -> bool:
    try:
        setattr(object.__new__(options), "anything", 0)  # noqa: B010
    except AttributeError as error:
        return isinstance(error, attrs.exceptions.FrozenInstanceError)
    return False


def _undescribed(options: type, prefix: str) -> Iterator[str]:
    for field in attrs.fields(attrs.resolve_types(options)):
        name, selected = f"{prefix}{field.name}", "kind" in field.metadata
        nested = next((one for one in (field.type, *get_args(field.type)) if attrs.has(one)), None)
        if nested is not None and not selected:
            yield from _undescribed(nested, f"{name}.")
        elif not str(field.metadata.get("doc", "")).strip():
            yield f"option `{name}` has no description: {field.name}: TYPE = option(DEFAULT, 'One sentence.')"
        if not selected and not _supported(field.type):
            yield (
                f"option `{name}` has a type that recipes cannot hold, {field.type}: use bool, int, float, str, Path, "
                "InputPath, Literal, X | None, list[X], tuple[X, ...] or dict[str, X]"
            )


def _supported(kind: Any) -> bool:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType, list, tuple, dict):
        return all(one in (Ellipsis, type(None)) or _supported(one) for one in arguments)
    return kind in (*PLAIN, Path, InputPath, Any) or origin is Literal or attrs.has(kind)


def _is_strict(subject: Subject) -> Iterator[str]:
    for field in attrs.fields(attrs.resolve_types(subject.component.options)):
        if "kind" in field.metadata or not _supported(field.type):
            continue
        if field.default is not attrs.NOTHING:
            default = getattr(field.default, "factory", lambda field=field: field.default)()
            for reason in _refusals(subject, field.name, unstructure(default)):
                yield f"option `{field.name}` refuses its own default {default!r}: {reason}"
        if field.type is not Any and not _refusals(subject, field.name, object()):
            yield f"option `{field.name}` accepts values of another type than {field.type}"


def _refusals(subject: Subject, name: str, value: Any) -> list[str]:
    """Why an option refuses a value; empty when it does not."""
    try:
        subject.structure({name: value})
    except RecipeError as error:
        return [problem.text for problem in error.problems if problem.path[:1] == (name,)]
    return []


def _names_its_factory(subject: Subject) -> Iterator[str]:
    module, name = subject.component.factory.split(":")
    function = getattr(import_module(module), name, None)
    if not callable(function) or len(inspect.signature(function).parameters) != 2:
        yield f"factory: {module} must have a function {name}(options, context)"


EVERY_KIND = (_registers_lightly, _describes_itself, _is_strict, _names_its_factory)
