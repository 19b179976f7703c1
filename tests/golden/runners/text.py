"""Cases of the text encoders of Open-Sora and of its caption cleaning.

The tiny transformers models are written to a folder, with tokenizers made as the case describes them, and loaded from
there as any published model is.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import weight_rule
from comparing import close, inputs, outputs
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import CLIPTokenizer, PreTrainedTokenizerFast
from vidgen.interfaces import Context
from vidgen_text import ClassesOptions, ClipOptions, T5Options, classes, clip, t5
from vidgen_text.captions import clean_caption
from vidgen_text.tokens import Tokens

NAME = re.compile(
    r"opensora\.models\.text_encoder\.(?:\w+\.)*?(T5Encoder|ClipEncoder|ClassEncoder|text_preprocessing)\b"
)
KEPT = ("model_max_length", "shardformer")
"""Arguments of the constructor that vidgen has; the others say where the weights are and on which device."""


def matches(reference: str, case: dict[str, Any]) -> bool:
    """Whether the case is of a text encoder or of the caption cleaning."""
    return reference.startswith("hpcaitech/Open-Sora") and NAME.search(reference) is not None


def run(case: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> None:
    """Run one case. Raises: AssertionError, when a number or text differs or the case asks for something unknown."""
    found = NAME.search(case["reference"])
    assert found
    if found[1] == "text_preprocessing":
        _run_cleaning(case)
        return
    given, wanted = inputs(tensors), outputs(tensors)
    made = RUN[found[1]](case, given)
    for name, value in wanted.items():
        assert name in made, f"no way to make {name}"
        close(name, made[name], value, case["tolerance"]["atol"])


def _run_cleaning(case: dict[str, Any]) -> None:
    assert case["pairs"], "the case expects nothing"
    for pair in case["pairs"]:
        for key, passes in (("output", 2), ("one_pass", 1), ("disabled", 0)):
            if key in pair:
                made = clean_caption(pair["input"], passes)
                assert made == pair[key], f"{key} of {pair['input']!r}: {made!r}, wanted {pair[key]!r}"


def _run_classes(case: dict[str, Any], given: dict[str, Tensor]) -> dict[str, Tensor]:
    encoder = classes.build(ClassesOptions(num_classes=case["constructor"]["num_classes"]), Context())
    texts = case["call"]["texts"]
    return {**encoder.encode(texts), "null": encoder.null(_count(case))}


def _run_t5(case: dict[str, Any], given: dict[str, Tensor]) -> dict[str, Tensor]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        state = weight_rule.values(case["state_dict"])
        if "encoder.embed_tokens.weight" in state:
            state["encoder.embed_tokens.weight"] = state["shared.weight"].clone()
        _write(folder, {"model_type": "t5", **case["text_model_config"]}, state)
        _word_tokenizer(case["tokenizer"]["words"]).save_pretrained(folder)
        options = T5Options(from_pretrained=name, padding="full", **_arguments(case))
        encoder = t5.build(options, Context())
        _check_ids(encoder.tokens, case["call"]["texts"], given)
        made = encoder.encode(case["call"]["texts"])
    return {"y": made["y"][:, None], "mask": made["mask"], **_null(case, given)}


def _run_clip(case: dict[str, Any], given: dict[str, Tensor]) -> dict[str, Tensor]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        config = {"model_type": "clip_text_model", **case["text_model_config"]}
        _write(folder, config, weight_rule.values(case["state_dict"]))
        _byte_tokenizer().save_pretrained(folder)
        encoder = clip.build(ClipOptions(from_pretrained=name, **_arguments(case)), Context())
        _check_ids(encoder.tokens, case["call"]["texts"], given)
        made = encoder.encode(case["call"]["texts"])
        assert encoder.network is not None
        states = encoder.network(input_ids=given["input_ids"]).last_hidden_state
    return {"y": made["y"][:, None], "last_hidden_state": states, **_null(case, given)}


def _null(case: dict[str, Any], given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The model's null caption for every sample: it comes from no encoder."""
    embedding = given.get("y_embedding")
    return {} if embedding is None else {"null": embedding.expand(_count(case), 1, -1, -1)}


def _count(case: dict[str, Any]) -> int:
    return int(case["call"].get("n", len(case["call"]["texts"])))


def _arguments(case: dict[str, Any]) -> dict[str, Any]:
    given = case.get("constructor", {})
    return {name: given[name] for name in KEPT if given.get(name) is not None}


def _write(folder: Path, config: dict[str, Any], state: dict[str, Tensor]) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    save_file(state, folder / "model.safetensors")


def _check_ids(tokens: Tokens, texts: list[str], given: dict[str, Tensor]) -> None:
    """The tokenizer is the case's: its numbers, and where they end."""
    for row, numbers in enumerate(tokens(texts)):
        recorded = given["input_ids"][row].tolist()
        assert recorded == numbers + [tokens.pad] * (len(recorded) - len(numbers)), f"tokens of {texts[row]!r}"
        if "attention_mask" in given:
            assert int(given["attention_mask"][row].sum()) == len(numbers), f"mask of {texts[row]!r}"


def _word_tokenizer(words: list[str]) -> PreTrainedTokenizerFast:
    special = ["<pad>", "</s>", "<unk>"]
    numbers = {word: number for number, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def _byte_tokenizer() -> CLIPTokenizer:
    symbols = list(_symbols())
    names = [*symbols, *(f"{symbol}</w>" for symbol in symbols), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={name: number for number, name in enumerate(names)}, merges=[])


def _symbols() -> Iterator[str]:
    """One printable character per byte, in the order of CLIP: printable bytes first, then the others from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    yield from map(chr, printable)
    yield from (chr(256 + number) for number in range(256 - len(printable)))


RUN: dict[str, Callable[[dict[str, Any], dict[str, Tensor]], dict[str, Tensor]]] = {
    "T5Encoder": _run_t5,
    "ClipEncoder": _run_clip,
    "ClassEncoder": _run_classes,
}
