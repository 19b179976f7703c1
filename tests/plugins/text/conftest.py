"""Tiny published models: random weights, in the folders that transformers writes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    MT5Config,
    MT5EncoderModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    UMT5Config,
    UMT5EncoderModel,
)

SPECIAL = ["<pad>", "</s>", "<unk>"]
SENTENCE = "a the cat dog sits runs on in red blue car street at night slow"
FAMILIES = {
    "t5": (T5Config, T5EncoderModel),
    "mt5": (MT5Config, MT5EncoderModel),
    "umt5": (UMT5Config, UMT5EncoderModel),
}
T5_SIZE = {"vocab_size": 23, "d_model": 20, "d_kv": 6, "d_ff": 28, "num_layers": 3, "num_heads": 3}
CLIP_SIZE = {"vocab_size": 30, "hidden_size": 20, "intermediate_size": 28, "num_hidden_layers": 3}


def word_tokenizer() -> PreTrainedTokenizerFast:
    words = [*SPECIAL, *SENTENCE.split()]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def letter_tokenizer() -> CLIPTokenizer:
    letters = "abcdefghijkl"
    names = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={name: number for number, name in enumerate(names)}, merges=[])


def randomised(model: Any) -> Any:
    """Every weight random: norms of ones and biases of zeros would hide a swap."""
    generator = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


@pytest.fixture(scope="session")
def write_t5(tmp_path_factory) -> Callable[..., Path]:
    """Writes a T5 of a family, with changes of its configuration and the tokenizer beside it; returns the folder."""

    def write(family: str = "t5", **changes: Any) -> Path:
        folder = tmp_path_factory.mktemp(family)
        config, model = FAMILIES[family]
        shape = {**T5_SIZE, "feed_forward_proj": "gated-gelu", "relative_attention_num_buckets": 8, **changes}
        with torch.random.fork_rng():
            torch.manual_seed(3)
            randomised(model(config(**shape))).save_pretrained(folder)
        word_tokenizer().save_pretrained(folder)
        return folder

    return write


@pytest.fixture(scope="session")
def t5_folder(write_t5) -> Path:
    return write_t5()


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    config = CLIPTextConfig(
        **CLIP_SIZE,
        num_attention_heads=4,
        max_position_embeddings=9,
        bos_token_id=24,
        eos_token_id=25,
        pad_token_id=25,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        randomised(CLIPTextModel(config)).save_pretrained(folder)
    letter_tokenizer().save_pretrained(folder)
    return folder
