"""Configurations in Python's syntax: what their lines are worth."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vidgen.errors import UserError
from vidgen_convert.config.reading import read_config
from vidgen_convert.refused import Refused

Read = Callable[[str], dict[str, Any]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def reading(text: str) -> dict[str, Any]:
        path = tmp_path / "config.py"
        path.write_text(text)
        return dict(read_config(path).values)

    return reading


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("24 // 3", 8),
        ("2 / 3 * 1.5", 1.0),
        ("-(2 ** 5) % 7", 3),
        ("not True", False),
        ("'a' 'b' + \"c\"", "abc"),
        ("[1, 2] + [3]", [1, 2, 3]),
        ("(512, 2048 // 8)", (512, 256)),
        ("dict(a=1, **{'b': 2})", {"a": 1, "b": 2}),
        ("{**dict(a=1), 'a': 3}", {"a": 3}),
        ("int(7.9) + float(1)", 8.0),
        ("tuple([1, None])", (1, None)),
        ("{'240p': {1: (1.0, None), 51: ((0.5, 0.33), 8)}}", {"240p": {1: (1.0, None), 51: ((0.5, 0.33), 8)}}),
        ("(3, 5)[1]", 5),
        ("1e-15", 1e-15),
    ],
)
def test_an_expression_is_worked_out(read: Read, expression: str, value: Any) -> None:
    found = read(f"x = {expression}")["x"]
    assert found == value
    assert type(found) is type(value) or isinstance(value, dict)


def test_names_bound_earlier_stand_for_their_values(read: Read) -> None:
    assert read(
        '"""Says something."""\nn: int = 17  # frames\nsize = old = (n, 2 * n)\nd = dict(n=n, size=size)\npass'
    ) == {
        **{"n": 17, "size": (17, 34), "old": (17, 34)},
        "d": {"n": 17, "size": (17, 34)},
    }


def test_bases_lie_below_and_mappings_merge(tmp_path: Path) -> None:
    (tmp_path / "sizes.py").write_text("image_size = (144, 256)\nmodel = dict(type='A', depth=3, patch=dict(t=1, s=2))")
    (tmp_path / "run.py").write_text("lr = 0.5\nvae = dict(type='V', scale=2)")
    top = tmp_path / "top.py"
    top.write_text(
        "_base_ = ['sizes.py', './run.py']\n"
        "model = dict(depth=5, patch=dict(s=4))\nvae = dict(_delete_=True, type='W')\nlr = _base_.lr / 2\n"
        "width = _base_.model.depth * 100"
    )
    assert dict(read_config(top).values) == {
        "image_size": (144, 256),
        "model": {"type": "A", "depth": 5, "patch": {"t": 1, "s": 4}},
        **{"lr": 0.25, "vae": {"type": "W"}, "width": 300},
    }


def test_places_are_those_of_the_file_that_says_it(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text("\nmodel = dict(\n    type='A',\n    depth=3,\n)")
    top = tmp_path / "top.py"
    top.write_text("_base_ = 'base.py'\nmodel = dict(depth=5)")
    places = read_config(top).values["model"].places
    assert places == {"type": f"{tmp_path}/base.py:3:10", "depth": f"{top}:2:20"}


def test_bases_that_go_in_a_circle_are_told(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        (tmp_path / f"{name}.py").write_text(f"_base_ = '{other}.py'")
    with pytest.raises(UserError, match=r"circle: a\.py -> b\.py -> c\.py -> a\.py"):
        read_config(tmp_path / "a.py")


def test_two_bases_that_bind_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text("lr = 1")
    (tmp_path / "top.py").write_text("_base_ = ['a.py', 'b.py']")
    with pytest.raises(Refused, match=r"b\.py and another base both bind lr"):
        read_config(tmp_path / "top.py")


@pytest.mark.parametrize(
    ("line", "column", "said", "hint"),
    [
        ("import os", 1, "imports are not carried out", "write the values"),
        ("from a import b", 1, "imports are not carried out", "write the values"),
        ("x = os.cpu_count()", 5, "os.cpu_count(...) is not called", "dict, list, tuple, int and float"),
        ("x = open('f').read()", 5, "open('f').read(...) is not called", "value that comes out"),
        ("for i in [1]: pass", 1, "loops", "write the entries out"),
        ("x = [i for i in (1, 2)]", 5, "comprehensions", "write the entries out"),
        ("if True: x = 1", 1, "conditions", "keep the branch"),
        ("x = 1 if True else 2", 5, "conditions", "value of the branch"),
        ("def f(): pass", 1, "functions are not run", "values that it makes"),
        ("class A: pass", 1, "classes", "dict(...)"),
        ("x = lambda: 1", 5, "functions are not run", "value that comes out"),
        ("x = f'{1}'", 5, "f-strings", "join texts with +"),
        ("x = {1, 2}", 5, "sets", "write a list"),
        ("x += 1", 1, "not changed after", "bind the final value"),
        ("x = 1 < 2", 5, "comparisons", "True or False"),
        ("x = y", 5, "y is not bound before this line", "write its value"),
        ("a, b = 1, 2", 1, "(a, b) = ... binds no single name", "name = value"),
        ("x = 1 / 0", 5, "1 / 0 cannot be worked out: division by zero", "write the value itself"),
        ("x = 'a' + 1", 5, "cannot be worked out", "write the value itself"),
        ("x = 10 ** 10 ** 10", 5, "far too large", "write the value itself"),
        ("x = 'a' * 10 ** 9", 5, "far too large", "write the value itself"),
        ("x = {'a': 1}['b']", 5, "there is no 'b'", "write the value itself"),
        ("x = b'raw'", 5, "has no form in a recipe", "a number, a text"),
        ("x = (1)(2)", 5, "1(...) is not called", "value that comes out"),
        ("x = dict.fromkeys([1])", 5, "dict.fromkeys(...) is not called", "value that comes out"),
        ("x = [1, 2][0:1]", 5, "is not worked out", "write the entries out"),
        ("x = (-8) ** 0.5", 5, "no real number", "write the value itself"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_what_to_write(
    read: Read, line: str, column: int, said: str, hint: str
) -> None:
    with pytest.raises(Refused) as error:
        read(f"a = 3\n{line}")
    (fault,) = error.value.faults
    assert fault.place.endswith(f"config.py:2:{column}")
    assert said in fault.text
    assert hint in fault.hint


def test_all_lines_are_refused_at_once_and_none_twice(read: Read) -> None:
    with pytest.raises(Refused) as error:
        read("from x import y\nmodel = dict(depth=y, width=2 * y + z)\nfor i in range(3):\n    n = i\nsize = n\nok = 1")
    lines = [fault.place.rsplit(":", 2)[1] for fault in error.value.faults]
    assert lines == ["1", "2", "3"]
    assert "z is not bound" in error.value.faults[1].text
    assert str(error.value).endswith("3 problems; nothing was written.")


def test_nothing_of_a_file_is_run(read: Read, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for line in (f"__import__('pathlib').Path({str(mark)!r}).touch()", f"open({str(mark)!r}, 'w')"):
        with pytest.raises(Refused):
            read(f"x = {line}\n{line}")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bucket_config = {'4K', {}}", "write a list"),
        ("x = (", "not valid Python"),
        ("x = \0", "null bytes"),
        ("x = " + "1 + " * 5000 + "1", "recursion"),
        ("x = " + "(" * 500 + "1" + ")" * 500, "parentheses"),
    ],
)
def test_what_is_no_configuration_is_told_in_a_sentence(read: Read, text: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        read(text)
    assert said in str(error.value)
    assert "config.py" in str(error.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.py cannot be read: No such file"):
        read_config(tmp_path / "absent.py")
