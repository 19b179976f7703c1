"""The engine: FSDP2 over all ranks (arXiv 2304.11277; stages after ZeRO, arXiv 1910.02054).

Masters are float32 and lie shared out, also between steps. Where the recipe's dtype is bf16 or fp16, ranks gather
weights in it, which halves what is sent, and gradients are summed in float32.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
)
from torch.distributed.tensor import DTensor
from vidgen.devices import DTYPES, find_device
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen.mesh import TokenGroup, World, connect, ranks_of

from vidgen_zero import ZeroOptions

Stage = Literal["ddp", "zero2", "zero3"]


def build_ddp(options: ZeroOptions, context: Context) -> "Zero":
    """See `Zero`."""
    return _build(options, context, "ddp")


def build_zero2(options: ZeroOptions, context: Context) -> "Zero":
    """See `Zero`."""
    return _build(options, context, "zero2")


def build_zero2_seq(options: ZeroOptions, context: Context) -> "Zero":
    """See `Zero`. Raises: UserError, when nothing is to be shared."""
    if options.sp_size < 2:
        raise UserError("parallel.sp_size: zero2-seq shares each sample between 2 or more ranks; zero2 does not share")
    return _build(options, context, "zero2")


def build_zero3(options: ZeroOptions, context: Context) -> "Zero":
    """See `Zero`."""
    return _build(options, context, "zero3")


class Zero:
    """Ranks of `world`, each with its own batches, or `tokens` to a batch.

    stage: what is shared out. `whole` keeps all weights on every rank for as long as it lasts.
    """

    def __init__(
        self,
        *,
        stage: Stage,
        device: torch.device,
        dtype: torch.dtype,
        world: World,
        tokens: tuple[TokenGroup, int, int],
        offload: bool,
    ) -> None:
        """tokens: as `World.token_groups` gives them."""
        self.device, self.dtype, self.world, self.stage = device, dtype, world, stage
        self.tokens, self.rank, self.num_ranks = tokens
        self._offload = offload
        self._model: Any = None  # an nn.Module that fully_shard has made an FSDPModule, too
        self._optimizer: torch.optim.Optimizer | None = None
        self._scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def prepare(
        self, model: nn.Module, make_optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    ) -> torch.optim.Optimizer:
        """See `interfaces.Parallel`. The repeated blocks, where a model has such, are gathered one by one."""
        # what the model returns is a view, into which no scheduler writes
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
        settings: dict[str, Any] = {
            "mesh": self._mesh(),
            "reshard_after_forward": self.stage == "zero3",
            "mp_policy": self._precision(),
            "offload_policy": CPUOffloadPolicy() if self._offload else OffloadPolicy(),
        }
        blocks = getattr(model, "repeated_blocks", list)
        for block in blocks():
            fully_shard(block, **settings)
        self._model = fully_shard(model, **settings)
        self._optimizer = make_optimizer(model)
        return self._optimizer

    def autocast(self) -> AbstractContextManager[Any]:
        """See `interfaces.Parallel`."""
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)

    def backward(self, loss: Tensor, *, last: bool = True) -> None:
        """See `interfaces.Parallel`. Gradients are not sent before the last of an accumulation, and weights that need
        not be shared out in between are gathered once for all of it."""
        self._model.set_requires_gradient_sync(last)
        self._model.set_reshard_after_backward(last or self.stage == "zero3")
        self._scaler.scale(loss).backward()

    def step(self, max_norm: float) -> Tensor:
        """See `interfaces.Parallel`. With fp16, a step whose gradients overflow on any rank is left out on all."""
        assert self._optimizer is not None, "prepare() comes first"
        self._scaler.unscale_(self._optimizer)
        norm = nn.utils.clip_grad_norm_(self._model.parameters(), max_norm if max_norm > 0 else float("inf"))
        whole = norm.full_tensor() if isinstance(norm, DTensor) else norm
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        whole = whole.to(self.device)
        return whole if self.dtype != torch.float16 else torch.nan_to_num(whole, nan=0.0, posinf=0.0)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """See `interfaces.Parallel`."""
        parts = [part for part in self._parts() if isinstance(part, FSDPModule)]
        for part in parts:
            part.unshard()
            part.set_reshard_after_forward(False, recurse=False)
        try:
            yield
        finally:
            for part in parts:
                part.set_reshard_after_forward(self.stage == "zero3", recurse=False)
                part.reshard()

    def plan(self, whole: Mapping[str, int], blocks: Sequence[int], ranks: int) -> dict[str, int]:
        """Bytes on one of `ranks` ranks. whole: of all ranks together, by name, in float32. blocks: of each repeated
        block's weights. `gathered weights` are those that layers compute with, in the dtype of forward passes. Of what
        is gathered or summed at a time, the largest is there twice: as it is sent and as it is used."""
        share, size = 1 if self.stage == "ddp" else ranks, self.dtype.itemsize / torch.float32.itemsize
        rest = whole["weights"] - sum(blocks)  # all that is in no block is gathered at once
        largest = max([rest, *blocks])
        gathered = rest + 2 * max(blocks, default=0) if self.stage == "zero3" else whole["weights"]
        parts = {name: 0 if self._offload else number // share for name, number in whole.items()}
        parts["gradients"] += 2 * largest
        return {**parts, "gathered weights": round((gathered + largest) * size)}

    def state_dict(self) -> dict[str, Any]:
        """See `interfaces.Parallel`."""
        return {"scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `interfaces.Parallel`."""
        if state.get("scaler"):
            self._scaler.load_state_dict(state["scaler"])

    def _parts(self) -> Iterator[nn.Module]:
        return iter(()) if self._model is None else self._model.modules()

    def _mesh(self) -> DeviceMesh:
        """One axis along which all is shared out; for ddp a second one, of one rank each, in its place."""
        if self.stage == "ddp":
            return init_device_mesh(self.device.type, (self.world.size, 1), mesh_dim_names=("replicate", "shard"))
        return init_device_mesh(self.device.type, (self.world.size,))

    def _precision(self) -> MixedPrecisionPolicy:
        """Inputs stay as they are: timesteps and latents are float32, and autocast chooses for each operation."""
        dtype = None if self.dtype == torch.float32 else self.dtype
        return MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)


def _build(options: ZeroOptions, context: Context, stage: Stage) -> Zero:
    """Connects to the other ranks, but not for a dry run, which is alone.

    Raises: UserError, RunError.
    """
    _, _, local_rank = ranks_of(os.environ)
    device = find_device(options.device, local_rank)
    if options.cpu_offload and device.type == "cpu" and context.load_weights:
        raise UserError("parallel.cpu_offload: the device is the CPU already; leave cpu_offload out, or use a GPU")
    world = connect(device) if context.load_weights else World()
    tokens = world.token_groups(options.sp_size) if context.load_weights else (TokenGroup(), 0, 1)
    return Zero(
        stage=stage,
        device=device,
        dtype=DTYPES[context.dtype],
        world=world,
        tokens=tokens,
        offload=options.cpu_offload,
    )
