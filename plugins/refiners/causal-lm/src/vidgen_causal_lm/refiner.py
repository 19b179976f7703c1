"""The refiner: asks the model, prompt by prompt, and tidies its answer."""

import logging
from collections.abc import Callable, Sequence

from vidgen import weights
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen.rng import torch_generator

from vidgen_causal_lm import PLACE, CausalLmOptions
from vidgen_causal_lm.answer import tidied
from vidgen_causal_lm.writer import Writer

LOG = logging.getLogger("vidgen")


class CausalLm:
    """See `vidgen.interfaces.PromptRefiner`. load: makes what writes, with its weights."""

    def __init__(self, options: CausalLmOptions, seed: int, load: Callable[[], Writer]) -> None:
        self.options, self.seed = options, seed
        self._load = load
        self._writer: Writer | None = None

    def refine(self, prompts: Sequence[str]) -> list[str]:
        """The model's answers, each on one line; the prompt itself where it has none. Raises: UserError, RunError."""
        return [self._refined(prompt) for prompt in prompts]

    def release(self) -> None:
        """Give up the weights."""
        self._writer = None

    def _refined(self, prompt: str) -> str:
        if self._writer is None:
            self._writer = self._load()
        asked = self._writer.question(self.options.system, self.options.template.replace(PLACE, prompt))
        draws = torch_generator(self.seed, "prompt refiner", prompt)
        answer = self._writer.answer(asked, self.options.max_new_tokens, self.options.temperature, draws)
        text = tidied(answer, quotes=self.options.strip_quotes, beginnings=self.options.strip_beginnings)
        if not text:
            LOG.warning("the prompt refiner has no answer to %r, which stays as it is", prompt)
        return text or prompt


def build(options: CausalLmOptions, context: Context) -> CausalLm:
    """The refiner; its weights are read when they are first needed. Raises: UserError, when there is no model."""
    if not weights.read_config(options.from_pretrained):
        raise UserError(
            f"prompt_refiner: no language model in {options.from_pretrained}: looked for config.json. Give the folder "
            "that has it, the weights and the tokenizer."
        )
    return CausalLm(options, context.seed, lambda: Writer.load(options))
