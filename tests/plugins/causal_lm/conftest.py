"""A tiny language model: random weights and a tokenizer of words, in the folder that transformers writes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ["<pad>", "<end>", "<unk>", "<system>", "<user>", "<answer>"]
SENTENCE = "a the dog runs on beach in warm light slow camera You are caption refiner . Rewrite"
CHAT = "{% for one in messages %}<{{ one.role }}> {{ one.content }} {% endfor %}<answer>"


@pytest.fixture(scope="session")
def write_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes one and returns the folder. chat: with a chat template."""

    def write(*, chat: bool = True) -> Path:
        folder = tmp_path_factory.mktemp("llama")
        names = [*SPECIAL, *SENTENCE.split()]
        sizes = {"hidden_size": 20, "intermediate_size": 28, "num_hidden_layers": 2, "num_attention_heads": 5}
        config = LlamaConfig(
            vocab_size=len(names), num_key_value_heads=5, bos_token_id=None, eos_token_id=1, pad_token_id=0, **sizes
        )
        with torch.random.fork_rng():
            torch.manual_seed(4)
            model = LlamaForCausalLM(config)
            for parameter in model.parameters():
                parameter.data += 0.2 * torch.randn(parameter.shape)
        model.save_pretrained(folder)
        words = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
        words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        special = {"pad_token": "<pad>", "eos_token": "<end>", "unk_token": "<unk>"}
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **special)
        tokenizer.chat_template = CHAT if chat else None
        tokenizer.save_pretrained(folder)
        return folder

    return write
