"""A recipe that is not the one a run was begun with: what changed is listed, and refused where it matters."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from vidgen import UserError
from vidgen.cli.export import command as export
from vidgen.engine.changes import FREE, check_changes, differences
from vidgen.recipe.schema import TrainRecipe

Train = Callable[..., Path]
BEFORE = {"max_steps": 5, "seed": 7, "optimizer": {"lr": 0.1, "betas": [0.9, 0.99]}, "model": {"type": "STDiT"}}


def test_differences_are_key_paths() -> None:
    now = {"max_steps": 9, "seed": 7, "optimizer": {"lr": 0.2, "betas": [0.9, 0.99]}, "model": None, "new": 1}
    assert list(differences(BEFORE, now)) == [
        ("max_steps", 5, 9),
        ("optimizer.lr", 0.1, 0.2),
        ("model", {"type": "STDiT"}, None),
    ]


def test_differences_go_into_lists_of_one_length() -> None:
    before = {"adapters": [{"type": "fp8"}, {"type": "lora", "rank": 3}], "image_size": [8, 16], "texts": ["a"]}
    now = {"adapters": [{"type": "fp8"}, {"type": "lora", "rank": 2}], "image_size": [8, 24], "texts": ["a", "b"]}
    assert list(differences(before, now)) == [
        ("adapters[1].rank", 3, 2),
        ("image_size[1]", 16, 24),
        ("texts", ["a"], ["a", "b"]),
    ]


def test_long_values_are_told_from_where_they_differ(caplog: pytest.LogCaptureFixture) -> None:
    before = {"log": {"every": 1}, "trackers": [*range(100, 200)]}
    with caplog.at_level(logging.INFO, "vidgen"):
        check_changes(before, {**before, "trackers": [*range(100, 201)]}, Path("epoch0-global_step5"), force=False)
    (told,) = caplog.messages
    assert told == (
        "changed since epoch0-global_step5: trackers: ..., 196, 197, 198, 199] -> ..., 196, 197, 198, 199, 200]"
    )
    entry = {"type": "tensorboard", "every": 1}
    check_changes({"trackers": [entry]}, {"trackers": [{**entry, "every": 2}]}, Path("e"), force=False)


def test_what_is_free_to_change_is_a_key_of_the_recipe() -> None:
    """A key that is renamed in the schema must be renamed here."""
    import attrs

    keys = {field.name for field in attrs.fields(TrainRecipe)}
    unknown = {free.split(".")[0] for free in FREE} - keys - {"held_out"}
    assert not unknown


def test_changes_of_length_and_place_are_logged_and_allowed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "vidgen"):
        check_changes(BEFORE, {**BEFORE, "max_steps": 9}, Path("epoch0-global_step5"), force=False)
    assert caplog.messages == ["changed since epoch0-global_step5: max_steps: 5 -> 9"]


def test_what_changes_the_course_is_listed_and_refused_unless_forced() -> None:
    now = {**BEFORE, "seed": 8, "optimizer": {"lr": 0.2, "betas": (0.9, 0.99)}}
    with pytest.raises(UserError) as caught:
        check_changes(BEFORE, now, Path("run/checkpoints/epoch0-global_step5"), force=False)
    told = str(caught.value).splitlines()
    assert told[0].startswith("resume: the recipe has changed since run/checkpoints/epoch0-global_step5 was written")
    assert told[1:3] == ["    seed: 7 -> 8", "    optimizer.lr: 0.1 -> 0.2"]
    assert "--force" in told[3] and "model.from_pretrained=run/checkpoints/epoch0-global_step5" in told[3]
    check_changes(BEFORE, now, Path("epoch0-global_step5"), force=True)


def test_a_long_list_is_cut() -> None:
    before = {f"key{number:02}": 0 for number in range(13)}
    with pytest.raises(UserError, match=r"key09: 0 -> 1\n    and 3 more\n"):
        check_changes(before, dict.fromkeys(before, 1), Path("epoch0-global_step5"), force=False)


def test_a_run_is_not_resumed_by_another_recipe(train: Train) -> None:
    """Refused before anything is loaded; what would damage the checkpoint is refused with --force, too."""
    train(max_steps=1)
    with pytest.raises(UserError, match=r"optimizer\.lr: 0\.01 -> 0\.1"):
        train(max_steps=2, resume="latest", optimizer__lr=0.1)
    train(max_steps=2, resume="latest", optimizer__lr=0.1, force=True)
    with pytest.raises(UserError, match="another model"):
        train(max_steps=3, resume="latest", model__hidden_size=24, optimizer__lr=0.1, force=True)


def advised(train: Train, outputs: str, **changes: Any) -> str:
    """What a resumed run is told of its changes, and what to do."""
    with pytest.raises(UserError, match="has changed since") as caught:
        train(outputs, max_steps=2, resume="latest", **changes)
    return str(caught.value)


def test_a_run_with_an_adapter_is_begun_anew_as_it_is_advised(train: Train, tmp_path: Path) -> None:
    base = train("base", max_steps=1)
    first = train("first", max_steps=1, model__from_pretrained=str(base), adapters=[{"type": "lora", "rank": 3}])
    (kept,) = (first / "checkpoints").iterdir()
    other = [{"type": "lora", "rank": 2}]
    told = advised(train, "first", model__from_pretrained=str(base), adapters=other)
    assert "    adapters[0].rank: 3 -> 2\n" in told
    assert f"`vidgen export {kept} -o NEW.safetensors` and outputs=ANOTHER/FOLDER model.from_pretrained=NEW" in told
    assert f"outputs=ANOTHER/FOLDER and adapters: [{{type: lora, from_pretrained: {kept}}}]." in told
    folded = tmp_path / "NEW.safetensors"
    assert CliRunner().invoke(export, [str(kept), "-o", str(folded)]).exit_code == 0
    train("folded", max_steps=1, model__from_pretrained=str(folded), adapters=other)
    again = [{"type": "lora", "from_pretrained": str(kept)}]
    train("again", max_steps=1, model__from_pretrained=str(base), adapters=again)


def test_a_run_without_adapters_is_begun_anew_from_its_checkpoint(train: Train) -> None:
    first = train("first", max_steps=1)
    (kept,) = (first / "checkpoints").iterdir()
    assert f"outputs=ANOTHER/FOLDER model.from_pretrained={kept}." in advised(train, "first", seed=8)
    train("anew", max_steps=1, model__from_pretrained=str(kept), seed=8)
