"""LoRA on a model: peft puts its layers in the place of linear ones, which they go on to call."""

import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn
from vidgen.attention import AttentionLayer
from vidgen.errors import UserError
from vidgen.interfaces import Context

from vidgen_lora import LoraOptions, files


def build(options: LoraOptions, context: Context) -> "Lora":
    """The adapter, with what `from_pretrained` holds; of that the shape alone where no weights are to be loaded.

    Raises: UserError, RunError.
    """
    pretrained = None if options.from_pretrained is None else files.read(options.from_pretrained)
    return Lora(options, pretrained, load=context.load_weights)


class Lora:
    """See `vidgen.interfaces.Adapter`. Several can be put on one model, one after the other; what they add, adds up.

    pretrained: where it begins; None: with matrices that add nothing. load: whether to load its weights, too.
    """

    def __init__(self, options: LoraOptions, pretrained: files.Pretrained | None, *, load: bool) -> None:
        self.merges, self.pretrained = options.merge, pretrained is not None
        self._options, self._pretrained, self._load = options, pretrained, load
        self._name = ""
        self._layers: list[str] = []
        self._biases: set[str] = set()

    def apply(self, model: nn.Module) -> None:
        """See `vidgen.interfaces.Adapter`. Raises: UserError, when there is no layer to adapt."""
        before = list(dict.fromkeys(name for layer in lora_layers(model).values() for name in layer.lora_A))
        self._name = next(name for name in map("lora{}".format, range(len(before) + 1)) if name not in before)
        self._layers = self._targets(model)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several are meant
            inject_adapter_in_model(self._config(), model, self._name)
        for layer in lora_layers(model).values():
            layer.set_adapter([name for name in (*before, self._name) if name in layer.lora_A])
        self._train_biases(model)
        if self._pretrained is not None and self._load:
            self._load_into(model, self._pretrained)

    def own_names(self, model: nn.Module) -> dict[str, str]:
        """See `vidgen.interfaces.Adapter`. In files they are called as peft calls them."""
        mine = re.compile(rf"(.+\.lora_[AB])\.{self._name}(\.weight)")
        found = {}
        for name in model.state_dict():
            matrix, bias = mine.fullmatch(name), files.BIAS.fullmatch(name)
            if matrix is not None:
                found[name] = files.PREFIX + matrix[1] + matrix[2]
            elif bias is not None and bias["layer"] in self._biases:
                found[name] = files.PREFIX + name
        return found

    def config(self) -> dict[str, Any]:
        """See `vidgen.interfaces.Adapter`. What peft needs to load it."""
        config = self._config()
        return {
            "peft_type": "LORA",
            "r": config.r,
            "rank_pattern": config.rank_pattern,
            "lora_alpha": config.lora_alpha,
            "lora_dropout": config.lora_dropout,
            "target_modules": self._layers,
            "bias": self._bias,
            "use_rslora": config.use_rslora,
        }

    def misfit(self, kept: Mapping[str, Any]) -> tuple[str, str, str] | None:
        """See `vidgen.interfaces.Adapter`. What decides is which layers are adapted, and their ranks."""
        if not kept:
            return None
        if kept.get("peft_type") != "LORA":
            return "type", "lora", str(kept.get("peft_type", "another"))
        here, there = self._ranks(), files.ranks_in(kept)
        given = self._pretrained is not None
        if here.keys() != there.keys():
            layers = _layers(here, here.keys() - there.keys()), _layers(there, there.keys() - here.keys())
            return "from_pretrained" if given else "targets", *layers
        if here != there:
            wanted, found = (" and ".join(map(str, sorted(set(ranks.values())))) for ranks in (here, there))
            return ("from_pretrained", f"rank {wanted}", f"rank {found}") if given else ("rank", wanted, found)
        return None

    @torch.no_grad()
    def merge(self, model: nn.Module) -> None:
        """See `vidgen.interfaces.Adapter`."""
        for name, layer in lora_layers(model).items():
            if self._name in layer.lora_A:
                layer.merge(adapter_names=[self._name])
                layer.merged_adapters.remove(self._name)
                layer.delete_adapter(self._name)
            if not layer.lora_A:
                model.set_submodule(name, layer.base_layer)
        if not lora_layers(model):
            del model.peft_config

    @property
    def _bias(self) -> str:
        if self._pretrained is None:
            return self._options.bias
        return "lora_only" if self._pretrained.biases else "none"

    def _ranks(self) -> Mapping[str, int]:
        """Of each adapted layer."""
        given = self._pretrained
        return dict.fromkeys(self._layers, self._options.rank) if given is None else given.ranks

    def _config(self) -> LoraConfig:
        options, given, ranks = self._options, self._pretrained, self._ranks()
        rank = max(ranks.values())
        alpha: Any = options.alpha or (rank if given is None else given.alpha)  # peft takes any number
        return LoraConfig(
            r=rank,
            rank_pattern={re.escape(name): one for name, one in ranks.items() if one != rank},
            lora_alpha=alpha,
            lora_dropout=options.dropout,
            target_modules="|".join(map(re.escape, self._layers)),
            use_rslora=given is not None and given.by_root,
        )

    def _targets(self, model: nn.Module) -> list[str]:
        """Names of the layers to adapt. Raises: UserError."""
        linear = list(_linear_layers(model))
        if self._pretrained is not None:
            return _known(list(self._pretrained.ranks), linear, f"{self._pretrained.folder} adapts", model)
        if self._options.targets is not None:
            return _fitting(self._options.targets, linear)
        attention = [f"{name}." for name, part in model.named_modules() if isinstance(part, AttentionLayer)]
        found = [name for name in linear if name.startswith(tuple(attention))]
        if not found:
            raise UserError(
                f"adapters: {type(model).__name__} has no linear layers inside attention layers: say which layers are "
                "to be adapted, such as targets: ['blocks.*']"
            )
        return found

    def _train_biases(self, model: nn.Module) -> None:
        """Those that the options name, or the file has."""
        bias = self._options.bias
        for name, parameter in model.named_parameters():
            match = files.BIAS.fullmatch(name)
            if match is None:
                continue
            layer = match["layer"]
            named = bias == "all" or (bias == "lora_only" and layer in self._layers)
            if named if self._pretrained is None else layer in self._pretrained.biases:
                self._biases.add(layer)
                parameter.requires_grad_(True)

    @torch.no_grad()
    def _load_into(self, model: nn.Module, pretrained: files.Pretrained) -> None:
        """Raises: UserError, when a tensor has another shape."""
        own = {kept.replace(".base_layer", ""): name for name, kept in self.own_names(model).items()}
        state, values = model.state_dict(), pretrained.named()
        _known(list(values), list(own), f"{pretrained.folder} holds", model)
        for kept, value in values.items():
            place = state[own[kept]]
            if place.shape != value.shape:
                raise UserError(
                    f"adapters: {pretrained.folder} is of another model than {type(model).__name__}: {kept} is "
                    f"{tuple(value.shape)} in the file, and would be {tuple(place.shape)} here"
                )
            place.copy_(value)


def lora_layers(model: nn.Module) -> dict[str, Any]:
    """peft's layers on the model, by name."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, LoraLayer)}


def _linear_layers(model: nn.Module) -> Iterator[str]:
    """Names of linear layers, adapted ones among them, without what peft put beside those."""
    adapted = lora_layers(model)
    inside = tuple(f"{name}." for name in adapted)
    for name, module in model.named_modules():
        layer = module.base_layer if name in adapted else module
        if isinstance(layer, nn.Linear) and not name.startswith(inside):
            yield name


def _layers(names: Collection[str], apart: Collection[str]) -> str:
    """How many layers, and one that the other side has not, if any."""
    return " ".join([f"{len(names)} layers", *(f"({name} among them)" for name in sorted(apart)[:1])])


def _fitting(patterns: Collection[str], names: list[str]) -> list[str]:
    """Names that fit a pattern. Raises: UserError, for one that fits none."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            near = ", ".join(get_close_matches(pattern, names, n=3, cutoff=0.0))
            raise UserError(f"adapters: targets: no linear layer fits {pattern!r}. The nearest are {near}.")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _known(wanted: list[str], names: list[str], who: str, model: nn.Module) -> list[str]:
    """`wanted`. Raises: UserError, when one is none of `names`."""
    strange = sorted(set(wanted) - set(names))
    if strange:
        more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
        raise UserError(f"adapters: {who} what {type(model).__name__} has not: {', '.join(strange[:3])}{more}")
    return wanted
