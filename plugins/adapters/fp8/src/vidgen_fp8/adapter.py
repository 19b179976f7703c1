"""Linear layers that round inputs, weights and gradients to 8 bits before each product: torchao's own class."""

from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from vidgen.errors import UserError
from vidgen.interfaces import Context

from vidgen_fp8 import Fp8Options

OLDEST_GPU = (8, 9)  # Ada and Hopper: the first with products of 8-bit floating point numbers
MULTIPLE = 16  # of inputs and outputs, which their kernels take


def build(options: Fp8Options, context: Context) -> "Fp8":
    """The adapter; whether the machine can do it is asked when it is put on a model, which a dry run's is not."""
    return Fp8(options)


class Fp8:
    """See `vidgen.interfaces.Adapter`. It has no entries of its own, and leaves to others what is trained."""

    merges = pretrained = False

    def __init__(self, options: Fp8Options) -> None:
        self._options = options

    def apply(self, model: nn.Module) -> None:
        """See `vidgen.interfaces.Adapter`. Raises: UserError, when there is no layer for it, or it cannot be done
        here."""
        chosen = set(self._chosen(model))
        if all(parameter.is_meta for parameter in model.parameters()):
            return
        lacking = _lacking(emulated=self._options.emulate)
        if lacking is not None:
            raise UserError(f"adapters: fp8 cannot be used: {lacking}. Leave it out, or use another machine.")
        from torchao.float8 import Float8LinearConfig, convert_to_float8_training  # which few machines have

        # Products for the gradients of weights go over all tokens, whose number is seldom a multiple.
        config = replace(
            Float8LinearConfig.from_recipe_name(self._options.recipe), emulate=self._options.emulate, pad_inner_dim=True
        )
        convert_to_float8_training(model, module_filter_fn=lambda _, name: name in chosen, config=config)

    def own_names(self, model: nn.Module) -> dict[str, str]:
        """See `vidgen.interfaces.Adapter`."""
        return {}

    def config(self) -> dict[str, Any]:
        """See `vidgen.interfaces.Adapter`."""
        return {}

    def merge(self, model: nn.Module) -> None:
        """See `vidgen.interfaces.Adapter`. Layers become torch's own, with the same weights."""
        from torchao.float8.float8_linear import Float8Linear

        for name, layer in list(model.named_modules()):
            if isinstance(layer, Float8Linear):
                plain = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
                plain.weight, plain.bias = layer.weight, layer.bias
                model.set_submodule(name, plain)

    def _chosen(self, model: nn.Module) -> list[str]:
        """Names of the layers to change. Raises: UserError, when there are none."""
        linear = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
        patterns = self._options.targets or [f"{name}.*" for name in _blocks(model)]
        for pattern in self._options.targets or ():
            if not any(fnmatchcase(name, pattern) for name in linear):
                near = ", ".join(get_close_matches(pattern, linear, n=3, cutoff=0.0))
                raise UserError(f"adapters: targets: no linear layer fits {pattern!r}. The nearest are {near}.")
        fitting = [name for name in linear if any(fnmatchcase(name, pattern) for pattern in patterns)]
        chosen = [name for name in fitting if self._suits(linear[name])]
        if not chosen:
            raise UserError(
                f"adapters: fp8 suits no layer of {type(model).__name__}: of {len(fitting)} none has "
                f"{self._options.min_features} inputs and outputs or more, in multiples of {MULTIPLE}. Lower "
                "min_features, or leave it out."
            )
        return chosen

    def _suits(self, layer: nn.Linear) -> bool:
        sizes = (layer.in_features, layer.out_features)
        return all(size >= self._options.min_features and size % MULTIPLE == 0 for size in sizes)


def _blocks(model: Any) -> Iterator[str]:
    blocks = {id(block) for block in model.repeated_blocks()}
    return (name for name, module in model.named_modules() if id(module) in blocks)


def _lacking(*, emulated: bool) -> str | None:
    """Why it cannot be done here, in words; None where it can."""
    if find_spec("torchao") is None:
        return "torchao is not installed (pip install 'vidgen-fp8[torchao]')"
    if emulated:
        return None
    if not torch.cuda.is_available():
        return "there is no NVIDIA GPU"
    if torch.cuda.get_device_capability() < OLDEST_GPU:
        return f"{torch.cuda.get_device_name()} has no 8-bit floating point (Ada, Hopper and newer GPUs have)"
    return None
