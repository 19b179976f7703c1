"""What a recipe makes of its data, without opening any."""

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from tiny_run import RECIPE, merged
from vidgen.interfaces import Assignment, Bucket, Request
from vidgen_data.occupancy import LEFT_OVER, assigned, plan, write_rows
from vidgen_data.recipe_data import RecipeData

ROWS = 7


class Sevens:
    """Rows 0 to 4 to two buckets of 2 and 1 frames of 3x5 pixels, the others to none; batches of unequal weight."""

    def __init__(self, *, ragged: bool) -> None:
        self.ragged = ragged

    def assign(self, table: pa.Table, epoch: int) -> Assignment:
        sizes = (("two", 2), ("one", 1), ("never", 9))
        return Assignment(
            buckets=[Bucket(name=name, num_frames=frames, size=(3, 5), batch_size=2) for name, frames in sizes],
            bucket=np.array([0, 1, 0, 1, 1, -1, -1]),
            reasons=("too short", "unused reason", "too small"),
            reason=np.array([-1, -1, -1, -1, -1, 2, 0]),
        )

    def plan(self, table: pa.Table, epoch: int, num_ranks: int) -> Sequence[Sequence[Request]]:
        two = tuple(Request(row, 2, (3, 5)) for row in (0, 2))
        one = tuple(Request(row, 1, (3, 5)) for row in (1, 3))
        return [(*two, *one), (Request(4, 1, (3, 5)),)] if self.ragged else [two, one]


def made(*, ragged: bool) -> RecipeData:
    table = pa.table({"path": [f"{row}.mp4" for row in range(ROWS)]})
    dataset: Any = SimpleNamespace(table=table)
    bucketer: Any = Sevens(ragged=ragged)
    return RecipeData(
        name="r", seed=0, dataset=dataset, bucketer=bucketer, bucketer_type="x", tokens=prod, unit="pixels"
    )


def test_buckets_batches_and_tokens_are_counted() -> None:
    data = made(ragged=False)
    found = assigned(data, epoch=0, ranks=2)
    plan(data, found, epoch=0)
    assert [(use.rows, use.clips, use.batches, use.tokens) for use in found.uses] == [
        (2, 2, 1, 30), (3, 2, 1, 15), (0, 0, 0, 0),
    ]  # fmt: skip
    assert (found.steps, found.clips, found.tokens, found.padded) == (1, 4, 90, 90)
    assert found.imbalance == pytest.approx(60 / 45) and found.worst == pytest.approx(60 / 45)
    assert found.left_over.tolist() == [False, False, False, False, True, False, False]
    assert found.reasons() == [("too short", 1), ("too small", 1)]


def test_padding_of_batches_of_several_sizes_is_counted() -> None:
    data = made(ragged=True)
    found = assigned(data, epoch=0, ranks=1)
    plan(data, found, epoch=0)
    assert (found.steps, found.tokens, found.padded) == (2, 30 + 30 + 15 + 15 + 15, 4 * 30 + 15)
    assert [use.batches for use in found.uses] == [1, 2, 0] and found.imbalance == 1.0


def test_rows_in_no_batch_are_written_with_reasons(tmp_path: Path, rows: Any) -> None:
    data = made(ragged=False)
    found = assigned(data, epoch=0, ranks=2)
    plan(data, found, epoch=0)
    assert write_rows(found, data.dataset.table, tmp_path / "r.csv", force=False) == 3
    assert rows("r.csv") == [
        {"row": 4, "path": "4.mp4", "reason": LEFT_OVER},
        {"row": 5, "path": "5.mp4", "reason": "too small"},
        {"row": 6, "path": "6.mp4", "reason": "too short"},
    ]


@pytest.fixture
def recipe(tmp_path: Path) -> Any:
    """Writes a tiny training recipe over `meta.csv`; files it names exist and are empty."""
    (tmp_path / "meta.csv").write_text(
        "path,text,num_frames,height,width,fps\n"
        + "".join(f"{row}.mp4,clip {row},{row},34,50,30\n" for row in range(1, 9))
    )
    for row in range(1, 9):
        (tmp_path / f"{row}.mp4").touch()

    def write(changes: Mapping[str, Any] | None = None) -> str:
        dataset = {"type": "VideoText", "data_path": "meta.csv"}
        data = merged({**RECIPE, "dataset": dataset}, dict(changes or {}))
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(data))
        return "recipe.yaml"

    return write


def cells(out: str) -> list[list[str]]:
    """Lines as words without commas in numbers."""
    return [line.replace(",", "").split() for line in out.splitlines()]


def test_a_plan_says_how_an_epoch_goes(run: Any, recipe: Any, rows: Any) -> None:
    """Tokens by hand: 2 frames of 8x16 pixels, 4x4 pixels a latent, one latent a token."""
    done = run("plan", recipe(), "--ranks", 2, "--rows", "left.csv")
    found = cells(done.out)
    assert done.status == 0
    assert ["2", "frames", "2", "8x16", "7", "3", "16", "48", "2", "6"] in found
    assert ["8", "rows", "7", "have", "a", "bucket"] in found
    for line in ("steps on 2 rank(s) 1", "batches 2", "clips 6", "rows left over 1", "tokens 96", "tokens a step 96"):
        assert line.split() in found
    assert [row["reason"] == LEFT_OVER for row in rows("left.csv")] in ([False, True], [True, False])
    assert {row["path"] for row in rows("left.csv")} >= {"1.mp4"}


def test_pixels_are_counted_without_the_model(run: Any, recipe: Any) -> None:
    found = cells(run("plan", recipe({"batch_size": 1}), "--no-model").out)
    assert ["2", "frames", "2", "8x16", "7", "1", "256", "256", "7", "7"] in found
    assert ["pixels", "1792"] in found


def test_a_table_and_changes_may_be_given(run: Any, recipe: Any, table: Any) -> None:
    table("other.csv", "path,text,num_frames,height,width,fps\n" + "1.mp4,x,9,34,50,30\n" * 4)
    out = run(
        "plan", recipe({"dataset.data_path": "none.csv"}), "num_frames=9", "other.csv", "--no-model", "batch_size=4"
    ).out
    assert ["9", "frames", "9", "8x16", "4", "4", "1152", "4608", "1", "4"] in cells(out)


def test_no_row_that_fits_is_explained_at_once(run: Any, recipe: Any) -> None:
    done = run("plan", recipe({"num_frames": 99}))
    assert done.status == 2
    assert ["8", "rows", "0", "have", "a", "bucket"] in cells(done.out)
    assert any(line[:4] == ["videos", "of", "fewer", "than"] and line[-1] == "7" for line in cells(done.out)), done.out
    assert "not enough rows to fill one step on every rank" in done.error


def test_buckets_of_several_sizes_and_a_suggestion(run: Any, recipe: Any, table: Any) -> None:
    section = "bucketer={type: bucket, bucket_config: {144p: {1: [1.0, 2], 17: [1.0, 3]}}}"
    lines = [f"{1 + row % 8}.mp4,x,{1 if row < 4 else 40},144,256,30\n" for row in range(20)]
    table("large.csv", "path,text,num_frames,height,width,fps\n" + "".join(lines))
    arguments = (recipe({"vae.patch": [1, 1, 1]}), "large.csv", section, "--no-model")
    out = run("plan", *arguments).out
    assert any(line[-2:] == ["5", "15"] for line in cells(out)) and any(line[-2:] == ["2", "4"] for line in cells(out))
    suggested = yaml.safe_load(run("plan", *arguments, "--suggest").out)
    assert suggested["bucketer"]["type"] == "bucket" and 1 in suggested["bucketer"]["bucket_config"]["144p"]
    assert run("plan", *arguments[:2], f"bucketer={suggested['bucketer']}", "--no-model").status == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("recipe.yaml", "--suggest", "--no-model"), "the bucketer fixed has no options to suggest"),
        (("recipe.yaml", "meta.csv", "other.csv"), "two tables are given, meta.csv and other.csv"),
        (("recipe.yaml", "none.csv"), "dataset.data_path: no such file or folder: none.csv"),
        (("recipe.yaml", "num_framse=3"), "did you mean num_frames?"),
        (("none.yaml",), "none.yaml"),
        (("recipe.yaml", "--rows", "meta.csv"), "meta.csv exists"),
        (("recipe.yaml", "meta.doc"), "no such file or folder: meta.doc"),
        (("recipe.yaml", "pathless.csv"), "has no column 'path'"),
        (("recipe.yaml", "rowless.csv"), "it has no rows"),
        (("recipe.yaml", "vae.patch=[1, 5, 5]"), "--no-model counts pixels in place of tokens"),
        (("sample.yaml",), "reads no data. Give a training recipe"),
    ],
)
def test_a_plan_that_cannot_be_says_why(arguments: Any, says: str, run: Any, recipe: Any, table: Any) -> None:
    recipe()
    table("pathless.csv", "text\na\n")
    table("rowless.csv", "path,text\n")
    kept = ("model", "vae", "text_encoder", "scheduler", "num_frames", "image_size")
    sample = {"job": "sample", "prompts": ["a"], **{name: RECIPE[name] for name in kept}}
    table("sample.yaml", yaml.safe_dump(sample))
    done = run("plan", *arguments)
    assert done.status == 2 and says in done.error
