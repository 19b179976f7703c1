"""What is trained, the optimizer, and the course of its learning rate."""

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from vidgen.errors import UserError
from vidgen.recipe.schema import OptimizerOptions

LR_SCALE = "lr_scale"
"""Key of a parameter group: times the learning rate."""

SHOWN = 3

IMPLEMENTATIONS: Mapping[str, dict[str, bool]] = {
    "fused": {"fused": True},
    "foreach": {"foreach": True},
    "loop": {"foreach": False, "fused": False},
}


def choose_trained(
    model: nn.Module, trainable: Sequence[str] | None, freeze: Sequence[str], own: Container[str] = ()
) -> None:
    """Say of each parameter whether it is trained. trainable: patterns of names; None leaves all as they are. freeze:
    patterns that count before. own: names of adapters' parameters, which `trainable` leaves as they are.

    Raises: UserError, when a pattern fits no parameter.
    """
    names = dict(model.named_parameters())
    _check_patterns("trainable", trainable or (), names)
    _check_patterns("freeze", freeze, names)
    for name, parameter in names.items():
        if trainable is not None and name not in own:
            parameter.requires_grad_(_fits(name, trainable))
        if _fits(name, freeze):
            parameter.requires_grad_(False)


def make_optimizer(model: nn.Module, options: OptimizerOptions) -> torch.optim.AdamW:
    """AdamW over what is trained; the first of its parameter groups has no pattern.

    Raises: UserError, when nothing is trained, or a group's pattern fits no parameter.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trained:
        raise UserError("freeze, trainable: every parameter of the model is frozen; there is nothing to train")
    return torch.optim.AdamW(
        _groups(trained, options),
        lr=options.lr,
        betas=options.betas,
        eps=options.eps,
        weight_decay=options.weight_decay,
        **IMPLEMENTATIONS[options.implementation],
    )


def learning_rate(options: OptimizerOptions, step: int, last_step: int | None) -> float:
    """The learning rate of step `step`, counted from 0, of `last_step` in all (None: not known, no decay).

    Warm-up: lr * (k + 1) / (W + 1) for k < W, as Open-Sora 1.2 has it.
    """
    if step < options.warmup_steps:
        return options.lr * (step + 1) / (options.warmup_steps + 1)
    if options.decay == "constant" or last_step is None:
        return options.lr
    done = min((step - options.warmup_steps) / max(last_step - options.warmup_steps, 1), 1.0)
    left = 1.0 - done if options.decay == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return options.min_lr + (options.lr - options.min_lr) * left


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group this learning rate, times its scale where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group[LR_SCALE] if LR_SCALE in group else lr


def _groups(trained: dict[str, nn.Parameter], options: OptimizerOptions) -> list[dict[str, Any]]:
    """Each parameter in the first group that fits it; those that none fits come first."""
    _check_patterns("optimizer.groups", [one.pattern for one in options.groups], trained)
    groups: list[dict[str, Any]] = [{"params": []}]
    for one in options.groups:
        decay = options.weight_decay if one.weight_decay is None else one.weight_decay
        groups.append({"params": [], "weight_decay": decay, LR_SCALE: one.lr_scale})
    for name, parameter in trained.items():
        fitting = (place for place, one in enumerate(options.groups, 1) if fnmatchcase(name, one.pattern))
        groups[next(fitting, 0)]["params"].append(parameter)
    return groups


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _alike(pattern: str, names: Iterable[str]) -> set[str]:
    """Patterns with the same `*` that fit a name: `blocks.*` where `blcks.*` was given."""
    parts = pattern.split(".")
    made = (
        (".".join(part if "*" in part else own for part, own in zip(parts, name.split("."), strict=False)), name)
        for name in names
    )
    return {pattern for pattern, name in made if "*" in pattern and fnmatchcase(name, pattern)}


def _check_patterns(key: str, patterns: Iterable[str], names: Iterable[str]) -> None:
    """Raises: UserError, for a pattern that fits nothing."""
    known = list(names)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            near = get_close_matches(pattern, _alike(pattern, known) or known, n=SHOWN, cutoff=0.0)
            raise UserError(
                f"{key}: {pattern!r} fits no parameter (of {len(known)}). The nearest are {', '.join(near)}; `*` "
                "stands for any characters, dots too."
            )
