"""An encoder shared out over the ranks of a distributed run, for one that does not fit a device."""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard


def is_distributed() -> bool:
    """Whether there are other ranks."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def share_out(network: nn.Module, blocks: Iterable[nn.Module]) -> None:
    """Leave each rank its part of every block's weights; a block is put together where and while it runs."""
    mesh = init_device_mesh(_device_type(), (dist.get_world_size(),))
    for block in blocks:
        fully_shard(block, mesh=mesh, reshard_after_forward=True)
    fully_shard(network, mesh=mesh, reshard_after_forward=True)  # holds the table of tokens


def most(count: int) -> int:
    """The largest `count` of all ranks: they must run a shared-out network equally often, or wait for ever."""
    largest = torch.tensor(count, device=_device_type())
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest)


def _device_type() -> str:
    return "cuda" if "nccl" in dist.get_backend() else "cpu"
