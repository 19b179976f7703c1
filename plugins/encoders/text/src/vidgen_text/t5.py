"""T5 and its relatives (arXiv 1910.10683; mT5: 2010.11934; UMT5: 2304.09151): a vector per token.

Letters: B texts, G texts of a group, N tokens, D width.
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice, repeat
from typing import Any

import torch
from torch import Tensor, nn
from transformers import MT5Config, MT5EncoderModel, T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel
from vidgen import weights
from vidgen.errors import RunError, UserError
from vidgen.interfaces import Context
from vidgen.weights import Converted, State

from vidgen_text import T5Options, places
from vidgen_text.encoder import PretrainedEncoder
from vidgen_text.fused import FUSED_ACTIVATIONS, fuse_norms
from vidgen_text.places import Place
from vidgen_text.precision import set_precision, with_8_bits
from vidgen_text.sharding import is_distributed, most, share_out
from vidgen_text.tokens import Group, Tokens

FAMILIES: dict[str, tuple[Any, Any]] = {
    "t5": (T5Config, T5EncoderModel),
    "mt5": (MT5Config, MT5EncoderModel),
    "umt5": (UMT5Config, UMT5EncoderModel),
}
"""Configuration and model of transformers, by config.json's `model_type`."""

EXACT = ("wo",)
"""Linear maps that work in float32 in every precision: in large models their results leave the range of float16."""

SETTINGS = {"attn_implementation": "sdpa", "dropout_rate": 0.0, "return_dict": True}
"""Of every configuration: an encoder that is not trained drops nothing out, whatever mode it is in."""


class T5(PretrainedEncoder):
    """See `vidgen.interfaces.TextEncoder`.

    shared: whether the weights are shared out over ranks. trimmed: whether rows beyond a text's end are zeros.
    """

    def __init__(self, options: T5Options, place: Place, context: Context) -> None:
        config = _config(place, fused=options.shardformer)
        shared = options.shardformer and context.load_weights and is_distributed()
        super().__init__(
            partial(_load, config, place, options, weighted=context.load_weights, shared=shared),
            Tokens(place, options, config.vocab_size) if context.load_weights else None,
            options=options,
            width=config.d_model,
            max_length=options.model_max_length,
        )
        self.shared, self.trimmed = shared, options.padding == "trimmed"

    def encode(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """`y` (B, N, D), the last hidden state after its norm, and `mask` (B, N) int64, 1 for tokens.

        With `padding: trimmed`, rows beyond a text's tokens are zeros. Where the weights are shared out over ranks, all
        ranks must call it equally often, each with texts of its own, or none.
        Raises: UserError, naming the first text that is none.
        """
        numbers = self.tokens(texts)
        with self._undisturbed():
            network, device = self._at_home(), self.home.device
            dtype = next(network.parameters()).dtype
            y = torch.zeros(len(texts), self.max_length, self.width, dtype=dtype, device=device)
            for one in self._rounds(numbers):
                features = self._features(network, one)
                if len(one.rows):
                    y[one.rows.to(device), : features.shape[1]] = features
        lengths = torch.tensor([len(one) for one in numbers])
        mask = torch.arange(self.max_length) < lengths[:, None]
        return {"y": y, "mask": mask.long().to(device)}

    def _rounds(self, numbers: Sequence[Sequence[int]]) -> Iterator[Group]:
        """The texts in groups; where the weights are shared out, then idle ones, as many as other ranks have more."""
        groups = self._groups(numbers, None if self.trimmed else self.max_length)
        if not self.shared:
            return groups
        own = list(groups)
        idle = Group(torch.tensor([], dtype=torch.int64), torch.tensor([[self.tokens.end]]), torch.tensor([1]))
        return islice(chain(own, repeat(idle)), most(len(own)))

    def _features(self, network: nn.Module, one: Group) -> Tensor:
        """(G, N, D), N of the group."""
        visible = one.visible.to(self.home.device)
        # The mask of four axes is used as it is; of one with two, transformers would ask for its values.
        attended = visible[:, None, None, :] if one.padded else None
        out = network(input_ids=one.ids.to(visible.device), attention_mask=attended).last_hidden_state
        return out.masked_fill(~visible[..., None], 0) if self.trimmed else out


def build(options: T5Options, context: Context) -> T5:
    """The encoder. Raises: UserError, when weights or tokenizer are not found or are another model's."""
    return T5(options, places.find(options, context), context)


def _config(place: Place, *, fused: bool) -> Any:
    family = _family(place)
    given = {key: value for key, value in place.config.items() if key != "model_type"}
    try:
        config = FAMILIES[family][0](**{**given, **SETTINGS})
    except Exception as error:  # values of a wrong type raise errors of several kinds
        reason = (str(error).splitlines() or [""])[0]
        raise RunError(f"{place.encoder}/config.json is no configuration of {family}: {reason}") from error
    if fused:
        config.dense_act_fn = FUSED_ACTIVATIONS.get(config.dense_act_fn, config.dense_act_fn)
    return config


def _family(place: Place) -> str:
    architectures = place.config.get("architectures") or [""]
    named = re.match(r"U?M?T5(?=[A-Z])", str(architectures[0]))
    family = str(place.config.get("model_type") or (named[0] if named else "")).lower()
    if family not in FAMILIES:
        kind = family or str(place.config.get("_class_name", "unknown"))  # diffusers names the class instead
        raise UserError(f"{place.encoder}/config.json is of a model of type {kind!r}; t5 takes {', '.join(FAMILIES)}")
    return family


def _load(config: Any, place: Place, options: T5Options, *, weighted: bool, shared: bool) -> nn.Module:
    """The encoder alone: a decoder's weights, where the files have them, are not read."""
    device = torch.get_default_device()
    with torch.device("meta"):
        network: nn.Module = FAMILIES[config.model_type][1](config).encoder
    if options.shardformer:
        fuse_norms(network, config.layer_norm_epsilon)
    set_precision(network, options.dtype, exact=EXACT)
    network.requires_grad_(False).eval()
    if weighted:
        weights.load_into(network, place.encoder, convert=partial(_converted, network), device=device)
    if shared:
        share_out(network, list(network.get_submodule("block").children()))
    return network


def _converted(network: nn.Module, state: State) -> Converted:
    """From a whole model, or its encoder. The table of tokens is stored under one of two names, or both."""
    own = {name.removeprefix("encoder."): value for name, value in state.items() if name.startswith("encoder.")}
    if "shared.weight" in state:
        own["embed_tokens.weight"] = state["shared.weight"]
    rest = {name: value for name, value in state.items() if not name.startswith(("encoder.", "shared."))}
    return Converted(state={**with_8_bits(own, network), **rest}, dropped=("decoder.*", "lm_head.*"))
