"""The loss of rows that are never trained on."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
from tiny_run import RECIPE, assert_same_state, loss_log, merged
from vidgen import RunError, UserError
from vidgen.engine import media
from vidgen.engine.held_out import SpreadDraws, held_out_rows
from vidgen.recipe import Recipe
from vidgen.recipe.schema import HeldOutOptions
from vidgen.rng import Draws

Train = Callable[..., Path]
OTHER = {"type": "moving-shapes", "rows": 5, "seed": 3}


def scores(outputs: Path) -> dict[tuple[int, str], float]:
    with (outputs / "scores.csv").open() as file:
        return {(int(row["step"]), row["name"]): float(row["value"]) for row in csv.DictReader(file)}


@pytest.mark.parametrize("count", [1, 4, 7])
def test_timesteps_are_one_in_each_part_of_the_schedule(count: int) -> None:
    """Whatever a scheduler draws: uniform and normal numbers, integers."""
    passes = [SpreadDraws(3, [5, 9, 11], number, count) for number in range(count)]
    uniform = torch.stack([one.uniform("timestep") for one in passes])  # (K, B)
    normal = torch.stack([one.normal("timestep", (2, 1))[:, 0, 0] for one in passes])
    integers = torch.stack([one.integers("timestep", 50 * count) for one in passes])
    parts = torch.arange(count)[:, None].expand(count, 3)
    assert torch.equal((uniform * count).long(), parts)
    assert torch.equal(integers // 50, parts)
    torch.testing.assert_close(torch.special.ndtr(normal.double()), uniform.double(), atol=1e-6, rtol=0)
    assert len(set(uniform[0].tolist())) == 3, "rows lie at different places of a part"


def test_everything_but_timesteps_is_drawn_at_an_address_of_its_own() -> None:
    one, again, other = SpreadDraws(3, [5, 9], 0, 4), SpreadDraws(3, [9], 0, 4), SpreadDraws(3, [9], 1, 4)
    noise = one.normal("noise", (2, 3))
    assert torch.equal(noise[1:], again.normal("noise", (2, 3)))
    assert torch.equal(one[1].uniform("timestep"), again.uniform("timestep"))
    assert not torch.equal(again.normal("noise", (2, 3)), other.normal("noise", (2, 3)))
    assert not torch.equal(noise[1:], Draws(3, [(0, 9)]).normal("noise", (2, 3)))


@pytest.mark.parametrize(("rows", "found"), [(3, range(8, 11)), (0.5, range(5, 11)), (0.01, range(10, 11))])
def test_the_last_rows_are_held_out(rows: int | float, found: range) -> None:
    assert held_out_rows(HeldOutOptions(rows=rows), 11) == found


@pytest.mark.parametrize("rows", [11, 12])
def test_rows_are_left_to_train_on(rows: int) -> None:
    with pytest.raises(UserError, match=rf"held_out\.rows: {rows} of the dataset's 11 rows leave none"):
        held_out_rows(HeldOutOptions(rows=rows), 11)


def test_a_number_is_no_share(recipe_of: Callable[..., Recipe]) -> None:
    for rows in (0, 1.5, -0.1):
        with pytest.raises(UserError, match=r"held_out\.rows: .*1 or more, or a share between 0 and 1"):
            recipe_of(held_out={"rows": rows})


def test_held_out_rows_are_never_trained_on(train: Train) -> None:
    """Six of eight rows in batches of three: every epoch has two steps, and the first three losses are those of a
    dataset that has those six alone."""
    held, alone = train("held", held_out={"rows": 2, "every": 4}), train("alone", dataset__rows=6)
    assert_same_state(held, alone, step=6)
    assert loss_log(held) == loss_log(alone)
    assert [step for step, name in scores(held) if name == "held_out/raw"] == [4, 6]


def test_measuring_changes_nothing_of_the_training(train: Train) -> None:
    changes = {"model__drop_path": 0.5, "model__depth": 3}
    held_out = {"rows": 5, "every": 2, "dataset": OTHER}
    assert_same_state(train("plain", **changes), train("measured", held_out=held_out, **changes), step=6)


def test_a_resumed_run_measures_what_one_run_measures(train: Train) -> None:
    changes = {"held_out": {"rows": 2, "every": 2, "timesteps": 3}}
    whole = train("whole", **changes)
    train("parts", max_steps=3, **changes)
    parts = train("parts", resume="latest", **changes)
    assert {key: value for key, value in scores(parts).items() if key[0] != 3} == scores(whole)


def test_it_falls_when_a_model_learns_and_weights_and_averages_are_told_apart(train: Train) -> None:
    found = scores(train(max_steps=30, held_out={"rows": 2, "every": 10, "timesteps": 4}))
    raw, ema = ([found[step, f"held_out/{name}"] for step in (10, 20, 30)] for name in ("raw", "ema"))
    assert raw[2] < raw[0] and ema[2] < ema[0] and raw != ema


def test_without_an_average_there_are_the_weights_alone(train: Train) -> None:
    found = scores(train(ema=None, held_out={"rows": 2, "every": 10}))
    assert set(found) == {(6, "held_out/raw")}


def test_with_no_learning_rate_it_stays_the_same(train: Train) -> None:
    found = scores(train(optimizer__lr=1e-30, held_out={"rows": 3, "every": 2}))
    assert len(found) == 6 and len({round(value, 6) for value in found.values()}) == 1


@pytest.fixture
def clips(tmp_path: Path) -> dict[str, Any]:
    """Changes of the recipe: two buckets of three videos and two stills, another still for which there is none, and one
    that is no picture."""
    lines = ["path,text,num_frames,height,width"]
    for row, (frames, side) in enumerate([(5, 24), (1, 24), (5, 24), (1, 24), (5, 24), (1, 4), (1, 24)]):
        clip = torch.randint(0, 255, (3, frames, side, side), generator=torch.Generator().manual_seed(row))
        path = media.write(tmp_path / f"clip{row}", clip.to(torch.uint8), 8.0, {})
        lines.append(f"{path.name},clip {row},{frames},{side},{side}")
    (tmp_path / "clip6.png").write_bytes(b"no picture")
    (tmp_path / "clips.csv").write_text("\n".join(lines))
    dataset = {"type": "VariableVideoText", "data_path": str(tmp_path / "clips.csv")}
    bucketer = {"type": "bucket", "bucket_config": {"tiny": {1: [1.0, 1], 3: [1.0, 2]}}}
    return {
        "dataset": dataset,
        "bucketer": {**bucketer, "resolutions": {"tiny": [[8, 8]]}, "drop_last": False},
        "model": {"type": "STDiT3", "hidden_size": 24, "depth": 1, "num_heads": 2, "patch_size": [1, 1, 1]},
        "num_frames": None,
        "image_size": None,
        "max_steps": 1,
        "max_bad_fraction": 1.0,
    }


def test_every_bucket_has_its_own(train: Train, clips: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """The mean of all is that over rows: three videos, two stills."""
    found = scores(train(**clips, held_out={"rows": 7, "dataset": clips["dataset"], "timesteps": 3}))
    found = {name.removeprefix("held_out/"): value for (_, name), value in found.items()}
    video, still = found["tiny 3 frames 1"], found["tiny 1 frame 1"]
    assert found["ema"] == pytest.approx((3 * video + 2 * still) / 5, rel=1e-5)
    assert len({found["raw"], video, still}) == 3 and len(found) == 4
    assert "held_out: 1 of 7 rows are in no bucket (1: too few pixels" in caplog.text
    assert "held_out: row 6 is not measured: " in caplog.text


def test_what_is_encoded_beforehand_is_what_is_trained_on(train: Train, clips: dict[str, Any], tmp_path: Path) -> None:
    """Held-out rows need no features: they are encoded when they are measured."""
    changes = {**clips, "max_steps": 5, "held_out": {"rows": 3, "every": 2}}
    plain = train("plain", **changes)
    features = {"cache": str(tmp_path / "cache"), "epochs": 4}
    encode = {**changes, "job": "encode", "outputs": str(tmp_path / "encode"), "features": features}
    vidgen.run(vidgen.load_recipe(merged(RECIPE, encode)))
    kept = train("kept", **changes, features=features)
    assert_same_state(plain, kept, step=5)
    assert scores(plain) == scores(kept)


def test_rows_of_which_none_can_be_measured_are_refused(train: Train, clips: dict[str, Any], tmp_path: Path) -> None:
    for row, refusal in ((5, "held_out: no bucket takes any of the 1 rows"), (6, "held_out: none of the rows")):
        lines = (tmp_path / "clips.csv").read_text().splitlines()
        (tmp_path / f"only{row}.csv").write_text("\n".join([lines[0], lines[row + 1]]))
        dataset = {**clips["dataset"], "data_path": str(tmp_path / f"only{row}.csv")}
        with pytest.raises((UserError, RunError), match=refusal):
            train(f"run{row}", **clips, held_out={"rows": 1, "dataset": dataset})


@pytest.mark.parametrize("scheduler", ["iddpm", "iddpm-speed", "dpm-solver", "euler-ancestral"])
def test_every_scheduler_can_be_measured(train: Train, scheduler: str) -> None:
    found = scores(train(scheduler={"type": scheduler}, max_steps=2, held_out={"rows": 3, "every": 5, "timesteps": 2}))
    assert all(torch.tensor(value).isfinite() for value in found.values()) and len(found) == 2
