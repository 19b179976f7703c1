"""Text encoders.

Offers the text encoders `t5`, `clip`, `classes` and `hashed-words`. Read whenever vidgen starts, so it holds only names
and options; the encoders live in the modules of their names, the cleaning of captions in `vidgen_text.captions`.
"""

from collections.abc import Iterable
from typing import Literal

from attrs import frozen
from attrs.validators import ge, min_len, optional
from vidgen import Component, hookimpl, option
from vidgen.component import InputPath


@frozen(kw_only=True)
class PretrainedOptions:
    """Keys of every encoder with published weights."""

    from_pretrained: str = option(
        doc="Folder with config.json, weights and tokenizer, or a Hugging Face id (org/name or org/name@revision).",
        validator=min_len(1),
    )
    subfolder: str | None = option(None, "Folder of the encoder within from_pretrained, such as text_encoder.")
    tokenizer_subfolder: str | None = option(
        None, "Folder of the tokenizer within from_pretrained; null: the encoder's, or tokenizer beside text_encoder."
    )
    model_max_length: int = option(120, "Tokens per text with its markers, 1 or more.", validator=ge(1))
    dtype: Literal["fp32", "bf16", "fp16", "int8"] = option(
        "fp32",
        "Of weights and arithmetic, whatever the recipe's dtype; int8: matrices in 8 bits a number, the rest in bf16.",
    )
    clean_caption: bool = option(
        False, "Clean every text first, as DeepFloyd, PixArt and Open-Sora 1.0 did; false: texts are taken as they are."
    )
    micro_batch_size: int | None = option(
        None, "Texts worked on at once, 1 or more; null: 1024 tokens on the CPU, else 4096.", validator=optional(ge(1))
    )
    sort_by_length: bool = option(True, "Work on texts of similar length together; results come in the order given.")
    after_use: Literal["keep", "cpu", "free"] = option(
        "keep", "What release() does with the weights: nothing, move them to the CPU, or give up their memory."
    )


@frozen(kw_only=True)
class T5Options(PretrainedOptions):
    """Keys allowed beside `type: t5`."""

    padding: Literal["trimmed", "full"] = option(
        "trimmed",
        "trimmed: rows beyond a text's end are zeros, and little time goes into them; full: as Open-Sora, every row is "
        "worked out, for models that take no mask.",
    )
    shardformer: bool = option(
        False, "Fused layers, and weights shared out over the ranks of a distributed run; equal within rounding."
    )


@frozen(kw_only=True)
class ClipOptions(PretrainedOptions):
    """Keys allowed beside `type: clip`."""

    model_max_length: int = option(
        77, "Tokens per text with start and end marker, 2 or more, as many as the encoder has places.", validator=ge(2)
    )


@frozen(kw_only=True)
class ClassesOptions:
    """Keys allowed beside `type: classes`."""

    num_classes: int = option(doc="Number of classes, 1 or more; labels are 0 to one less.", validator=ge(1))
    names: list[str] | InputPath | None = option(
        None, "Names of the classes in order, or a text file with one a line; null: labels are numbers alone."
    )


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
        name="t5",
        summary="A T5, mT5 or UMT5 encoder: a vector per token, with published weights.",
        options=T5Options,
        factory="vidgen_text.t5:build",
    )
    yield Component(
        name="clip",
        summary="A CLIP text encoder: one vector per caption, with published weights.",
        options=ClipOptions,
        factory="vidgen_text.clip:build",
    )
    yield Component(
        name="classes",
        summary="Class labels by number or name, for models that learn one vector per class.",
        options=ClassesOptions,
        factory="vidgen_text.classes:build",
    )
    yield Component(
        name="hashed-words",
        summary="A fixed random vector per word: tells captions apart without weights, knows no meaning.",
        options=HashedWordsOptions,
        factory="vidgen_text.hashed_words:build",
    )
