"""YAML text to data with places: the rules of YAML 1.2, `extends`, overrides, and what is refused."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from vidgen.errors import RecipeError
from vidgen.recipe.source import Loader, Source, dump_yaml, from_mapping, read_source

Write = Callable[..., Path]


def read(path: Path, *overrides: str) -> dict[str, Any]:
    return read_source(path, overrides).data


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        read_source(path, overrides)
    return str(caught.value).removesuffix("\n1 problem; nothing was started.")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E+2", 100.0),
        ("12e03", 12000.0),
        ("+.5", 0.5),
        ("1.", 1.0),
        ("3.0", 3.0),
        ("010", 10),
        ("-7", -7),
        ("+12", 12),
        ("0o17", 15),
        ("0x1F", 31),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        # text in YAML 1.2, though not in 1.1
        ("16:9", "16:9"),
        ("1:30:00", "1:30:00"),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("y", "y"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("0o8", "0o8"),
        ("-0x1", "-0x1"),
        ("2024-01-01", "2024-01-01"),
        ("1e", "1e"),
        ("tRUE", "tRUE"),
        ("<<", "<<"),
        ("=", "="),
        # quoted is text whatever it looks like
        ("'1e-4'", "1e-4"),
        ('"true"', "true"),
        ("''", ""),
        ("!!str 7", "7"),
        ("!!float 7", 7.0),
    ],
)
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(write: Write, text: str, value: Any):
    """YAML 1.2.2, chapter 10.3.2."""
    got = read(write(f"key: {text}\n"))["key"]
    assert (got, type(got)) == (value, type(value))


def test_nan_is_a_number(write: Write):
    assert math.isnan(read(write("key: .NaN\n"))["key"])


@pytest.mark.parametrize(
    "value",
    [
        *("1e-4", "7", "0o17", "0x1F", ".inf", "true", "null", "~", "", "16:9", "on", "1_000", "<<"),
        *(" a ", "a: b", "# a", "- a", "'", '"', "a\nb\n", "\t", "%", "@x", "!x", "&x", "*x", "{"),
        *("\x00\x7f\x85\u2028\ufeff", "ж", "🐱", "a" * 300, "word " * 60),
        *(0, -3, 1e-8, 1e22, 1.5, math.inf, True, False, None, [], {}, [[1, 2], [3]], {"a": {"b": [None]}}),
    ],
)
def test_what_is_dumped_loads_unchanged(write: Write, value: Any):
    """Text that looks like a number stays text, and a number a number, also inside lists and as a key."""
    data = {"key": value, "in_list": [value, "x"], "deep": {"er": {"key": value}}}
    if isinstance(value, str) and value:
        data[value] = 1
    got = read(write(dump_yaml(data)))
    assert got == data
    assert type(got["key"]) is type(value)


def test_a_dump_has_no_aliases(write: Write):
    """The same list twice is written out twice: an alias is hard to read and to edit."""
    size = [16, 24]
    assert read(write(dump_yaml({"a": [size, {"b": 1}], "c": [size, {"b": 1}]}))) == {
        "a": [[16, 24], {"b": 1}],
        "c": [[16, 24], {"b": 1}],
    }
    assert "*" not in dump_yaml({"a": size, "b": size})


def test_an_alias_repeats_what_its_anchor_holds_and_shares_nothing(write: Write):
    data = read(write("a: &x {b: 1}\nc: *x\n"), "c.b=2")
    assert data == {"a": {"b": 1}, "c": {"b": 2}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", "r.yaml:5:3: b.c: written twice\n    first at 3:3"),
        ("a: {b: 1, b: 1}\n", "r.yaml:1:11: a.b: written twice\n    first at 1:5"),
        ("a:\n- b: 1\n  b: 2\n", "r.yaml:3:3: a[0].b: written twice\n    first at 2:3"),
        ("a:\n\tb: 1\n", "r.yaml:2:1: not valid YAML: found character '\\t' that cannot start any token"),
        ("a: b: c\n", "r.yaml:1:5: not valid YAML: mapping values are not allowed here"),
        ("a: 1\nb\nc: 2\n", "r.yaml:3:1: not valid YAML: could not find expected ':'"),
        ("a: *b\n", "r.yaml:1:4: not valid YAML: found undefined alias 'b'"),
        (
            "a: 1\n---\nb: 1\n",
            "r.yaml:2:1: not valid YAML: expected a single document in the stream but found another document",
        ),
        ("? [a]\n: 1\n", "r.yaml:1:3: a key must be text or a number"),
        (
            "a: \x00\n",
            "r.yaml: not valid YAML: unacceptable character #x0000: special characters are not allowed",
        ),
        ("a: &a [*a]\n", "r.yaml:1:4: an alias that contains itself, or far too many aliases"),
        ("a: &a\n  b: [1, *a]\n", "r.yaml:1:4: an alias that contains itself, or far too many aliases"),
        ("a: !!int abc\n", "r.yaml:1:4: 'abc' is no !!int"),
        ("a: !!float '1:30'\n", "r.yaml:1:4: '1:30' is no !!float"),
        ("a: !!bool maybe\n", "r.yaml:1:4: 'maybe' is no !!bool"),
    ],
)
def test_broken_text_is_refused_at_its_place(write: Write, text: str, message: str):
    assert refusal(write(text)) == message


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "- a\n- b\n", "text\n", "7\n", "---\n"])
def test_a_recipe_must_be_a_mapping(write: Write, text: str):
    assert refusal(write(text)) == (
        "r.yaml: a recipe is a mapping of keys to values\n    start with a line such as `job: train`"
    )


@pytest.mark.parametrize(
    ("tag", "written"),
    [
        ("!!python/object/apply:os.system", "!!python/object/apply:os.system ['exit 3']"),
        ("!!python/object/new:os.system", "!!python/object/new:os.system {args: ['exit 3']}"),
        ("!!python/name:os.system", "!!python/name:os.system ''"),
        ("!!python/tuple", "!!python/tuple [1, 2]"),
        ("!!binary", "!!binary aGVsbG8="),
        ("!!timestamp", "!!timestamp 2024-01-01"),
        ("!!set", "!!set {a, b}"),
        ("!mine", "!mine {b: 1}"),
        ("!mine", "!mine b"),
    ],
)
def test_no_tag_can_make_anything_but_plain_data(write: Write, tag: str, written: str):
    """The reference ran its configurations as programs; a recipe is data, on lists and mappings too."""
    assert refusal(write(f"a:\n  b: {written}\n")) == (
        f"r.yaml:2:6: the tag {tag} is refused\n    recipes hold plain data, never code"
    )
    assert refusal(write("a: 1\n"), f"a={written}") == f"command line: a={written}: the tag {tag} is refused"


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path):
    (tmp_path / "r.yaml").write_bytes(b"a: \xe9\n")
    assert refusal(tmp_path / "r.yaml") == (f"{tmp_path}/r.yaml: not UTF-8 text (invalid continuation byte at byte 3)")


def test_a_byte_order_mark_is_no_part_of_the_first_key(write: Write):
    assert read(write("\ufeffa: 1\n")) == {"a": 1}


def test_few_lines_of_aliases_cannot_fill_the_memory(write: Write):
    """Nine levels of nine aliases would be 9**9 values."""
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    lines += [f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)]
    assert "far too many aliases" in refusal(write("\n".join(lines)))


@pytest.mark.parametrize("text", ["a: " + "[" * 3000 + "]" * 3000, "".join(" " * n + "a:\n" for n in range(900))])
def test_nesting_without_end_is_refused(write: Write, text: str):
    assert refusal(write(text)) == "r.yaml: not valid YAML: nested too deeply"


def test_a_number_of_thousands_of_digits_is_refused(write: Write):
    assert refusal(write(f"a: {'9' * 5000}")).startswith("r.yaml:1:4: not valid YAML: Exceeds the limit (4300 digits)")


def test_a_missing_recipe_names_its_nearest_neighbours(write: Write):
    write("a: 1\n", "recipes/first.yaml")
    assert refusal(Path("recipes/frist.yaml")) == "recipes/frist.yaml: no such file\n    did you mean first.yaml?"
    assert refusal(Path("recipse/first.yaml")) == (
        "recipse/first.yaml: no such file\n    the folder recipse does not exist"
    )
    assert refusal(Path("recipes")).startswith("recipes: cannot be read: Is a directory")


def test_every_key_and_value_has_its_place(write: Write):
    source = read_source(write("a: 1\nb: [x, {c: 2}]\n"))
    assert [source.place(("a",)), source.place(("b", 0)), source.place(("b", 1, "c"))] == [
        "r.yaml:1:4",
        "r.yaml:2:5",
        "r.yaml:2:12",
    ]
    assert source.place(("b", 1, "c"), at_key=True) == "r.yaml:2:9"
    assert source.place(("b", 1, "d")) == "r.yaml:2:8"  # where its nearest written parent is
    assert source.has(("b", 1)) and not source.has(("b", 2))


# extends


BASE = "job: train\nseed: 1\nmodel: {type: A, depth: 2, width: 3}\nlist: [1, 2, 3]\n"


def test_a_recipe_extends_another_where_it_is_silent(write: Write):
    """Mappings merge; everything else, lists too, is replaced."""
    write(BASE, "base.yaml")
    data = read(write("extends: base.yaml\nseed: 7\nmodel: {depth: 5}\nlist: [9]\nnew: {a: 1}\n"))
    assert data == {
        "job": "train",
        "seed": 7,
        "model": {"type": "A", "depth": 5, "width": 3},
        "list": [9],
        "new": {"a": 1},
    }


def test_a_section_of_another_type_replaces_the_old_one(write: Write):
    """The keys of A mean nothing to B."""
    write(BASE, "base.yaml")
    assert read(write("extends: base.yaml\nmodel: {type: B, heads: 4}\n"))["model"] == {"type": "B", "heads": 4}
    assert read(write("extends: base.yaml\nmodel: {type: A, depth: 4}\n"))["model"] == {
        "type": "A",
        "depth": 4,
        "width": 3,
    }


@pytest.mark.parametrize(("written", "value"), [("model: null", None), ("model: 3", 3), ("model: {}", {"type": "A"})])
def test_only_mappings_merge(write: Write, written: str, value: Any):
    write("model: {type: A}\n", "base.yaml")
    assert read(write(f"extends: base.yaml\n{written}\n"))["model"] == value


def test_places_stay_those_of_the_file_a_value_came_from(write: Write):
    write(BASE, "base.yaml")
    source = read_source(write("extends: base.yaml\nmodel:\n  depth: 5\nlist: [9]\n"))
    assert source.place(("seed",)) == "base.yaml:2:7"
    assert source.place(("model", "depth")) == "r.yaml:3:10"
    assert source.place(("model", "width")) == "base.yaml:3:35"
    assert source.place(("list", 2)) == "r.yaml:4:7"  # base.yaml's third entry is gone
    assert source.place(("missing",)) == "r.yaml:1:1"  # this recipe is where to add it


def test_a_replaced_section_leaves_no_places_behind(write: Write):
    write(BASE, "base.yaml")
    source = read_source(write("extends: base.yaml\nmodel: {type: B}\n"))
    assert not source.has(("model", "depth"))
    assert source.place(("model", "depth")) == "r.yaml:2:8"


def test_extends_is_looked_for_from_the_recipes_folder(write: Write):
    write("seed: 1\n", "recipes/base.yaml")
    source = read_source(write("extends: base.yaml\n", "recipes/r.yaml"))
    assert (source.data, source.folders) == ({"seed": 1}, (Path("recipes"), Path("recipes")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: r.yaml\n", "r.yaml:1:10: extends: r.yaml extends itself"),
        ("extends: ../{folder}/r.yaml\n", "r.yaml:1:10: extends: ../{folder}/r.yaml extends itself"),
        (
            "a: 1\nextends: bas.yaml\n",
            "r.yaml:2:10: extends: no such file: bas.yaml\n    did you mean base.yaml or r.yaml?",
        ),
        ("extends: [base.yaml]\n", "r.yaml:1:10: extends: expected the name of a recipe file, got ['base.yaml']"),
        (
            "extends: base.yaml\n",
            "base.yaml:2:10: extends: one level only\n    r.yaml extends this file already; write keys out",
        ),
    ],
)
def test_extends_goes_one_level_deep_and_never_round(write: Write, tmp_path: Path, text: str, message: str):
    write("seed: 1\nextends: r.yaml\n", "base.yaml")
    assert refusal(write(text.format(folder=tmp_path.name))) == message.format(folder=tmp_path.name)


def test_a_mistake_in_the_extended_file_is_told_there(write: Write):
    write("seed: 1\nseed: 2\n", "base.yaml")
    assert refusal(write("extends: base.yaml\n")) == "base.yaml:2:1: seed: written twice\n    first at 1:1"


# overrides


@pytest.mark.parametrize(
    ("override", "data"),
    [
        ("a=1e-4", {"a": 1e-4}),
        ("a='1e-4'", {"a": "1e-4"}),
        ("a=16:9", {"a": "16:9"}),
        ("a=x=y", {"a": "x=y"}),
        ("a=", {"a": None}),
        ("a=null", {"a": None}),
        (" a = 7 ", {"a": 7}),
        ("a=[1, {b: 2}]", {"a": [1, {"b": 2}]}),
        ('a={"b": [true, null, 1.5e-3]}', {"a": {"b": [True, None, 1.5e-3]}}),
        ('a="\\ud83d\\udc31 \\u00e9 \\" \\n"', {"a": '🐱 é " \n'}),
        ("a=🐱", {"a": "🐱"}),
        ('a="x\\ud83d"', {"a": "x\ufffd"}),  # half a character is none
        ("m.k.z=3", {"m": {"k": {"z": 3}}}),
        ("m.k.new=3", {"m": {"k": {"z": 1, "new": 3}}}),
        ("m.k=3", {"m": {"k": 3}}),
        ("new.a.b=3", {"new": {"a": {"b": 3}}}),
        ("nothing.a=3", {"nothing": {"a": 3}}),
        ("b[0]=3", {"b": [3, {"c": 2}]}),
        ("b.0=3", {"b": [3, {"c": 2}]}),
        ("b[1].c=3", {"b": [1, {"c": 3}]}),
        ("table.256.1=0.5", {"table": {256: {1: 0.5}}}),
    ],
)
def test_an_override_sets_one_key(write: Write, override: str, data: dict[str, Any]):
    text = "a: 0\nb: [1, {c: 2}]\nm: {k: {z: 1}}\nnothing: null\ntable: {256: {1: 1.0}}\n"
    assert read(write(text), override) == {**read(write(text)), **data}


def test_later_overrides_win(write: Write):
    assert read(write("a: 0\n"), "a=1", "a=2", "b.c=1", "b={d: 3}") == {"a": 2, "b": {"d": 3}}


@pytest.mark.parametrize("text", ["a", "=1", ".a=1", "a.=1", "a..b=1", "a]=1", "[0]=1", "a[x]=1", "a[-1]=1", "a[]=1"])
def test_what_is_no_override_is_refused(write: Write, text: str):
    assert refusal(write("a: [0]\n"), text) == (
        f"command line: {text!r} is not an override\n    write key.path=value, such as optimizer.lr=1e-4"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=[", "not valid YAML: expected the node content, but found '<stream end>'"),
        ("a=@x", "not valid YAML: found character '@' that cannot start any token"),
        ("a={x: 1, x: 2}", "x: written twice"),
        ("a=&a [*a]", "an alias that contains itself, or far too many aliases"),
        ("a=!!int x", "'x' is no !!int"),
        ("b[2]=1", "b[2]: the list has 2 entries, counted from 0"),
        ("b.x=1", "b.x: the list has 2 entries, counted from 0"),
    ],
)
def test_a_bad_override_is_told_with_its_own_text(write: Write, text: str, message: str):
    assert refusal(write("a: 0\nb: [1, 2]\n"), text) == f"command line: {text}: {message}"


def test_overridden_values_are_placed_on_the_command_line(write: Write):
    """So are sections that only the command line made, also where the file had something else."""
    source = read_source(write("a: 1\nm: {k: 1, l: 2}\n"), ["m.k=[5]", "new.x=3", "a.b=4"])
    assert source.place(("m", "k", 0)) == "command line: m.k=[5]"
    assert source.place(("m", "l")) == "r.yaml:2:14"
    assert source.place(("new",), at_key=True) == "command line: new.x=3"
    assert source.place(("new", "type")) == "command line: new.x=3"
    assert source.place(("a",)) == "command line: a.b=4"
    assert source.place(("m", "k"), at_key=True) == "command line: m.k=[5]"


def test_an_override_leaves_no_places_of_what_it_replaced(write: Write):
    source = read_source(write("a: 1\nb: [x, {c: 2}]\n"), ["b=[y]"])
    assert not source.has(("b", 1, "c"))
    assert source.place(("b", 1, "c")) == "command line: b=[y]"


def test_a_mapping_from_python_is_a_source_too():
    source = from_mapping({"a": {"b": 1}}, ["a.b=2"])
    assert source == Source(
        "recipe",
        {"a": {"b": 2}},
        value_places={("a", "b"): "command line: a.b=2"},
        key_places={("a", "b"): "command line: a.b=2"},
    )


def test_the_loader_builds_on_the_safe_one():
    assert issubclass(Loader, yaml.SafeLoader)
