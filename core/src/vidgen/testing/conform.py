"""assert_conforms: find the component, run the checks of its kind, report all that is wrong at once."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, overload

from attrs import evolve

from vidgen.component import Component
from vidgen.errors import RecipeError
from vidgen.hookspecs import KINDS
from vidgen.interfaces import Context
from vidgen.registry import Registry
from vidgen.testing import adapters, data, encoders, models, options, refiners, runs, schedulers, step_caches
from vidgen.testing.subject import Subject
from vidgen.testing.tiny import tiny_context

CHECKS: Mapping[str, tuple[Callable[[Subject], Iterator[str]], ...]] = {
    "model": models.MODEL,
    "text_encoder": encoders.TEXT_ENCODER,
    "prompt_refiner": refiners.PROMPT_REFINER,
    "autoencoder": encoders.AUTOENCODER,
    "scheduler": schedulers.SCHEDULER,
    "step_cache": step_caches.STEP_CACHE,
    "adapter": adapters.ADAPTER,
    "dataset": data.DATASET,
    "bucketer": data.BUCKETER,
    "parallel": runs.PARALLEL,
    "attention": models.ATTENTION,
    "tracker": runs.TRACKER,
    "metric": runs.METRIC,
    "job": runs.JOB,
}
"""A check takes a subject and yields what is wrong with it."""


@overload
def assert_conforms(kind: str, name: str, /, *, context: Context | None = None, **values: Any) -> None: ...
@overload
def assert_conforms(
    component: Component, kind: str | None = None, /, *, context: Context | None = None, **values: Any
) -> None: ...
def assert_conforms(first: Any, second: Any = None, /, *, context: Context | None = None, **values: Any) -> None:
    """Check an installed component, by kind and name, or any `Component` (its kind is looked up when installed).

    values: options for the trial, as in a recipe; choose small ones. context: what the rest of the run declares, when
    `tiny_context()` does not fit. Raises: AssertionError, naming everything that is wrong and how to mend it.
    """
    registry = Registry.discover()
    if isinstance(first, str):
        kind, component = first, registry.find(first, second)
    else:
        kind, component = second or _kind(registry, first), first
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        around = evolve(context or tiny_context(), outputs=Path(folder), registry=registry)
        subject = Subject(kind, component, values, around, _modules(registry, kind, component))
        faults = list(_faults(subject, options.EVERY_KIND)) or list(_faults(subject, CHECKS[kind]))
    if faults:
        raise AssertionError("\n".join([f"{kind} {component.name!r} does not conform:", *(f"  - {f}" for f in faults)]))


def _kind(registry: Registry, component: Component) -> str:
    known = [offer.kind for offer in registry.offers() if offer.component == component]
    if not known:
        raise ValueError(f"say which kind {component.name!r} is, as second argument: one of {', '.join(KINDS)}")
    return known[0]


def _modules(registry: Registry, kind: str, component: Component) -> tuple[str, ...]:
    """What is imported to register the component: its distribution's entry points, else its top-level package."""
    homes = {offer.distribution for offer in registry.offers(kind) if offer.component == component}
    entries = [entry.module for entry in entry_points(group="vidgen") if entry.dist and entry.dist.name in homes]
    return tuple(entries) or (component.factory.split(":")[0].split(".")[0],)


def _faults(subject: Subject, checks: Iterable[Callable[[Subject], Iterator[str]]]) -> Iterator[str]:
    for check in checks:
        try:
            yield from check(subject)
        except RecipeError as error:
            yield f"the options given for the trial are refused: {error}"
            return
        except Exception as error:
            yield f"{check.__name__.strip('_').replace('_', ' ')}: {type(error).__name__}: {error}"
