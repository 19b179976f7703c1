"""The optimizer and the course of its learning rate."""

import math

import torch
from torch import nn

from vidgen.errors import UserError
from vidgen.recipe.schema import OptimizerOptions


def make_optimizer(model: nn.Module, options: OptimizerOptions) -> torch.optim.AdamW:
    """AdamW over what is trained. Raises: UserError, when nothing is."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise UserError("every parameter of the model is frozen: there is nothing to train")
    return torch.optim.AdamW(
        trained, lr=options.lr, betas=options.betas, eps=options.eps, weight_decay=options.weight_decay, fused=True
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
    """Give every parameter group this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr
