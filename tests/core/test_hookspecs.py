"""The hooks: each is typed and documented, and each reaches the plugins that answer it."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import pytest
from attrs import frozen
from vidgen import Component, hookimpl, hookspecs
from vidgen.hookspecs import KINDS
from vidgen.interfaces import Media, RunInfo
from vidgen.registry import Registry

Plugin = Callable[..., ModuleType]

HOOKS = [name for name in vars(hookspecs) if name.startswith("vidgen_")]
OBSERVERS = {
    "vidgen_run_started": {"run": RunInfo("train", Path("out"), 0, 3)},
    "vidgen_step_done": {"step": 2, "metrics": {"loss": 0.5}},
    "vidgen_checkpoint_saved": {"step": 2, "path": Path("out/checkpoints/epoch0-global_step2")},
    "vidgen_samples_written": {"step": 2, "samples": [Media(Path("a.mp4"), "a cat", (2, 8, 16))]},
    "vidgen_run_finished": {"run": RunInfo("train", Path("out"), 0, 3)},
}


def test_every_hook_lists_a_kind_adds_commands_or_observes_a_run():
    assert sorted(HOOKS) == sorted([*KINDS.values(), "vidgen_commands", *OBSERVERS])


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_typed_and_says_what_it_is_for(name: str):
    import click

    hook = getattr(hookspecs, name)
    hints = get_type_hints(hook, localns={"click": click, "Media": Media, "RunInfo": RunInfo})
    assert set(hints) == {*inspect.signature(hook).parameters, "return"}
    assert len(hook.__doc__) > 20


@pytest.mark.parametrize(("kind", "hook"), KINDS.items())
def test_a_component_comes_through_the_hook_of_its_kind(kind: str, hook: str, plugin: Plugin):
    @frozen(kw_only=True)
    class Options:
        pass

    component = Component(name="a", summary="A.", options=Options, factory="nowhere:build")
    registry = Registry([("one", "vidgen-one", "1.0", plugin(**{hook: [component]}))])
    assert [(offer.kind, offer.component) for offer in registry.offers()] == [(kind, component)]
    assert registry.broken == []


class Observer:
    """Answers every observing hook; of two things told it takes one."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @hookimpl
    def vidgen_run_started(self, run: RunInfo) -> None:
        self.seen.append(run)

    @hookimpl
    def vidgen_step_done(self, metrics: Mapping[str, float]) -> None:
        self.seen.append(metrics)

    @hookimpl
    def vidgen_checkpoint_saved(self, path: Path) -> None:
        self.seen.append(path)

    @hookimpl
    def vidgen_samples_written(self, samples: Sequence[Media]) -> None:
        self.seen.append(samples)

    @hookimpl
    def vidgen_run_finished(self, run: RunInfo) -> None:
        self.seen.append(run)


@pytest.mark.parametrize(("hook", "told"), OBSERVERS.items())
def test_every_plugin_is_told_what_a_run_does(hook: str, told: dict[str, Any]):
    observers = [Observer(), Observer()]
    registry = Registry((f"p{n}", f"vidgen-p{n}", "1.0", one) for n, one in enumerate(observers))
    assert registry.broken == []
    getattr(registry.hooks.hook, hook)(**told)
    assert [one.seen for one in observers] == [[list(told.values())[-1]]] * 2


def test_commands_of_plugins_are_listed(plugin: Plugin):
    import click

    @click.command("hello")
    def hello() -> None:
        pass

    def offered() -> Iterable[click.Command]:
        yield hello

    registry = Registry([("one", "vidgen-one", "1.0", plugin(vidgen_commands=offered))])
    assert [list(commands) for commands in registry.hooks.hook.vidgen_commands()] == [[hello]]
