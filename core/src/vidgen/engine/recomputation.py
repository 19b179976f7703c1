"""Recomputing blocks in the backward pass: less memory for more time (arXiv 1604.06174). Put on from outside: blocks
know nothing of it, and the state dict keeps its names."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts, noop_context_fn

Policy = Literal["none", "full", "selective"]

OPERATIONS = (
    "aten::mm",
    "aten::addmm",
    "aten::bmm",
    "aten::baddbmm",
    "aten::convolution",
    "aten::_scaled_dot_product_flash_attention",
    "aten::_scaled_dot_product_efficient_attention",
    "aten::_scaled_dot_product_cudnn_attention",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "mkldnn::_linear_pointwise",
    "flash_attn::_flash_attn_forward",
    "flash_attn::_flash_attn_varlen_forward",
)
"""What takes most of a block's time: kept by `selective`."""


def policy_of(value: bool | str) -> Policy:
    """Of a recipe's `grad_checkpoint`: true is full, false none."""
    if isinstance(value, bool):
        return "full" if value else "none"
    policies: dict[str, Policy] = {"none": "none", "full": "full", "selective": "selective"}
    return policies[value]


def checkpoint_blocks(model: Any, policy: Policy = "full") -> None:
    """Keep of each repeated block nothing but what goes in (`full`), or also what products and attention give
    (`selective`); the rest is worked out again in the backward pass. `none` leaves all as it is."""
    if policy == "none":
        return
    for block in model.repeated_blocks():
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, context_fn=_contexts(policy))


@contextmanager
def recomputing(model: Any, policy: Policy, around: Callable[[], AbstractContextManager[Any]]) -> Iterator[None]:
    """As `checkpoint_blocks`, while it lasts. around: made for each run of each block, also in the backward pass."""
    blocks = model.repeated_blocks()
    before = [vars(block).get("forward") for block in blocks]
    for block in blocks:
        block.forward = partial(_within, around, block.forward)
    checkpoint_blocks(model, policy)
    try:
        yield
    finally:
        for block, forward in zip(blocks, before, strict=True):
            vars(block).pop("forward", None)
            if forward is not None:
                block.forward = forward


def _within(around: Callable[[], AbstractContextManager[Any]], forward: Callable[..., Any], *arguments: Any) -> Any:
    with around():
        return forward(*arguments)


def _contexts(policy: Policy) -> Callable[[], tuple[AbstractContextManager[Any], AbstractContextManager[Any]]]:
    """For the forward pass and for its repetition."""
    return noop_context_fn if policy == "full" else partial(create_selective_checkpoint_contexts, _choose)


def _choose(_: Any, operation: Any, *arguments: Any, **named: Any) -> CheckpointPolicy:
    """As torch asks: for each operation, an `OpOverload`, of the forward pass and of its repetition."""
    kept = isinstance(operation, torch._ops.OpOverload) and operation.name().split(".")[0] in OPERATIONS
    return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE
