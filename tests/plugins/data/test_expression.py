"""Conditions on rows: what they choose, and how mistakes are pointed at."""

from typing import Any

import pyarrow as pa
import pytest
from vidgen.errors import UserError
from vidgen_data.expression import Expression

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("text", pa.string()),
        ("num_frames", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("fps", pa.float64()),
        ("good", pa.bool_()),
        ("odd name", pa.int64()),
        ("empty", pa.null()),
    ]
)
ROWS = pa.RecordBatch.from_pylist(
    [
        {"path": "a.mp4", "text": "Ein Hünd (dog)", "num_frames": 60, "height": 100_000, "width": 100_001, "fps": 24.0},
        {"path": "b.mp4", "text": None, "num_frames": None, "height": 2, "width": 3, "good": False, "odd name": 5},
        {"path": "b/c.jpg", "text": "a dig", "num_frames": 1, "height": 7, "width": 5, "fps": 0.0, "good": True},
    ],
    schema=SCHEMA,
)


def chosen(text: str) -> list[int]:
    return [row for row, yes in enumerate(Expression(text, SCHEMA).mask(ROWS).to_pylist()) if yes]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("num_frames >= 51", [0]),
        ('num_frames >= 51 and height*width > 1e5 and text ~ "do+g"', [0]),
        ("height * width > 5000000000", [0]),  # int32 would overflow
        ('text ~ "d.g"', [0, 2]),
        ('not text ~ "dog"', [2]),
        ('contains(lower(text), "HÜND") or contains(lower(text), "hünd")', [0]),
        ('startswith(path, "b") and endswith(path, ".jpg")', [2]),
        ("len(text) == 14", [0]),
        ("1 < height <= 7", [1, 2]),
        ("fps in [24, 25]", [0]),
        ("fps not in [24, 25]", [2]),
        ("text is None", [1]),
        ("text is not None", [0, 2]),
        ("num_frames == None", [1]),
        ("good", [2]),
        ("not good", [1]),
        ("good == True", [2]),
        ("height / width < 0.7", [1]),
        ("-height + 2 == 0", [1]),
        ("height / 0 > 1e300", [0, 1, 2]),
        ('col("odd name") == 5', [1]),
        ("1 < 2", [0, 1, 2]),
        ("empty > 1 or empty is not None", []),
        ("(height > 5 or width > 5) and not (height > 7)", [2]),
    ],
)
def test_a_condition_chooses_rows(text: str, rows: list[int]) -> None:
    assert chosen(text) == rows


def test_a_missing_value_is_neither_above_nor_below() -> None:
    assert chosen("num_frames > 30") == [0]
    assert chosen("not (num_frames > 30)") == [2]


def test_the_columns_looked_at_are_known() -> None:
    assert Expression('height > 1 and text ~ "a" or col("odd name") == 1', SCHEMA).columns == {
        "height",
        "text",
        "odd name",
    }


@pytest.mark.parametrize(
    ("text", "character", "says"),
    [
        ("height > 1 and widht > 3", 16, "did you mean width?"),
        ("height > 1 and widht > 3", 16, "columns: path, text, num_frames"),
        ('"ü" == "ü" and foo > 1', 16, "no such column: 'foo'"),
        ('good and __import__("os")', 10, "no such function: '__import__'"),
        ("text.upper()", 1, "only a function's name can be called"),
        ("lenn(text) > 1", 1, "did you mean len?"),
        ("height >", 9, "this is no expression"),
        ("height > 1 andd good", 12, "this is no expression"),
        ("(height > 1", 1, "never closed"),
        ("", 1, "this is no expression"),
        ("text > 3", 1, "a text cannot be compared with a number"),
        ('height == "3"', 1, "a number cannot be compared with a text"),
        ("good and height", 1, "this cannot be done with true or false and a number"),
        ("height", 1, "this is a number, not a condition"),
        ("text", 1, "this is a text, not a condition"),
        ("text ~ height", 8, "a text in quotes is expected here"),
        ('text ~ "("', 8, "missing )"),
        ('height ~ "1"', 1, "this cannot be done with a number"),
        ("height @ 3 > 1", 8, "this is not allowed"),
        ("height ** 2 > 1", 1, "this is not allowed"),
        ("good and (lambda: 1)", 11, "this is not allowed"),
        ("good and [x for x in path]", 10, "this is not allowed"),
        ("good if good else good", 1, "this is not allowed"),
        ('f"{path}" == "a"', 1, "this is not allowed"),
        ("~height > 1", 1, "this is not allowed"),
        ("height is width", 1, "`is` goes with None only"),
        ('fps in ["a"]', 8, "'a'"),
        ("empty in [1]", 10, "this cannot be done with a column without any value"),
        ("fps in height", 8, "after `in` comes a list"),
        ("contains(text)", 1, "contains takes a value and a text"),
        ("height > 99999999999999999999", 10, "too large"),
    ],
)
def test_a_mistake_is_pointed_at(text: str, character: int, says: str) -> None:
    with pytest.raises(UserError) as raised:
        Expression(text, SCHEMA)
    first, shown, mark, *hints = str(raised.value).split("\n    ")
    assert first.startswith(f"--where, character {character}: ")
    assert shown == text
    assert mark.index("^") == character - 1 and set(mark) <= {" ", "^"}
    assert says in "\n".join([first, *hints])


def test_what_overflows_only_in_the_data_is_still_pointed_at() -> None:
    expression = Expression("height * 9000000000000000 > 1", SCHEMA)
    with pytest.raises(UserError, match=r"character 1: overflow"):
        expression.mask(ROWS)


def test_an_expression_of_several_lines_is_refused() -> None:
    with pytest.raises(UserError, match="on one line"):
        Expression("height > 1\nor good", SCHEMA)


def deep(levels: int) -> str:
    return "(" * levels + "good" + ")" * levels


@pytest.mark.parametrize("text", [deep(300), "not " * 5000 + "good", "a\x00b"])
def test_what_no_parser_takes_is_refused_as_text(text: str) -> None:
    with pytest.raises(UserError, match="this is no expression"):
        Expression(text, SCHEMA)


def test_a_batch_without_rows_has_a_mask_without_rows() -> None:
    nothing: Any = ROWS.slice(0, 0)
    assert Expression("1 < 2", SCHEMA).mask(nothing).to_pylist() == []
