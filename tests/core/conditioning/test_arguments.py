"""What a model is told: what it names of what is known, and what stands in its place for guidance."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from vidgen.conditioning import conditioning_for, null_conditioning_for, without_padding


class Encoder:
    """Encodes a text as its length."""

    width, max_length = 2, 1

    def encode(self, texts: Sequence[str]) -> dict[str, Tensor]:
        lengths = torch.tensor([[[float(len(text))] * 2] for text in texts])
        return {"y": lengths, "mask": torch.ones(len(texts), 1, dtype=torch.int64)}


def model(*names: str, null: Any = None) -> Any:
    def null_conditioning(conditioning: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        return null

    return SimpleNamespace(conditioning=frozenset(names), null_conditioning=null_conditioning)


Y, FPS = torch.full((2, 1, 2), 7.0), torch.tensor([24.0, 8.0])


def test_a_model_is_told_what_it_names_and_nothing_else():
    told = conditioning_for(model("y", "fps", "ar"), {"y": Y, "mask": Y[:, :, 0]}, {"fps": FPS})
    assert set(told) == {"y", "fps"}


def test_later_sources_win():
    told = conditioning_for(model("y"), {"y": Y}, {"y": Y + 1})
    torch.testing.assert_close(told["y"], Y + 1)


def test_negative_prompts_come_before_a_models_own_null_caption():
    """Everything but the text stays: guidance steers by the caption, not by the frame rate."""
    null = null_conditioning_for(model("y", "fps", null={"y": Y * 0}), Encoder(), {"y": Y, "fps": FPS}, ["", "blurred"])
    assert null["y"].flatten().tolist() == [0.0, 0.0, 7.0, 7.0]
    assert null["fps"] is FPS
    assert "mask" not in null


def test_a_models_own_null_caption_comes_before_the_empty_text():
    own = {"y": Y - 9, "fps": FPS}
    assert null_conditioning_for(model("y", "fps", null=own), Encoder(), {"y": Y, "fps": FPS}, None) == own


def test_the_empty_text_is_encoded_once_per_sample_for_a_model_without_a_null_caption():
    null = null_conditioning_for(model("y", "mask"), Encoder(), {"y": Y, "mask": torch.zeros(2, 1)}, None)
    assert null["y"].tolist() == [[[0.0, 0.0]], [[0.0, 0.0]]]
    assert null["mask"].tolist() == [[1], [1]]


def test_tokens_that_count_in_no_caption_of_either_half_are_cut_off():
    y, mask = torch.arange(12.0).view(2, 6, 1), torch.tensor([[1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]])
    longer = torch.tensor([[1, 0, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0]])
    fps = torch.tensor([24.0, 8.0])
    halves = without_padding({"y": y, "mask": mask, "fps": fps}, {"y": -y, "mask": longer, "fps": fps})
    assert [half["y"].shape for half in halves] == [(2, 3, 1)] * 2
    assert halves[0]["mask"].tolist() == [[1, 0, 0], [1, 1, 0]] and halves[1]["mask"].tolist() == [[1, 0, 1], [1, 0, 0]]
    assert torch.equal(halves[1]["y"], -y[:, :3]) and halves[0]["fps"] is fps


def test_without_a_mask_all_tokens_count():
    conditioning, null = without_padding({"y": Y, "fps": FPS}, {"y": Y - 1})
    assert conditioning["y"] is Y and torch.equal(null["y"], Y - 1)
    assert without_padding({}, {}) == ({}, {})
    conditioning, null = without_padding({"y": Y, "mask": torch.ones(2, 1)}, {})
    assert conditioning["y"].shape == Y.shape and null == {}
