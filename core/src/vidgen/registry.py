"""Finds plugins, checks what they offer, and holds it: (kind, name) -> component.

Plugins are found through the entry-point group `vidgen` and loaded one by one: one that fails to import is remembered
with its error and stops nobody else. Imports neither torch nor anything a plugin has not imported by itself.
"""

import json
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from types import FunctionType, ModuleType
from typing import Any

import pluggy
from attrs import frozen

from vidgen import hookspecs
from vidgen.component import Component, Selection
from vidgen.errors import Problem, RunError, UserError, did_you_mean
from vidgen.hookspecs import INTERFACE, KINDS, OLDEST_INTERFACE
from vidgen.interfaces import Context


@frozen
class Offer:
    """A component and the distribution it came with."""

    kind: str
    component: Component
    distribution: str
    version: str


@frozen
class Broken:
    """A plugin that could not be loaded, and why."""

    plugin: str
    distribution: str
    error: str


class DuplicateComponent(UserError):
    """Two plugins offer one name of one kind."""


class UnknownComponent(UserError):
    """No installed plugin offers the name; `problem` says so with the nearest names."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


class Registry:
    """All components of all plugins; also the pluggy manager through which a run is observed.

    plugins: (name, distribution, version, module or object) of each. Core's own components (`vidgen.builtin`) come
    through an entry point like everybody's.
    """

    def __init__(self, plugins: Iterable[tuple[str, str, str, Any]] = (), broken: Iterable[Broken] = ()) -> None:
        self.hooks = pluggy.PluginManager("vidgen")
        self.hooks.add_hookspecs(hookspecs)
        self.broken = list(broken)
        self._offers: dict[tuple[str, str], Offer] = {}
        for plugin in plugins:
            self._take_in(*plugin)

    @classmethod
    def discover(cls) -> "Registry":
        """Load every installed plugin."""
        loaded, broken = [], []
        for entry in sorted(entry_points(group="vidgen"), key=lambda entry: entry.name):
            distribution, number = (entry.dist.name, entry.dist.version) if entry.dist else (entry.name, "?")
            try:
                loaded.append((entry.name, distribution, number, _load(entry)))
            except (Exception, SystemExit) as error:
                broken.append(Broken(entry.name, distribution, _reason(error)))
        return cls(loaded, broken)

    def offers(self, kind: str | None = None) -> list[Offer]:
        """What is offered, of one kind or of all, by kind and name."""
        order = list(KINDS)
        chosen = [offer for offer in self._offers.values() if kind in (None, offer.kind)]
        return sorted(chosen, key=lambda offer: (order.index(offer.kind), offer.component.name.lower()))

    def find(self, kind: str, name: str) -> Component:
        """The component behind `type: name`. Raises: UnknownComponent."""
        offer = self._offers.get((kind, name))
        if offer is None:
            raise UnknownComponent(self._unknown(kind, name))
        return offer.component

    def build(self, selection: Selection, context: Context) -> Any:
        """Import the component's factory and call it.

        Raises: RunError, when the factory cannot be imported; whatever the factory raises.
        """
        return _factory(selection.component)(selection.options, context)

    def versions(self) -> dict[str, str]:
        """Distribution -> version of everything loaded; goes into checkpoints."""
        return {offer.distribution: offer.version for offer in self._offers.values()}

    def _take_in(self, name: str, distribution: str, number: str, plugin: Any) -> None:
        name = f"{distribution}:{name}"  # two distributions may call their entry points alike
        try:
            _check_interface(plugin, distribution)
            _check_marks(plugin)
            self.hooks.register(plugin, name)
            self.hooks.check_pending()
            offers = [Offer(kind, one, distribution, number) for kind, one in _offered(self.hooks, plugin)]
        except Exception as error:
            if self.hooks.has_plugin(name):
                self.hooks.unregister(name=name)
            self.broken.append(Broken(name.rpartition(":")[2], distribution, _reason(error)))
            return
        for offer in offers:
            self._add(offer)

    def _add(self, offer: Offer) -> None:
        key = (offer.kind, offer.component.name)
        if key in self._offers:
            other, what = self._offers[key].distribution, f"the {_words(offer.kind)} {offer.component.name!r}"
            if other == offer.distribution:
                raise DuplicateComponent(f"{other} offers {what} twice. Uninstall it, or tell its authors.")
            raise DuplicateComponent(
                f"two plugins offer {what}: {other} and {offer.distribution}. Uninstall one of them."
            )
        self._offers[key] = offer

    def _unknown(self, kind: str, name: str) -> Problem:
        installed = [offer.component.name for offer in self.offers(kind)]
        home = catalogue().get(kind, {}).get(name)
        hints = [f"installed: {', '.join(installed) or 'none'}"]
        if home:
            hints.append(f"{name!r} comes with {home}: pip install {home}")
        else:
            near = did_you_mean(name, {*installed, *catalogue().get(kind, {})})
            hints.extend(hint for hint in near if hint.startswith("did you mean"))
        hints.extend(f"{one.distribution} could not be loaded: {one.error}" for one in self.broken)
        return Problem(("type",), f"no installed plugin offers the {_words(kind)} {name!r}", tuple(hints))


def catalogue() -> dict[str, dict[str, str]]:
    """Kind -> name -> distribution of the components known when this core was released, installed or not."""
    return json.loads((files("vidgen") / "catalogue.json").read_text(encoding="utf-8"))


def _check_interface(plugin: Any, distribution: str) -> None:
    """Raises: TypeError, when the plugin was written for an interface that this core does not have (any more)."""
    number = getattr(plugin, "vidgen_interface", INTERFACE)
    if number < OLDEST_INTERFACE:
        raise TypeError(
            f"it was written for plugin interface {number}, and this vidgen takes {OLDEST_INTERFACE} to {INTERFACE}: "
            f"pip install --upgrade {distribution}, or install an older vidgen"
        )
    if number > INTERFACE:
        raise TypeError(
            f"it needs plugin interface {number}, and this vidgen has {INTERFACE}: pip install --upgrade vidgen"
        )


def _check_marks(plugin: Any) -> None:
    for name in dir(plugin):
        hook = getattr(plugin, name)
        if name.startswith("vidgen_") and isinstance(hook, FunctionType) and not hasattr(hook, "vidgen_impl"):
            raise TypeError(f"{name} lacks @vidgen.hookimpl")


def _offered(hooks: pluggy.PluginManager, plugin: Any) -> Iterator[tuple[str, Component]]:
    for kind, name in KINDS.items():
        for hook in getattr(hooks.hook, name).get_hookimpls():
            if hook.plugin is not plugin:
                continue
            for component in hook.function():
                if not isinstance(component, Component):
                    raise TypeError(f"{name} gives {component!r}, which is no Component")
                yield kind, component


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _load(entry: EntryPoint) -> ModuleType:
    return entry.load()


def _factory(component: Component) -> Any:
    module, function = component.factory.split(":")
    try:
        return getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise RunError(
            f"{component.name} cannot be built: {component.factory} does not import ({error}). "
            "`vidgen doctor` shows what is installed."
        ) from error


def _words(kind: str) -> str:
    return kind.replace("_", " ")
