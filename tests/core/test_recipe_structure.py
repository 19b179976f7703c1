"""Plain data to typed options: nothing is converted, nothing unknown is let through, all is reported at once."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import attrs
import pytest
from attrs import frozen, validators
from vidgen import Component, Problem, option, section, sections
from vidgen.component import InputPath, Selection, preset
from vidgen.recipe.structure import Mistakes, Structurer, unstructure
from vidgen.registry import Registry

Plugin = Callable[..., ModuleType]


@frozen(kw_only=True)
class Inner:
    rate: float = option(1.0, "A rate.", validator=validators.gt(0))
    count: int = option(2, "A count.")


@frozen(kw_only=True)
class Options:
    flag: bool = option(True, "A flag.")
    count: int = option(3, "A count.", validator=validators.ge(1))
    rate: float = option(0.5, "A rate.")
    name: str = option("x", "A name.")
    where: Path = option(Path("out"), "A place.")
    maybe: int | None = option(None, "Perhaps.", validator=validators.optional(validators.ge(1)))
    mode: Literal["constant", "linear", "cosine"] = option("constant", "A course.")
    sides: Literal[1, 2] = option(1, "Sides.")
    level: Literal["auto"] | float = option("auto", "A level.")
    texts: str | list[str] = option("x", "Texts.")
    size: tuple[int, int] = option((2, 3), "A size.", validator=validators.deep_iterable(validators.ge(1)))
    rates: tuple[float, ...] = option((), "Rates.")
    names: list[str] = option([], "Names.")
    table: dict[str, list[int]] = option({}, "A table.")
    buckets: dict[int, float] = option({}, "Buckets.")
    anything: Any = option(None, "Whatever.")
    inner: Inner = attrs.field(factory=Inner)
    perhaps: Inner | None = option(None, "Perhaps more.")


@frozen(kw_only=True)
class Strict:
    path: InputPath = option(doc="A file that must exist.")
    width: int = option(doc="Columns.")


@frozen(kw_only=True)
class Nested:
    model: Selection = section("model", doc="The one.")
    vae: Selection | None = section("autoencoder", doc="Perhaps one.", optional=True)
    parallel: Selection = section("parallel", {"type": "P"}, doc="With a default.")
    trackers: list[Selection] = sections("tracker", [{"type": "T"}], doc="Many.")


@frozen(kw_only=True)
class Empty:
    pass


@frozen(kw_only=True)
class Careful:
    low: int = option(0, "Below high.")
    high: int = option(1, "Above low.", formerly=("top",))

    def __attrs_post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")


def _refuse(*_: Any) -> None:
    raise ValueError


@frozen(kw_only=True)
class Silent:
    key: str = option(doc="Refused by a validator that says nothing.", validator=_refuse)


def component(name: str, options: type) -> Component:
    return Component(name=name, summary=f"{name}.", options=options, factory="nowhere:build")


@pytest.fixture
def registry(plugin: Plugin) -> Registry:
    offered = plugin(
        vidgen_models=[component("A", Options), component("Strict", Strict), component("Careful", Careful)],
        vidgen_metrics=[component("Silent", Silent)],
        vidgen_parallel=[component("P", Empty)],
        vidgen_trackers=[component("T", Empty), component("Tensor", Inner)],
        vidgen_jobs=[component("nested", Nested)],
    )
    return Registry([("one", "vidgen-one", "1.0", offered)])


@pytest.fixture
def structure(registry: Registry, tmp_path: Path) -> Callable[..., Any]:
    """Structures the options of one component of the made-up plugin."""

    def structured(which: str = "A", kind: str = "model", /, **options: Any) -> Any:
        return Structurer(registry, tmp_path).selection(kind, {"type": which, **options}).options

    return structured


@pytest.fixture
def mistakes(structure: Callable[..., Any]) -> Callable[..., list[str]]:
    """What is reported, as `key path: text` and hints."""

    def found(which: str = "A", kind: str = "model", /, **options: Any) -> list[str]:
        with pytest.raises(Mistakes) as caught:
            structure(which, kind, **options)
        return [str(problem) for problem in caught.value.problems]

    return found


def test_silent_keys_take_the_class_defaults(structure: Callable[..., Any]):
    assert structure() == Options()


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("flag", False, False),
        ("count", 7, 7),
        ("rate", 7, 7.0),
        ("rate", -1.5, -1.5),
        ("name", "7", "7"),
        ("name", "", ""),
        ("where", "a/b", Path("a/b")),
        ("where", "~/x", Path("~/x").expanduser()),
        ("maybe", None, None),
        ("maybe", 4, 4),
        ("mode", "cosine", "cosine"),
        ("level", "auto", "auto"),
        ("level", 2, 2.0),
        ("texts", "a", "a"),
        ("texts", ["a", "b"], ["a", "b"]),
        ("size", [5, 7], (5, 7)),
        ("size", (5, 7), (5, 7)),
        ("rates", [1, 2.5], (1.0, 2.5)),
        ("rates", [], ()),
        ("table", {"a": [1], "b": []}, {"a": [1], "b": []}),
        ("buckets", {256: 1, 512: 0.5}, {256: 1.0, 512: 0.5}),
        ("anything", {"x": [1, "2"]}, {"x": [1, "2"]}),
        ("inner", {"rate": 2}, Inner(rate=2.0)),
        ("inner", {}, Inner()),
        ("perhaps", None, None),
        ("perhaps", {"count": 1}, Inner(count=1)),
    ],
)
def test_a_value_of_the_right_type_is_taken(structure: Callable[..., Any], key: str, given: Any, value: Any):
    got = getattr(structure(**{key: given}), key)
    assert (got, type(got)) == (value, type(value))


@pytest.mark.parametrize(
    ("key", "given", "message"),
    [
        ("count", "7", "count: expected a whole number, got '7' (text)"),
        ("count", 7.0, "count: expected a whole number, got 7.0 (a number)"),
        ("count", 7.9, "count: expected a whole number, got 7.9 (a number)"),
        ("count", True, "count: expected a whole number, got true"),
        ("count", None, "count: expected a whole number, got null"),
        ("count", [7], "count: expected a whole number, got [7] (a list)"),
        ("count", {"a": 1}, "count: expected a whole number, got {'a': 1} (a mapping)"),
        ("rate", "1e-4", "rate: expected a number, got '1e-4' (text)"),
        ("rate", False, "rate: expected a number, got false"),
        ("rate", 10**400, f"rate: expected a number, got {'1' + '0' * 56}... (a whole number)"),
        ("name", 7, "name: expected text, got 7 (a whole number)"),
        ("name", None, "name: expected text, got null"),
        ("flag", 1, "flag: expected true or false, got 1 (a whole number)"),
        ("flag", "yes", "flag: expected true or false, got 'yes' (text)"),
        ("where", "", "where: expected a path, got '' (text)"),
        ("where", 3, "where: expected a path, got 3 (a whole number)"),
        ("maybe", "x", "maybe: expected a whole number, got 'x' (text)"),
        ("level", True, "level: expected one of auto or a number, got true"),
        ("level", "aut", "level: expected one of auto or a number, got 'aut' (text)"),
        ("texts", 3, "texts: expected text or a list, got 3 (a whole number)"),
        ("texts", ["a", 3], "texts[1]: expected text, got 3 (a whole number)"),
        ("size", [5], "size: expected a list of 2 values, got [5] (a list)"),
        ("size", [5, 7, 9], "size: expected a list of 2 values, got [5, 7, 9] (a list)"),
        ("size", "16:9", "size: expected a list of 2 values, got '16:9' (text)"),
        ("size", [5, 7.5], "size[1]: expected a whole number, got 7.5 (a number)"),
        ("rates", 0.5, "rates: expected a list, got 0.5 (a number)"),
        ("rates", [1, "2"], "rates[1]: expected a number, got '2' (text)"),
        ("names", "ab", "names: expected a list, got 'ab' (text)"),
        ("names", {"a": 1}, "names: expected a list, got {'a': 1} (a mapping)"),
        ("table", [1], "table: expected a mapping, got [1] (a list)"),
        ("table", {"a": [1, "x"]}, "table.a[1]: expected a whole number, got 'x' (text)"),
        ("table", {7: [1]}, "table[7]: expected text, got 7 (a whole number)"),
        ("buckets", {"256": 1.0}, "buckets.256: expected a whole number, got '256' (text)"),
        ("inner", None, "inner: expected a mapping of keys to values, got null"),
        ("inner", 3, "inner: expected a mapping of keys to values, got 3 (a whole number)"),
        ("inner", {"rate": "2"}, "inner.rate: expected a number, got '2' (text)"),
        ("perhaps", {"rat": 2}, "perhaps.rat: no such key\n    did you mean rate?"),
        ("name", ["x" * 99], f"name: expected text, got ['{'x' * 55}... (a list)"),
    ],
)
def test_nothing_is_converted_to_the_wanted_type(
    mistakes: Callable[..., list[str]], key: str, given: Any, message: str
):
    assert mistakes(**{key: given}) == [message]


def test_a_misspelt_choice_is_told_the_nearest(mistakes: Callable[..., list[str]]):
    expected = "mode: expected one of constant, linear, cosine, got"
    assert mistakes(mode="cosin") == [f"{expected} 'cosin' (text)\n    did you mean cosine?"]
    assert mistakes(mode="xyz") == [f"{expected} 'xyz' (text)"]
    assert mistakes(sides=True) == ["sides: expected one of 1, 2, got true"]
    assert mistakes(sides=2.0) == ["sides: expected one of 1, 2, got 2.0 (a number)"]
    assert mistakes(mode=3) == [f"{expected} 3 (a whole number)"]


def test_unknown_keys_are_never_let_through(mistakes: Callable[..., list[str]]):
    """Known defect of the reference: `enable_flashattn` was swallowed, and flash attention stayed off."""
    assert mistakes(cuont=3) == ["cuont: no such key\n    did you mean count?"]
    assert mistakes(inner={"Rate": 1.0}) == ["inner.Rate: no such key\n    did you mean rate?"]
    assert mistakes("T", "tracker", x=1) == ["x: no such key"]
    assert mistakes("Tensor", "tracker", zz=1) == ["zz: no such key\n    known: count, rate"]


def test_an_old_name_of_a_key_works_with_a_warning(structure: Callable[..., Any], caplog: pytest.LogCaptureFixture):
    assert structure("Careful", top=5) == Careful(high=5)
    assert caplog.messages == ["recipe: the key top is called high now; the old name will go"]


def test_an_old_and_a_new_name_together_are_refused(mistakes: Callable[..., list[str]]):
    assert mistakes("Careful", top=5, high=6) == ["top: is called high now, which is given, too"]


def test_a_validators_words_are_reported_at_its_key(mistakes: Callable[..., list[str]]):
    assert mistakes(count=0) == ["count: 'count' must be >= 1: 0"]
    assert mistakes(maybe=0) == ["maybe: 'maybe' must be >= 1: 0"]
    assert mistakes(inner={"rate": -1.0}) == ["inner.rate: 'rate' must be > 0: -1.0"]


def test_a_validator_without_words_still_refuses(mistakes: Callable[..., list[str]]):
    assert mistakes("Silent", "metric", key="y") == ["key: ValueError"]


def test_a_class_that_refuses_its_values_is_reported_at_its_section(
    mistakes: Callable[..., list[str]], registry: Registry
):
    assert mistakes("Careful", low=3, high=2) == ["low must be below high, got 3 and 2"]
    with pytest.raises(Mistakes) as caught:
        Structurer(registry, Path()).selection("job", {"job": "nested", "model": {"type": "Careful", "low": 5}}, "job")
    assert [str(one) for one in caught.value.problems] == ["model: low must be below high, got 5 and 1"]


def test_all_mistakes_come_out_in_one_pass(mistakes: Callable[..., list[str]]):
    found = mistakes(
        count=0,
        rate="x",
        names=[1, "a", 2],
        inner={"rate": 0.0, "cuont": 1},
        size=[0.5, "y"],
        table={1: [], "a": ["b"]},
    )
    assert sorted(found) == [
        "count: 'count' must be >= 1: 0",
        "inner.cuont: no such key\n    did you mean count?",
        "inner.rate: 'rate' must be > 0: 0.0",
        "names[0]: expected text, got 1 (a whole number)",
        "names[2]: expected text, got 2 (a whole number)",
        "rate: expected a number, got 'x' (text)",
        "size[0]: expected a whole number, got 0.5 (a number)",
        "size[1]: expected a whole number, got 'y' (text)",
        "table.a[0]: expected a whole number, got 'b' (text)",
        "table[1]: expected text, got 1 (a whole number)",
    ]


def test_a_mistake_in_a_key_is_told_apart_from_one_in_its_value(registry: Registry):
    data = {"type": "A", "table": {7: [1], "a": 3}, "cuont": 1}
    with pytest.raises(Mistakes) as caught:
        Structurer(registry, Path()).selection("model", data)
    assert {one.path: one.at_key for one in caught.value.problems} == {
        ("cuont",): True,
        ("table", 7): True,
        ("table", "a"): False,
    }


def test_required_keys_are_missed_with_what_they_mean(mistakes: Callable[..., list[str]]):
    assert mistakes("Strict") == ["path: missing\n    A file that must exist.", "width: missing\n    Columns."]


def test_an_input_path_is_looked_for_here_and_beside_the_recipe(
    structure: Callable[..., Any],
    mistakes: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    (tmp_path / "here").mkdir()
    (tmp_path / "beside.csv").touch()
    monkeypatch.chdir(tmp_path / "here")
    assert structure("Strict", path="beside.csv", width=1).path == tmp_path / "beside.csv"
    Path("beside.csv").touch()
    assert structure("Strict", path="beside.csv", width=1).path == Path("beside.csv")  # the current folder comes first
    assert mistakes("Strict", path="gone.csv", width=1) == [
        f"path: no such file or folder: gone.csv\n    looked for gone.csv and {tmp_path}/gone.csv"
    ]
    assert mistakes("Strict", path="/gone.csv", width=1) == [
        "path: no such file or folder: /gone.csv\n    looked for /gone.csv"
    ]


@pytest.fixture
def recipe_mistakes(registry: Registry) -> Callable[..., list[str]]:
    """What is reported of a whole recipe of the job `nested`."""

    def found(**data: Any) -> list[str]:
        with pytest.raises(Mistakes) as caught:
            Structurer(registry, Path()).selection("job", {"job": "nested", **data}, "job")
        return [str(problem) for problem in caught.value.problems]

    return found


def test_sections_become_checked_selections(registry: Registry):
    data = {"job": "nested", "model": {"type": "A", "count": 5}, "trackers": [{"type": "Tensor", "rate": 2}]}
    job = Structurer(registry, Path()).selection("job", data, "job")
    assert (job.kind, job.type) == ("job", "nested")
    assert (job.options.model.kind, job.options.model.type, job.options.model.options.count) == ("model", "A", 5)
    assert job.options.vae is None
    assert job.options.parallel.type == "P"
    assert [(one.type, one.options) for one in job.options.trackers] == [("Tensor", Inner(rate=2.0))]
    assert unstructure(job)["trackers"] == [{"type": "Tensor", "rate": 2.0, "count": 2}]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "model: missing\n    a mapping with `type:`; installed: A, Careful, Strict"),
        ({"model": None}, "model: missing\n    a mapping with `type:`; installed: A, Careful, Strict"),
        ({"model": {}}, "model.type: missing\n    installed: A, Careful, Strict"),
        ({"model": "A"}, "model: expected a mapping with `type:` and its options, got 'A' (text)"),
        (
            {"model": {"type": 3}},
            "model.type: expected text, got 3 (a whole number)\n    installed: A, Careful, Strict",
        ),
        (
            {"model": {"type": ["A"]}},
            "model.type: expected text, got ['A'] (a list)\n    installed: A, Careful, Strict",
        ),
        (
            {"model": {"type": "a"}},
            "model.type: no installed plugin offers the model 'a'\n"
            "    installed: A, Careful, Strict\n    did you mean A?",
        ),
        ({"model": {"type": "A", "count": "x"}}, "model.count: expected a whole number, got 'x' (text)"),
        ({"model": {"type": "A"}, "trackers": None}, "trackers: expected a list, got null"),
        (
            {"model": {"type": "A"}, "trackers": {"type": "T"}},
            "trackers: expected a list, got {'type': 'T'} (a mapping)",
        ),
        (
            {"model": {"type": "A"}, "trackers": [{"type": "T"}, {"type": "Tensr"}]},
            "trackers[1].type: no installed plugin offers the tracker 'Tensr'\n"
            "    installed: T, Tensor\n    did you mean Tensor or tensorboard?",
        ),
        (
            {"model": {"type": "A"}, "trackers": [{"type": "Tensor", "rate": 0}]},
            "trackers[0].rate: 'rate' must be > 0: 0.0",
        ),
        (
            {"model": {"type": "A"}, "trackers": ["T"]},
            "trackers[0]: expected a mapping with `type:` and its options, got 'T' (text)",
        ),
    ],
)
def test_mistakes_in_sections_are_told_with_their_key_path(
    recipe_mistakes: Callable[..., list[str]], data: dict[str, Any], message: str
):
    assert recipe_mistakes(**data) == [message]


def test_a_name_of_another_kind_is_not_taken(recipe_mistakes: Callable[..., list[str]]):
    assert recipe_mistakes(model={"type": "T"})[0].startswith("model.type: no installed plugin offers the model 'T'")


def test_what_a_class_says_is_wrong_between_keys_is_reported(registry: Registry, plugin: Plugin):
    @frozen(kw_only=True)
    class Pair:
        low: int = option(0, "Low.")

        def problems(self) -> list[Problem]:
            return [Problem(("low",), f"too low: {self.low}", ("try 1",))] if self.low < 1 else []

    made = Registry([("two", "vidgen-two", "1", plugin(vidgen_models=[component("Pair", Pair)]))])
    with pytest.raises(Mistakes) as caught:
        Structurer(made, Path()).selection("model", {"type": "Pair"})
    assert [str(one) for one in caught.value.problems] == ["low: too low: 0\n    try 1"]
    assert Structurer(made, Path()).selection("model", {"type": "Pair", "low": 1}).options.low == 1


def test_a_preset_is_the_same_class_with_other_defaults(plugin: Plugin):
    small = preset(Options, "Small", count=5, mode="linear")
    made = Registry([("two", "vidgen-two", "1", plugin(vidgen_models=[component("Small", small)]))])
    options = Structurer(made, Path()).selection("model", {"type": "Small", "rate": 2.0}).options
    assert (options.count, options.mode, options.rate, options.name) == (5, "linear", 2.0, "x")
    with pytest.raises(Mistakes):
        Structurer(made, Path()).selection("model", {"type": "Small", "count": 0})
    with pytest.raises(TypeError, match="Options has no cuont"):
        preset(Options, "Small", cuont=5)


def test_options_go_back_to_what_a_recipe_would_say(structure: Callable[..., Any]):
    given = {"size": [5, 7], "where": "a/b", "inner": {"rate": 2.0, "count": 9}, "table": {"a": [1]}, "level": 2.0}
    plain = unstructure(structure(**given))
    assert {key: plain[key] for key in given} == given
    assert structure(**plain) == structure(**given)
