"""The page about giving frames: its table says the same in three ways."""

import re
from pathlib import Path

import pytest
from vidgen.conditioning.named import ConditionOptions, translate
from vidgen.conditioning.strategy import parse_strategy
from vidgen.conditioning.timeline import Reference, timeline
from vidgen.recipe.source import read_yaml

PAGE = Path(__file__).parents[3] / "docs" / "conditioning.md"
ROW = re.compile(r"\| (?P<what>.+) \| `(?P<drawing>[#~.]{16})` \| (?P<conditions>`\{.+\}`) \| `(?P<strategy>.+)` \|")
ROWS = [row.groupdict() for row in map(ROW.fullmatch, PAGE.read_text(encoding="utf-8").splitlines()) if row]
LENGTHS = {"b.mp4": 20, "d.mp4": 16}


def test_the_page_has_its_table():
    assert len(ROWS) == 9


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["what"])
def test_condition_strategy_and_drawing_agree(row, framewise, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"conditions: [{row['conditions'].replace('`', '')}]", encoding="utf-8")
    conditions = [ConditionOptions(**one) for one in read_yaml(path).data["conditions"]]
    made = translate(conditions, framewise(16), LENGTHS.__getitem__)
    assert made.notes == ()
    references = [Reference(name, LENGTHS.get(name, 1)) for name in made.references]
    for given in (made.given, parse_strategy(row["strategy"])):
        assert timeline(given, references, 16, 1).split("\n")[0] == f"loop 0  {row['drawing']}"
