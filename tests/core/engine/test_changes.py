"""A recipe that is not the one a run was begun with: what changed is listed, and refused where it matters."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from vidgen import UserError
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
