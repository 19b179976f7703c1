"""Adapters beside those that a checkpoint keeps by themselves."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from torch import nn
from vidgen import UserError
from vidgen.engine.adapting import check_same, kept_alone

MODEL = nn.Linear(2, 3)


class Plain:
    """Without entries of its own."""

    merges = pretrained = False
    names: ClassVar[Mapping[str, str]] = {}

    def apply(self, model: nn.Module) -> None:
        """Nothing is changed."""

    def own_names(self, model: nn.Module) -> Mapping[str, str]:
        return self.names

    def config(self) -> dict[str, Any]:
        return {}

    def merge(self, model: nn.Module) -> None:
        """Nothing is there."""


class Silent(Plain):
    """With entries, and nothing to say of others."""

    names: ClassVar[Mapping[str, str]] = {"weight": "kept.weight"}


class Tells(Silent):
    """With entries of a size."""

    def __init__(self, size: int) -> None:
        self.size = size

    def misfit(self, kept: Mapping[str, Any]) -> tuple[str, str, str] | None:
        there = kept.get("size", self.size)
        return None if there == self.size else ("size", str(self.size), str(there))


def kept(checkpoint: Path, *sizes: int) -> Path:
    for number, size in enumerate(sizes, start=1):
        folder = checkpoint / (f"adapter-{number}" if number > 1 else "adapter")
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text(json.dumps({"size": size}))
    return checkpoint


def test_each_with_entries_has_a_folder_and_its_place_in_the_recipe() -> None:
    found = kept_alone(MODEL, [Plain(), Silent(), Plain(), Tells(3)])
    assert {folder: one.place for folder, one in found.items()} == {"adapter": 1, "adapter-2": 3}


def test_those_that_fit_and_those_that_say_nothing_pass(tmp_path: Path) -> None:
    check_same(kept(tmp_path, 5, 3), MODEL, [Silent(), Plain(), Tells(3)])
    check_same(tmp_path / "without", MODEL, [Plain()])


def test_one_that_does_not_fit_is_told_by_its_place_its_option_and_both_values(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        check_same(kept(tmp_path, 5, 3), MODEL, [Plain(), Tells(5), Tells(4)])
    assert str(caught.value) == (
        f"adapters[2].size: the recipe has 4, but {tmp_path}/adapter-2 has 3, so weights do not fit. Give the recipe "
        "what is there; to sample, adapters can be left out, and those of the checkpoint are taken. A training with "
        "other ones begins anew, with outputs=ANOTHER/FOLDER."
    )


@pytest.mark.parametrize(("adapters", "number"), [([Plain()], 0), ([Tells(5), Tells(5)], 2)])
def test_more_or_fewer_are_told_by_their_numbers(tmp_path: Path, adapters: list[Plain], number: int) -> None:
    with pytest.raises(
        UserError, match=rf"^adapters: the recipe has {number} with weights of their own, but .* has 1, so"
    ):
        check_same(kept(tmp_path, 5), MODEL, adapters)


@pytest.mark.parametrize("text", ["{", "[]", None])
def test_a_configuration_that_cannot_be_read_decides_nothing(tmp_path: Path, text: str | None) -> None:
    """The weights themselves are compared in any case."""
    path = kept(tmp_path, 3) / "adapter" / "adapter_config.json"
    path.unlink()
    if text is not None:
        path.write_text(text)
    check_same(tmp_path, MODEL, [Tells(5)])
