"""Parallel engines on ColossalAI's booster (https://github.com/hpcaitech/ColossalAI), for GPUs.

Offers `colossalai/zero2` and `colossalai/zero2-seq`. Read whenever vidgen starts, so it holds only names and options;
the engine lives in `vidgen_colossalai.engine`.
"""

from collections.abc import Iterator
from typing import Literal

from attrs import frozen, validators
from vidgen import Component, hookimpl, option
from vidgen.component import preset


@frozen(kw_only=True)
class ColossalOptions:
    """Keys allowed beside the type. Weights, averages and optimizer state are float32; `dtype` is of the recipe."""

    sp_size: int = option(
        1, "Consecutive ranks that share the tokens of each sample; divides the ranks.", validator=validators.ge(1)
    )
    hybrid_adam: bool = option(
        True, "ColossalAI's HybridAdam, whose kernels are built at its first use (CUDA toolkit); false: torch's AdamW."
    )
    cpu_offload: bool = option(
        False, "Keep optimizer state, and a copy of the weights, in the CPU's memory and update there: slow."
    )
    reduce_dtype: Literal["fp32", "bf16"] = option("fp32", "In which gradients are summed over ranks.")
    bucket_size: int = option(12, "Gradients are sent in parts of so many million numbers.", validator=validators.ge(1))
    overlap_communication: bool = option(True, "Send gradients while others are still worked out.")


SEQUENCE_OPTIONS = preset(ColossalOptions, "ColossalSequenceOptions", sp_size=2)


@hookimpl
def vidgen_parallel() -> Iterator[Component]:
    """The engines."""
    yield Component(
        name="colossalai/zero2",
        summary="zero2 by ColossalAI, for CUDA or NPU: optimizer state and gradients are shared out.",
        options=ColossalOptions,
        factory="vidgen_colossalai.engine:build_zero2",
    )
    yield Component(
        name="colossalai/zero2-seq",
        summary="colossalai/zero2, with sp_size ranks to each sample, which share its tokens.",
        options=SEQUENCE_OPTIONS,
        factory="vidgen_colossalai.engine:build_zero2_seq",
    )
