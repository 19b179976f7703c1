"""Finding plugins, holding what they offer, and living with those that are broken."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from attrs import frozen
from vidgen import Component, hookimpl, option
from vidgen.component import Selection
from vidgen.errors import RunError
from vidgen.hookspecs import INTERFACE, OLDEST_INTERFACE
from vidgen.interfaces import Context
from vidgen.registry import DuplicateComponent, Registry, UnknownComponent, catalogue

Plugin = Callable[..., ModuleType]


@frozen(kw_only=True)
class Options:
    width: int = option(3, "A width.")


def component(name: str, factory: str = "nowhere:build") -> Component:
    return Component(name=name, summary=f"{name}.", options=Options, factory=factory)


def test_components_are_found_by_kind_and_name(plugin: Plugin):
    """The same name may serve two kinds; capitals count."""
    model, metric = component("shapes"), component("shapes")
    registry = Registry([("one", "vidgen-one", "1.0", plugin(vidgen_models=[model], vidgen_metrics=[metric]))])
    assert registry.find("model", "shapes") is model
    assert registry.find("metric", "shapes") is metric
    for kind, name in (("dataset", "shapes"), ("model", "Shapes"), ("model", "")):
        with pytest.raises(UnknownComponent):
            registry.find(kind, name)


def test_offers_are_listed_by_kind_then_name_whatever_the_order_of_plugins(plugin: Plugin):
    one = ("one", "vidgen-one", "1.0", plugin(vidgen_metrics=[component("m")], vidgen_models=[component("b")]))
    two = ("two", "vidgen-two", "2.0", plugin(vidgen_models=[component("C"), component("a")]))
    for plugins in ([one, two], [two, one]):
        registry = Registry(plugins)
        listed = [(o.kind, o.component.name, o.distribution, o.version) for o in registry.offers()]
        assert listed == [
            ("model", "a", "vidgen-two", "2.0"),
            ("model", "b", "vidgen-one", "1.0"),
            ("model", "C", "vidgen-two", "2.0"),
            ("metric", "m", "vidgen-one", "1.0"),
        ]
        assert [o.component.name for o in registry.offers("metric")] == ["m"]
        assert registry.versions() == {"vidgen-one": "1.0", "vidgen-two": "2.0"}


def test_a_hook_may_be_a_generator_and_may_have_another_name():
    module = ModuleType("made_up")

    @hookimpl(specname="vidgen_models")
    def my_models() -> Any:
        yield component("a")

    module.my_models = my_models  # type: ignore[attr-defined]
    registry = Registry([("one", "vidgen-one", "1.0", module)])
    assert [o.component.name for o in registry.offers()] == ["a"]


def test_two_plugins_with_one_name_of_one_kind_stop_the_run(plugin: Plugin):
    plugins = [(n, f"vidgen-{n}", "1.0", plugin(vidgen_text_encoders=[component("same")])) for n in ("one", "two")]
    with pytest.raises(DuplicateComponent) as caught:
        Registry(plugins)
    assert str(caught.value) == (
        "two plugins offer the text encoder 'same': vidgen-one and vidgen-two. Uninstall one of them."
    )
    assert caught.value.exit_status == 2


def test_one_plugin_with_a_name_twice_stops_the_run(plugin: Plugin):
    offered = plugin(vidgen_models=[component("same"), component("same")])
    with pytest.raises(DuplicateComponent, match=r"^vidgen-one offers the model 'same' twice\."):
        Registry([("one", "vidgen-one", "1.0", offered)])


def test_two_distributions_may_call_their_entry_points_alike(plugin: Plugin):
    plugins = [
        ("stdit", "vidgen-one", "1.0", plugin(vidgen_models=[component("a")])),
        ("stdit", "vidgen-two", "1.0", plugin(vidgen_models=[component("b")])),
    ]
    registry = Registry(plugins)
    assert [o.component.name for o in registry.offers()] == ["a", "b"]
    assert registry.broken == []


def _raises() -> Any:
    raise LookupError("no\nsuch thing")


def _raises_midway() -> Any:
    yield component("half")
    raise LookupError("gone")


@pytest.mark.parametrize(
    ("hooks", "error"),
    [
        ({"vidgen_modles": []}, "unknown hook 'vidgen_modles' in plugin"),
        ({"vidgen_models": _raises}, "LookupError: no such thing"),
        ({"vidgen_models": _raises_midway}, "LookupError: gone"),
        ({"vidgen_models": None}, "TypeError: 'NoneType' object is not iterable"),
        ({"vidgen_models": ["STDiT"]}, "TypeError: vidgen_models gives 'STDiT', which is no Component"),
        ({"vidgen_models": lambda registry: []}, "Argument(s) {'registry'} are declared in the hookimpl"),
        ({"vidgen_step_done": lambda stp: None}, "Argument(s) {'stp'} are declared in the hookimpl"),
    ],
)
def test_a_broken_plugin_is_remembered_and_stops_nobody_else(plugin: Plugin, hooks: dict[str, Any], error: str):
    """Nothing of it stays: neither half its components nor its other hooks."""
    seen: list[str] = []
    bad = plugin(
        vidgen_metrics=[component("of the broken one")], vidgen_run_started=lambda run: seen.append(run), **hooks
    )
    good = plugin(vidgen_models=[component("good")])
    for order in ((bad, good), (good, bad)):
        registry = Registry([(f"p{n}", f"vidgen-{'bad' if p is bad else 'good'}", "1", p) for n, p in enumerate(order)])
        assert [o.component.name for o in registry.offers()] == ["good"]
        assert [one.distribution for one in registry.broken] == ["vidgen-bad"]
        assert error in registry.broken[0].error
        registry.hooks.hook.vidgen_run_started(run="a run")
        assert seen == []


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (
            INTERFACE + 1,
            f"it needs plugin interface {INTERFACE + 1}, and this vidgen has {INTERFACE}: pip",
        ),
        (OLDEST_INTERFACE - 1, "takes 1 to 1: pip install --upgrade vidgen-one, or install an older vidgen"),
    ],
)
def test_a_plugin_written_for_another_interface_is_refused_and_the_rest_works(plugin: Plugin, number: int, told: str):
    strange = plugin(vidgen_models=[component("a")])
    strange.vidgen_interface = number
    good = plugin(vidgen_models=[component("b")])
    registry = Registry([("one", "vidgen-one", "1.0", strange), ("two", "vidgen-two", "1.0", good)])
    assert [offer.component.name for offer in registry.offers()] == ["b"]
    assert told in registry.broken[0].error


def test_a_hook_without_its_mark_is_not_overlooked(plugin: Plugin):
    """Without @hookimpl pluggy would pass it by in silence."""
    module = plugin(vidgen_models=[component("a")])
    module.vidgen_datasets = lambda: [component("b")]  # type: ignore[attr-defined]
    registry = Registry([("one", "vidgen-one", "1.0", module)])
    assert registry.offers() == []
    assert [one.error for one in registry.broken] == ["TypeError: vidgen_datasets lacks @vidgen.hookimpl"]


def test_an_unknown_name_is_told_with_what_is_installed_and_what_is_broken(plugin: Plugin):
    plugins = [
        ("one", "vidgen-one", "1.0", plugin(vidgen_models=[component("Qwzxjv-XL/2"), component("Qwzxjv-S/2")])),
        ("bad", "vidgen-bad", "1.0", plugin(vidgen_modles=[])),
    ]
    registry = Registry(plugins)
    with pytest.raises(UnknownComponent) as caught:
        registry.find("model", "Qwxjv-XL/2")
    assert str(caught.value) == (
        "type: no installed plugin offers the model 'Qwxjv-XL/2'\n"
        "    installed: Qwzxjv-S/2, Qwzxjv-XL/2\n"
        "    did you mean Qwzxjv-XL/2 or Qwzxjv-S/2?\n"
        f"    vidgen-bad could not be loaded: {registry.broken[0].error}"
    )
    assert "\n" not in registry.broken[0].error
    assert "unknown hook 'vidgen_modles'" in registry.broken[0].error


def test_a_name_of_the_catalogue_is_told_with_its_distribution():
    with pytest.raises(UnknownComponent) as caught:
        Registry().find("scheduler", "rflow")
    assert str(caught.value) == (
        "type: no installed plugin offers the scheduler 'rflow'\n"
        "    installed: none\n"
        f"    'rflow' comes with {catalogue()['scheduler']['rflow']}: pip install vidgen-rflow"
    )


# building


def build(options: Options, context: Context) -> tuple[int, int]:
    return options.width, context.seed


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module on disk, whose factory is named as text."""
    (tmp_path / "made_module_ax.py").write_text(
        "def build(options, context):\n    return options.width, context.seed\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "made_module_ax:build"


def test_a_factory_is_called_with_options_and_context(made: str):
    selection = Selection("model", component("a", made), Options(width=5))
    assert Registry().build(selection, Context(seed=7)) == (5, 7)


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("no_such_module_ax:build", "No module named 'no_such_module_ax'"),
        ("json:no_such_function", "module 'json' has no attribute 'no_such_function'"),
    ],
)
def test_a_factory_that_does_not_import_is_told_by_name(factory: str, reason: str):
    with pytest.raises(RunError) as caught:
        Registry().build(Selection("model", component("a", factory), Options()), Context())
    assert str(caught.value) == (
        f"a cannot be built: {factory} does not import ({reason}). `vidgen doctor` shows what is installed."
    )


@pytest.mark.parametrize("factory", ["build", "module.build", "a b:build", "module:", ":build", "module:a.b"])
def test_a_factory_must_be_named_as_module_and_function(factory: str):
    with pytest.raises(ValueError, match="factory"):
        component("a", factory)


# discovery


GOOD = """
from attrs import frozen
from vidgen import Component, hookimpl

@frozen(kw_only=True)
class Options:
    pass

@hookimpl
def vidgen_models():
    yield Component(name="found-by-entry-point", summary="Found.", options=Options, factory="nowhere:build")
"""


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import no_such_module_ax", "ModuleNotFoundError: No module named 'no_such_module_ax'"),
        ("raise RuntimeError('no\\n GPU')", "RuntimeError: no GPU"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError: invalid syntax"),
    ],
    ids=["import", "raise", "exit", "syntax"],
)
def test_a_plugin_that_fails_to_import_leaves_the_others_standing(
    install: Callable[[str, str], Path],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    error: str,
):
    bad = f"bad{request.node.callspec.id}"
    install(f"good{bad}", GOOD)
    monkeypatch.syspath_prepend(install(bad, code))
    registry = Registry.discover()
    found = {(o.kind, o.component.name): o for o in registry.offers()}
    assert found["model", "found-by-entry-point"].distribution == f"vidgen-good{bad}"
    assert found["model", "found-by-entry-point"].version == "2.5"
    assert found["job", "train"].distribution == "vidgen"
    assert [(one.plugin, one.distribution) for one in registry.broken] == [(bad, f"vidgen-{bad}")]
    assert registry.broken[0].error.startswith(error)
