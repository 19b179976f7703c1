"""A language model that goes on from a text, token by token.

Letters: N tokens, V of the vocabulary.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from vidgen import weights
from vidgen.errors import RunError
from vidgen.weights import hub

from vidgen_causal_lm import CausalLmOptions

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
FILES = ("*.json", "*.model", "*.txt", "*.jinja")
"""What belongs to a model beside its weights."""


class Writer:
    """network, tokenizer: of transformers."""

    def __init__(self, network: Any, tokenizer: Any) -> None:
        self.network, self.tokenizer = network, tokenizer
        self.ends = frozenset(_numbers(network.generation_config.eos_token_id, tokenizer.eos_token_id))

    @classmethod
    def load(cls, options: CausalLmOptions) -> "Writer":
        """Weights and tokenizer, on their device. Code that comes with a model is never run, and weights are read from
        safetensors alone. Raises: UserError, when they are not found; RunError, when they cannot be read."""
        folder = _folder(options.from_pretrained)
        safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(folder), **safe)
            network = AutoModelForCausalLM.from_pretrained(
                str(folder), dtype=DTYPES[options.dtype], use_safetensors=True, **safe
            )
        except Exception as error:  # a damaged file raises nearly anything
            reason = (str(error).splitlines() or [""])[0]
            raise RunError(
                f"prompt_refiner: the model in {folder} cannot be read ({type(error).__name__}: {reason})"
            ) from error
        at_hand = options.device == "auto" and torch.cuda.is_available()
        return cls(network.requires_grad_(False).eval().to("cuda" if at_hand else "cpu"), tokenizer)

    def question(self, system: str, text: str) -> list[int]:
        """The tokens of what is asked: a conversation, where the tokenizer says how those are written, or else both
        texts, a line each."""
        if not self.tokenizer.chat_template:
            return list(self.tokenizer("\n".join(part for part in (system, text) if part)).input_ids)
        told = [{"role": "system", "content": system}] if system else []
        asked = [*told, {"role": "user", "content": text}]
        encoded = self.tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=True)
        return list(encoded["input_ids"])

    @torch.inference_mode()
    def answer(self, question: list[int], length: int, temperature: float, draws: torch.Generator) -> str:
        """What the model writes behind the question, `length` tokens at most, without marks such as that of its end.
        temperature: see the options. draws: for tokens that are drawn, on the CPU."""
        made: list[int] = []
        ids, known = question, None
        while len(made) < length:
            given = torch.tensor([ids], device=self.network.device)
            out = self.network(input_ids=given, past_key_values=known, use_cache=True)
            token = _chosen(out.logits[0, -1].float().cpu(), temperature, draws)
            if token in self.ends:
                break
            made.append(token)
            ids, known = [token], out.past_key_values
        return str(self.tokenizer.decode(made, skip_special_tokens=True))


def _chosen(logits: Tensor, temperature: float, draws: torch.Generator) -> int:
    """logits: (V,)."""
    if temperature == 0:
        return int(logits.argmax())
    return int(torch.multinomial(torch.softmax(logits.double() / temperature, dim=0), 1, generator=draws))


def _folder(source: str) -> Path:
    if not weights.is_hub_id(source):
        return weights.local_folder(source)
    hub.download(source)
    return hub.snapshot(source, FILES, ("*/*",))


def _numbers(*ends: int | Iterable[int] | None) -> Iterable[int]:
    for end in ends:
        yield from () if end is None else (end,) if isinstance(end, int) else end
