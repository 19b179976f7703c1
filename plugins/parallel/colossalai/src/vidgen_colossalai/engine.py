"""The engine: ColossalAI's LowLevelZero, stage 2, over all ranks (stages after ZeRO, arXiv 1910.02054).

Weights are float32 and whole on every rank; forward passes compute in the recipe's dtype under autocast, as on one
device. ColossalAI would also make the weights themselves bf16 or fp16; then neither checkpoints nor averages would hold
what is trained.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from vidgen.devices import DTYPES, find_device
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen.mesh import TokenGroup, World, connect, ranks_of

from vidgen_colossalai import ColossalOptions
from vidgen_colossalai.library import Library, load
from vidgen_colossalai.optimizer import Shared

MILLION = 2**20  # as ColossalAI counts numbers


def build_zero2(options: ColossalOptions, context: Context) -> "Colossal":
    """Connects to the other ranks, but not for a dry run, which is alone and needs no GPU.

    Raises: UserError, RunError.
    """
    if context.dtype == "fp16":
        raise UserError(
            "dtype: fp16 needs a loss scale, which ColossalAI has for weights that are fp16 themselves; vidgen keeps "
            "them float32. Use dtype=bf16, or parallel.type=zero2, which takes fp16."
        )
    if not context.load_weights:
        alone = torch.device("cpu"), World(), (TokenGroup(), 0, 1)
        return Colossal(options, None, DTYPES[context.dtype], *alone)
    device = _device()
    library = load()
    world = connect(device)
    return Colossal(options, library, DTYPES[context.dtype], device, world, world.token_groups(options.sp_size))


def build_zero2_seq(options: ColossalOptions, context: Context) -> "Colossal":
    """As `build_zero2`. Raises: UserError, also when nothing is to be shared."""
    if options.sp_size < 2:
        raise UserError(
            "parallel.sp_size: colossalai/zero2-seq shares each sample between 2 or more ranks; colossalai/zero2 does "
            "not share"
        )
    return build_zero2(options, context)


def zero_settings(options: ColossalOptions) -> dict[str, Any]:
    """What ColossalAI's `LowLevelZeroPlugin` is given. Clipping is done here, where its limit is known."""
    return {
        "stage": 2,
        "precision": "fp32",
        "master_weights": options.cpu_offload,  # else each rank updates its part of the weights where it lies
        "cpu_offload": options.cpu_offload,
        "communication_dtype": torch.bfloat16 if options.reduce_dtype == "bf16" else None,
        "reduce_bucket_size_in_m": options.bucket_size,
        "overlap_communication": options.overlap_communication,
        "cast_inputs": False,
        "max_norm": 0.0,
    }


class Colossal:
    """Ranks of `world`, each with its own batches, or `tokens` to a batch. See `interfaces.Parallel`."""

    def __init__(
        self,
        options: ColossalOptions,
        library: Library | None,
        dtype: torch.dtype,
        device: torch.device,
        world: World,
        tokens: tuple[TokenGroup, int, int],
    ) -> None:
        """library: None in a dry run. tokens: as `World.token_groups` gives them."""
        self.device, self.dtype, self.world = device, dtype, world
        self.tokens, self.rank, self.num_ranks = tokens
        self._options, self._library = options, library
        self._model: Any = None  # ColossalAI's wrapper, whose forward is not used
        self._zero: Any = None
        self._optimizer: Shared | None = None

    def prepare(
        self, model: nn.Module, make_optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    ) -> torch.optim.Optimizer:
        """See `interfaces.Parallel`. Raises: UserError, when HybridAdam's kernels cannot be built."""
        assert self._library is not None, "a dry run prepares nothing"
        wanted = make_optimizer(model)
        groups = [{**group, "params": list(group["params"])} for group in wanted.param_groups]
        inner = wanted
        if self._options.hybrid_adam and isinstance(wanted, torch.optim.AdamW):
            inner = _hybrid_adam(self._library, wanted)
        booster = self._library.booster(plugin=self._library.zero(**zero_settings(self._options)))
        self._model, self._zero, *_ = booster.boost(model, inner)
        self._optimizer = Shared(self._zero, groups, wanted.defaults)
        return self._optimizer

    def autocast(self) -> AbstractContextManager[Any]:
        """See `interfaces.Parallel`."""
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)

    def backward(self, loss: Tensor, *, last: bool = True) -> None:
        """See `interfaces.Parallel`. Nothing is sent before the last of an accumulation; until then gradients are
        whole on each rank."""
        if last:
            self._zero.backward(loss)
            return
        with self._zero.no_sync():
            loss.backward()

    def step(self, max_norm: float) -> Tensor:
        """See `interfaces.Parallel`."""
        assert self._optimizer is not None, "prepare() comes first"
        gradients = self._gradients()
        norm = self._norm(gradients)
        if max_norm > 0:
            torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))
        self._optimizer.step()
        self._optimizer.zero_grad()
        return norm

    def whole(self) -> AbstractContextManager[None]:
        """See `interfaces.Parallel`. Weights are whole at any time."""
        return nullcontext()

    def plan(self, whole: Mapping[str, int], blocks: Sequence[int], ranks: int) -> dict[str, int]:
        """Bytes on one of `ranks` ranks. whole: of all ranks together, by name, in float32. blocks: of each repeated
        block's weights, which is nothing to ColossalAI: it sends by its own measure, once packed and once received."""
        sent = 2 * MILLION * self._options.bucket_size * torch.float32.itemsize
        optimizer = 0 if self._options.cpu_offload else whole["optimizer"] // ranks
        gradients = min(whole["gradients"] // ranks + sent, 2 * whole["gradients"])
        return {**whole, "optimizer": optimizer, "gradients": gradients}

    def state_dict(self) -> dict[str, Any]:
        """See `interfaces.Parallel`. There is none."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `interfaces.Parallel`. Weights were just read: copies of them, where there are any, follow."""
        self._model.update_master_params()

    def _gradients(self) -> list[Tensor]:
        """This rank's parts of them."""
        groups = range(self._zero.num_param_groups)
        return [one for group in groups for one in self._zero.get_working_grads_by_group_id(group)]

    def _norm(self, gradients: list[Tensor]) -> Tensor:
        """Of all ranks' parts together."""
        squares = nn.utils.get_total_norm(gradients).square().to(self.device)
        dist.all_reduce(squares)
        return squares.sqrt()


def _device() -> torch.device:
    _, _, local_rank = ranks_of(os.environ)
    device = find_device("auto", local_rank)
    if device.type not in ("cuda", "npu"):
        raise UserError(
            f"parallel.type: ColossalAI's ZeRO needs CUDA (an NVIDIA GPU) or an NPU, and here is only {device.type}. "
            "parallel.type=zero2 (or zero2-seq) does the same on torch alone, on CPUs, too."
        )
    return device


def _hybrid_adam(library: Library, like: torch.optim.AdamW) -> torch.optim.Optimizer:
    keys = ("params", "lr", "betas", "eps", "weight_decay")
    try:
        made: torch.optim.Optimizer = library.hybrid_adam(
            [{key: one[key] for key in keys} for one in like.param_groups]
        )
    except (AssertionError, ImportError, OSError, RuntimeError) as error:
        raise UserError(
            f"parallel.hybrid_adam: the kernels of ColossalAI's HybridAdam cannot be used here ({error}). They are "
            "built at their first use and need the CUDA toolkit of torch's CUDA version and ninja; "
            "parallel.hybrid_adam=false takes torch's AdamW."
        ) from error
    return made
