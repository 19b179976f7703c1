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


def registered(subject: Subject) -> Iterator[str]:
    """Importing the plugin and asking its hooks must be quick: every command line waits for it."""
    for line in _register(subject.modules):
        heavy = f"registering it imports {line[1:]}: move that import to the factory's module and name it as a string"
        yield heavy if line.startswith("!") else f"it cannot be registered: {line}"


@cache
def _register(modules: tuple[str, ...]) -> tuple[str, ...]:
    program = REGISTER.format(modules=modules, heavy=HEAVY)
    places = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", program], env=places, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines() if done.returncode == 0 else done.stderr.strip().splitlines()[-1:]
    return tuple(filter(None, lines))


def described(subject: Subject) -> Iterator[str]:
    """Name, summary, class of options, and a sentence and a type for every option."""
    component = subject.component
    if not component.summary.strip() or "\n" in component.summary:
        yield "`summary` must be one line: `vidgen plugins` shows it"
    if not attrs.has(component.options):
        yield f"options must be an attrs class, not {component.options!r}"
        return
    try:
        object.__new__(component.options).anything = 0
        yield f"{component.options.__name__} must be frozen: write @attrs.frozen(kw_only=True)"
    except attrs.exceptions.FrozenInstanceError:
        pass
    yield from _fields(component.options, "")


def _fields(options: type, prefix: str) -> Iterator[str]:
    for field in attrs.fields(attrs.resolve_types(options)):
        name = f"{prefix}{field.name}"
        nested = next((one for one in (field.type, *get_args(field.type)) if attrs.has(one)), None)
        selected = "kind" in field.metadata
        if nested is not None and not selected:
            yield from _fields(nested, f"{name}.")
        elif not str(field.metadata.get("doc", "")).strip():
            yield f"option `{name}` says nothing of itself: write {field.name}: TYPE = option(DEFAULT, 'One sentence.')"
        if not selected and not _supported(field.type):
            yield (
                f"option `{name}` has the type {field.type!r}, which recipes cannot hold: use bool, int, float, str, "
                "Path, InputPath, Literal, X | None, list[X], tuple[X, ...] or dict[str, X]"
            )


def _supported(kind: Any) -> bool:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType, list, tuple, dict):
        return all(one in (Ellipsis, type(None)) or _supported(one) for one in arguments)
    return kind in (*PLAIN, Path, InputPath, Any) or origin is Literal or attrs.has(kind)


def strict(subject: Subject) -> Iterator[str]:
    """Defaults pass their own validators; unknown keys and wrong types do not pass."""
    if not _refused(subject, "no such key", 0):
        yield "an unknown key is accepted: leave structuring to vidgen"
    for field in attrs.fields(attrs.resolve_types(subject.component.options)):
        if "kind" in field.metadata or not _supported(field.type):
            continue
        if field.default is not attrs.NOTHING:
            factory = isinstance(field.default, attrs.Factory)  # type: ignore[arg-type]
            default = field.default.factory() if factory else field.default
            for reason in _refused(subject, field.name, unstructure(default)):
                yield f"option `{field.name}` refuses its own default {default!r}: {reason}"
        if field.type is not Any and not _refused(subject, field.name, object()):
            yield f"option `{field.name}` accepts a value of any type: annotate it"


def _refused(subject: Subject, name: str, value: Any) -> list[str]:
    """Why a value is refused; empty when it is accepted."""
    try:
        subject.structure({name: value})
    except RecipeError as error:
        return [problem.text for problem in error.problems if problem.path[:1] == (name,)]
    return []


def factory_imports(subject: Subject) -> Iterator[str]:
    """`factory` names a function of two arguments."""
    module, name = subject.component.factory.split(":")
    function = getattr(import_module(module), name, None)
    if not callable(function):
        yield f"factory: {module} has no function {name}"
    elif len(inspect.signature(function).parameters) != 2:
        yield f"factory: {name} must take (options, context), not {inspect.signature(function)}"


CHECKS = (registered, described, strict, factory_imports)
