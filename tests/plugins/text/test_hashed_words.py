"""A fixed random vector per word."""

import pytest
import torch
from vidgen.interfaces import Context
from vidgen_text import HashedWordsOptions
from vidgen_text.hashed_words import build, word_vector, words


def make(**options):
    return build(HashedWordsOptions(**options), Context(seed=99))


def test_a_text_is_its_words_the_end_marker_and_nothing():
    encoded = make(width=5, model_max_length=4).encode(["red square", "", "red"])
    assert encoded["mask"].tolist() == [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]]
    assert encoded["mask"].dtype == torch.int64
    y = encoded["y"]
    assert y.shape == (3, 4, 5)
    end = y[1, 0]
    torch.testing.assert_close(y[0, 2], end, rtol=0, atol=0)
    torch.testing.assert_close(y[2], torch.stack([y[0, 0], end, *torch.zeros(2, 5)]), rtol=0, atol=0)
    assert (y[0, 0] != y[0, 1]).all()


def test_long_texts_lose_their_last_words_and_keep_the_marker():
    encoder = make(width=3, model_max_length=3)
    long, short = encoder.encode(["one two three four", "one two"])["y"]
    torch.testing.assert_close(long, short, rtol=0, atol=0)
    assert encoder.encode(["one two three"])["mask"].tolist() == [[1, 1, 1]]


def test_a_text_is_encoded_alike_alone_and_in_a_batch():
    encoder = make()
    texts = ["A red square moves left.", "", "blue"]
    together = encoder.encode(texts)
    for row, text in enumerate(texts):
        for key, value in make().encode([text]).items():
            torch.testing.assert_close(value[0], together[key][row], rtol=0, atol=0)


def test_words_are_runs_of_letters_and_digits_in_lower_case():
    assert words("Ein Igel, zwei-fach (2x): snake_case!") == ["ein", "igel", "zwei", "fach", "2x", "snake", "case"]
    assert words("ÉTÉ e\u0301te\u0301") == ["été", "été"]
    assert words(" .,\n\t") == []


def test_vectors_have_unit_variance_and_different_words_nothing_in_common():
    cat, rain = (torch.from_numpy(word_vector(word, 4096, 0).copy()) for word in ("cat", "rain"))
    torch.testing.assert_close(cat.var(), torch.tensor(1.0), rtol=0, atol=0.1)
    torch.testing.assert_close((cat * rain).mean(), torch.tensor(0.0), rtol=0, atol=0.1)


def test_a_words_vector_never_changes():
    """Recorded when the encoder was written; models in use depend on these numbers."""
    y = make(width=3).encode(["Cat"])["y"][0, :2]
    torch.testing.assert_close(
        y, torch.tensor([[-1.643229, 0.801361, -0.205594], [1.228334, 0.618755, 0.004083]]), rtol=0, atol=1e-6
    )


def test_the_seed_chooses_the_vectors_and_the_run_does_not():
    y = make().encode(["cat"])["y"]
    assert (make(seed=1).encode(["cat"])["y"][0, 0] != y[0, 0]).all()
    other_run = build(HashedWordsOptions(), Context(seed=3)).encode(["cat"])["y"]
    torch.testing.assert_close(other_run, y, rtol=0, atol=0)


@pytest.mark.parametrize("width", [6, 7])
def test_positions_tell_orders_apart_and_are_left_out_by_default(width):
    texts = ["cat dog", "dog cat"]
    plain = make(width=width).encode(texts)["y"]
    torch.testing.assert_close(plain[0, [1, 0]], plain[1, :2], rtol=0, atol=0)
    placed = make(width=width, positions=True).encode(texts)["y"]
    first = torch.arange(width) % 2
    torch.testing.assert_close(placed[:, 0] - plain[:, 0], first.float().expand(2, -1))
    assert (placed[0, [1, 0]] - placed[1, :2]).abs().max() > 0.5
    assert not placed[:, 3:].any()


def test_features_follow_the_encoders_dtype_and_leave_no_weights():
    encoder = make().to(torch.bfloat16)
    encoded = encoder.encode(["cat"])
    assert encoded["y"].dtype == torch.bfloat16
    assert encoded["mask"].dtype == torch.int64
    assert not encoder.state_dict()
    assert (encoder.width, encoder.max_length) == (64, 16)


@pytest.mark.parametrize("name", ["width", "model_max_length"])
def test_empty_sizes_are_refused(name):
    with pytest.raises(ValueError, match=name):
        HashedWordsOptions(**{name: 0})
