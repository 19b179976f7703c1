"""Text encoders.

Offers the text encoder `hashed-words`. Read whenever vidgen starts, so it holds only names and options; the encoder
lives in `vidgen_text.hashed_words`.
"""

from collections.abc import Iterable

from attrs import frozen
from attrs.validators import ge
from vidgen import Component, hookimpl, option


@frozen(kw_only=True)
class HashedWordsOptions:
    """Keys allowed beside `type: hashed-words`."""

    width: int = option(64, "Numbers per word, 1 or more.", validator=ge(1))
    model_max_length: int = option(
        16, "Tokens per text, 1 or more: the words that fit, then the end marker.", validator=ge(1)
    )
    positions: bool = option(False, "Add a fixed position to every word; without, the order of words is not told.")
    seed: int = option(0, "Chooses the vectors; a model must be sampled with the number it was trained with.")


@hookimpl
def vidgen_text_encoders() -> Iterable[Component]:
    """List the text encoders of this plugin."""
    yield Component(
        name="hashed-words",
        summary="A fixed random vector per word: tells captions apart without weights, knows no meaning.",
        options=HashedWordsOptions,
        factory="vidgen_text.hashed_words:build",
    )
