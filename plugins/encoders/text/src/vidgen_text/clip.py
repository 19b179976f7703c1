"""CLIP's text encoder (arXiv 2103.00020): one vector per caption.

Letters: B texts, G texts of a group, N tokens, D width.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel
from vidgen import weights
from vidgen.errors import RunError, UserError
from vidgen.interfaces import Context
from vidgen.weights import Converted, State

from vidgen_text import ClipOptions, places
from vidgen_text.encoder import PretrainedEncoder
from vidgen_text.places import Place
from vidgen_text.precision import set_precision, with_8_bits
from vidgen_text.tokens import Group, Tokens

SETTINGS = {"attn_implementation": "sdpa", "attention_dropout": 0.0, "return_dict": True}
OTHERS = ("vision_model.*", "visual_projection.*", "text_projection.*", "logit_scale", "*position_ids")
"""Entries of published files that are not of the text encoder, or are worked out."""


class Clip(PretrainedEncoder):
    """See `vidgen.interfaces.TextEncoder`."""

    def __init__(self, options: ClipOptions, place: Place, context: Context) -> None:
        config = _config(place)
        if options.model_max_length > config.max_position_embeddings:
            raise UserError(
                f"model_max_length: {options.model_max_length}, but the encoder in {place.encoder} has "
                f"{config.max_position_embeddings} places; give that many or fewer"
            )
        super().__init__(
            partial(_load, config, place, options, weighted=context.load_weights),
            Tokens(place, options, config.vocab_size) if context.load_weights else None,
            options=options,
            width=config.hidden_size,
            max_length=1,
        )

    def encode(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """`y` (B, 1, D), the last hidden state after its norm at the first end marker, and `mask` (B, 1) int64, ones.

        The projection into the space shared with images is not applied.
        Raises: UserError, naming the first text that is none.
        """
        numbers = self.tokens(texts)
        with self._undisturbed():
            network, device = self._at_home(), self.home.device
            dtype = next(network.parameters()).dtype
            y = torch.zeros(len(texts), 1, self.width, dtype=dtype, device=device)
            for one in self._groups(numbers):
                y[one.rows.to(device), 0] = self._pooled(network, one)
        return {"y": y, "mask": torch.ones(len(texts), 1, dtype=torch.int64, device=device)}

    def _pooled(self, network: nn.Module, one: Group) -> Tensor:
        """(G, D). A token sees those before it alone, so that padding after the marker needs no mask."""
        first = (one.ids == self.tokens.end).int().argmax(dim=1)
        states = network(input_ids=one.ids.to(self.home.device)).last_hidden_state
        rows = torch.arange(len(first), device=states.device)
        return states[rows, first.to(states.device)]


def build(options: ClipOptions, context: Context) -> Clip:
    """The encoder. Raises: UserError, when weights or tokenizer are not found or are another model's."""
    return Clip(options, places.find(options, context), context)


def _config(place: Place) -> Any:
    """Of a text encoder, or the text half of a whole CLIP."""
    kind = place.config.get("model_type")
    given = place.config.get("text_config") if kind == "clip" else place.config
    if kind not in ("clip", "clip_text_model") or not isinstance(given, dict):
        raise UserError(
            f"{place.encoder}/config.json is of a model of type {kind!r}; clip takes clip_text_model, or clip with a "
            "text_config"
        )
    try:
        return CLIPTextConfig(**{key: v for key, v in {**given, **SETTINGS}.items() if key != "model_type"})
    except Exception as error:  # values of a wrong type raise errors of several kinds
        reason = (str(error).splitlines() or [""])[0]
        raise RunError(f"{place.encoder}/config.json is no configuration of clip_text_model: {reason}") from error


def _load(config: Any, place: Place, options: ClipOptions, *, weighted: bool) -> nn.Module:
    device = torch.get_default_device()
    with torch.device("meta"):
        network = CLIPTextModel(config)
    set_precision(network, options.dtype)
    network.requires_grad_(False).eval()
    if weighted:
        weights.load_into(network, place.encoder, convert=partial(_converted, network), device=device)
        positions = torch.arange(config.max_position_embeddings, device=device)[None]
        network.embeddings.register_buffer("position_ids", positions, persistent=False)
    return network


def _converted(network: nn.Module, state: State) -> Converted:
    """From a text encoder or a whole CLIP, as published: with `text_model.` before every name."""
    own = {name.removeprefix("text_model."): value for name, value in state.items()}
    return Converted(state=with_8_bits(own, network), dropped=OTHERS)
