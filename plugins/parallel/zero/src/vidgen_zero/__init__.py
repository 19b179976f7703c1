"""Parallel engines on torch's own FSDP2 (`fully_shard`): data parallel, with optimizer state shared out over ranks.

Offers `ddp`, `zero2`, `zero2-seq` and `zero3`. Read whenever vidgen starts, so it holds only names and options; the
engine lives in `vidgen_zero.engine`.
"""

from collections.abc import Iterator
from typing import Literal

from attrs import frozen, validators
from vidgen import Component, hookimpl, option
from vidgen.component import preset


@frozen(kw_only=True)
class ZeroOptions:
    """Keys allowed beside the type. Weights, averages and optimizer state are float32; `dtype` is of the recipe."""

    device: Literal["auto", "cpu", "cuda"] = option("auto", "`auto` takes a GPU for each process when there are any.")
    sp_size: int = option(
        1, "Consecutive ranks that share the tokens of each sample; divides the ranks.", validator=validators.ge(1)
    )
    cpu_offload: bool = option(
        False, "Keep weights, gradients and optimizer state in the CPU's memory between uses: slow, for want of room."
    )


SEQUENCE_OPTIONS = preset(ZeroOptions, "ZeroSequenceOptions", sp_size=2)


@hookimpl
def vidgen_parallel() -> Iterator[Component]:
    """The engines, from the least to the most that is shared out."""
    yield Component(
        name="ddp",
        summary="Every rank has all weights and optimizer state; gradients are averaged.",
        options=ZeroOptions,
        factory="vidgen_zero.engine:build_ddp",
    )
    yield Component(
        name="zero2",
        summary="Optimizer state and gradients are shared out; weights are whole from forward to backward.",
        options=ZeroOptions,
        factory="vidgen_zero.engine:build_zero2",
    )
    yield Component(
        name="zero2-seq",
        summary="zero2, with sp_size ranks to each sample, which share its tokens.",
        options=SEQUENCE_OPTIONS,
        factory="vidgen_zero.engine:build_zero2_seq",
    )
    yield Component(
        name="zero3",
        summary="Weights are shared out, too, and whole one block at a time.",
        options=ZeroOptions,
        factory="vidgen_zero.engine:build_zero3",
    )
