"""Encoded captions are kept without the zeros behind their end, and used with them."""

import pytest
import torch
from torch import Tensor
from vidgen.engine.padding import lengthened, trimmed
from vidgen.engine.texts import EncodedTexts


def caption(tokens: int, *, beyond: int = 0) -> dict[str, Tensor]:
    """Five places of three numbers; `beyond` more than `tokens` are not zero, and do not count."""
    places = torch.arange(5)
    y = torch.randn(5, 3) * (places < tokens + beyond)[:, None]
    return {"y": y.to(torch.bfloat16), "mask": (places < tokens).long()}


@pytest.mark.parametrize("tokens", [0, 1, 3, 5])
def test_a_caption_is_cut_where_it_ends_and_comes_back_as_it_was(tokens: int) -> None:
    text = caption(tokens)
    kept, lengths = trimmed(text)
    assert {name: len(value) for name, value in kept.items()} == {"y": tokens, "mask": tokens}
    assert lengths == {"y": 5, "mask": 5}
    again = lengthened(kept, lengths)
    assert all(torch.equal(again[name], text[name]) and again[name].dtype == text[name].dtype for name in text)


def test_zeros_within_a_caption_and_numbers_behind_its_mask_stay() -> None:
    text = caption(2, beyond=2)
    text["y"][1] = 0
    kept, lengths = trimmed(text)
    assert (len(kept["y"]), len(kept["mask"])) == (4, 2)
    assert all(torch.equal(value, text[name]) for name, value in lengthened(kept, lengths).items())


def test_what_is_kept_holds_no_memory_of_the_rest() -> None:
    kept, _ = trimmed(caption(2))
    assert kept["y"].untyped_storage().nbytes() == 2 * 3 * 2


def test_a_class_is_a_number_and_has_no_end() -> None:
    kept, lengths = trimmed({"y": torch.tensor(0)})
    assert lengths == {} and kept["y"].shape == () and lengthened(kept, lengths)["y"] == 0


class Words:
    """A text encoder that counts what it is asked for."""

    width, max_length = 3, 5

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: list[str]) -> dict[str, Tensor]:
        self.asked += texts
        mask = torch.arange(5) < torch.tensor([len(text.split()) + 1 for text in texts])[:, None]
        y = torch.tensor([float(len(text)) for text in texts])[:, None, None] * mask[..., None].expand(-1, -1, 3)
        return {"y": y, "mask": mask.long()}

    def release(self) -> None:
        """Nothing is held."""


def test_texts_are_encoded_once_and_given_as_the_encoder_gave_them() -> None:
    words = Words()
    texts = EncodedTexts(words, torch.no_grad)
    texts.prepare(["a red circle", "", "a red circle"])
    encoded = texts.encode(["", "a boat", "a red circle"])
    assert words.asked == ["a red circle", "", "a boat"]
    expected = Words().encode(["", "a boat", "a red circle"])
    assert encoded.keys() == expected.keys() and all(torch.equal(encoded[name], expected[name]) for name in encoded)
