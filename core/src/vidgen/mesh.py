"""Ranks: the processes of a run, and those among them that share the tokens of one sample.

Sequence parallelism after DeepSpeed-Ulysses (arXiv 2309.14509): a model splits its tokens where they enter the blocks,
gathers them where they leave, and exchanges one split axis for another where attention needs a whole one. Any length
can be split: parts are equally long, zeros fill the last ones up.

Gradients: every rank of a group works out the same loss of the gathered result. The backward pass of `gather` therefore
gives each rank its own part, times the ranks of the group, without communication; averaged over all ranks, as data
parallel engines do, gradients are those of one rank alone. That holds for every parameter that acts before `gather`,
so nothing with parameters may follow it.
"""

import atexit
import os
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol, TypeGuard

import torch
import torch.distributed as dist
from attrs import frozen
from torch import Tensor, nn
from torch.nn.functional import pad

from vidgen.errors import RunError, UserError

PATIENCE = timedelta(minutes=5)  # for ranks to appear
LONGEST = timedelta(days=1)  # that a rank may let others wait, writing or sampling; steps have a watchdog


@frozen(kw_only=True, eq=False)
class TokenGroup:
    """The ranks that share each sample's tokens; `rank` of `size`. Made for one rank, it leaves all as it is."""

    rank: int = 0
    size: int = 1
    group: Any = None

    def part(self, length: int) -> int:
        """Elements of each rank's part of an axis of `length`; the last parts may be filled up with zeros."""
        return -(-length // self.size)

    def any(self, flag: bool) -> bool:
        """Whether any rank of the group says so; all must ask."""
        return self.largest(float(flag)) > 0

    def largest(self, number: float) -> float:
        """Of the numbers that the group's ranks give; all must ask. For what they have to decide alike."""
        if self.size == 1:
            return number
        said = torch.tensor(number)
        dist.all_reduce(said, dist.ReduceOp.MAX, group=self.group)
        return said.item()

    def texts(self, mine: str) -> list[str]:
        """Of all the group's ranks, in order; all must ask."""
        if self.size == 1:
            return [mine]
        data = torch.tensor(list(mine.encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(data)]), group=self.group)
        longest = max(map(int, lengths))
        found = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.size)]
        dist.all_gather(found, pad(data, (0, longest - len(data))), group=self.group)
        return [bytes(one[:length].tolist()).decode() for one, length in zip(found, lengths, strict=True)]

    def broadcast(self, x: Tensor, source: int) -> Tensor:
        """What rank `source` of the group has, in `x`, which is contiguous and of the same shape on all."""
        if self.size > 1:
            dist.broadcast(x, group=self.group, group_src=source)
        return x

    def split(self, x: Tensor, dim: int) -> Tensor:
        """This rank's part of `x`, which every rank has whole, along `dim` (0 or more)."""
        if self.size == 1:
            return x
        part = self.part(x.shape[dim])
        return _padded(x, dim, part * self.size).narrow(dim, self.rank * part, part)

    def gather(self, x: Tensor, dim: int, length: int) -> Tensor:
        """What was split, whole again and `length` long, on every rank."""
        if self.size == 1:
            return x
        return _gathered(x.movedim(dim, 0).contiguous(), self).movedim(0, dim).narrow(dim, 0, length)

    def exchange(self, x: Tensor, *, split: int, join: int, length: int) -> Tensor:
        """All-to-all: `x`, of which this rank has a part along `join`, becomes whole and `length` long there and is
        split along `split` instead. The inverse swaps the two, with the length along `split`."""
        if self.size == 1:
            return x
        whole = _padded(x, split, self.part(x.shape[split]) * self.size)
        pieces = whole.unflatten(split, (self.size, -1)).movedim(split, 0).contiguous()
        return _exchanged(pieces, self.group).movedim(0, join).flatten(join, join + 1).narrow(join, 0, length)

    def collect(self, x: Tensor, dim: int, length: int) -> Tensor:
        """As `gather`, for what every rank goes on to use in a way of its own: gradients of all ranks are added up, so
        parameters may follow."""
        if self.size == 1:
            return x
        copies = x.expand(self.size, *x.shape)
        return self.exchange(copies, split=0, join=dim + 1, length=length).squeeze(0)


ALONE = TokenGroup()


class SharesTokens(Protocol):
    """A model that can share each sample between ranks. tokens: the group; `ALONE` until `share_tokens` is called."""

    tokens: TokenGroup


def share_tokens(model: nn.Module, tokens: TokenGroup) -> None:
    """Let `model` share each sample's tokens with the group's ranks. Raises: UserError, for one that cannot."""
    if tokens.size == 1:
        return
    sharing = [module for module in model.modules() if _shares(module)]
    if model not in sharing:
        raise UserError(
            f"parallel.sp_size: {type(model).__name__} cannot share a sample between {tokens.size} ranks. Set sp_size "
            "to 1, or use a model that can, such as STDiT3."
        )
    for module in sharing:
        module.tokens = tokens


def _shares(module: nn.Module) -> TypeGuard[SharesTokens]:
    return isinstance(getattr(module, "tokens", None), TokenGroup)


class World:
    """All ranks of a run; `rank` of `size`. local_rank: among those of this machine.

    store: where ranks leave texts for each other; None with one rank.
    """

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int = 0, store: Any = None) -> None:
        self.rank, self.size, self.local_rank, self.store = rank, size, local_rank, store

    @property
    def is_main(self) -> bool:
        """Whether this is the rank that writes what a run has once."""
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        """The average over all ranks, as a new tensor."""
        if self.size == 1:
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total / self.size

    def gathered(self, value: Tensor) -> Tensor:
        """Of all ranks, (size, *shape); shapes are alike."""
        if self.size == 1:
            return value[None]
        parts = [torch.empty_like(value) for _ in range(self.size)]
        dist.all_gather(parts, value.detach().contiguous())
        return torch.stack(parts)

    def barrier(self) -> None:
        """Wait until every rank is here."""
        if self.size > 1:
            dist.barrier()

    def token_groups(self, size: int) -> tuple[TokenGroup, int, int]:
        """Groups of `size` consecutive ranks. Returns this rank's group, its number and how many there are.

        Raises: UserError, when `size` does not divide the ranks.
        """
        if self.size % size:
            raise UserError(
                f"parallel.sp_size: {size} ranks are to share each sample, but there are {self.size} in all, which "
                f"{size} does not divide. Use {_divisors(self.size)}, or start another number of processes."
            )
        count, mine = self.size // size, self.rank // size
        if size == 1:
            return ALONE, mine, count
        members = [list(range(first, first + size)) for first in range(0, self.size, size)]
        groups = [dist.new_group(ranks, timeout=LONGEST) for ranks in members]
        return TokenGroup(rank=self.rank % size, size=size, group=groups[mine]), mine, count

    def all_have_read(self, what: str) -> None:
        """This rank has read a text in the store. The main rank, whose end would take the store away, waits for all."""
        self.store.set(f"{what} read/{self.rank}", "")
        if self.is_main:
            self.store.wait([f"{what} read/{rank}" for rank in range(self.size)])

    def check_same(self, what: str, text: str) -> None:
        """Raises: RunError, on every rank, when ranks were given different texts."""
        if self.size == 1:
            return
        self.store.set(f"{what}/{self.rank}", text)
        texts = [self.store.get(f"{what}/{rank}").decode() for rank in range(self.size)]
        self.all_have_read(what)
        other = next((rank for rank, one in enumerate(texts) if one != texts[0]), None)
        if other is not None:
            raise RunError(
                f"rank {other} has another {what} than rank 0: {texts[other]} instead of {texts[0]}. All ranks must "
                "run the same recipe with the same code; look at what is installed on each machine."
            )


def ranks_of(environment: Mapping[str, str]) -> tuple[int, int, int]:
    """Rank, number of ranks and local rank, as torchrun tells them; 0, 1, 0 where no launcher does.

    Raises: UserError, when they are incomplete.
    """
    if "WORLD_SIZE" not in environment:
        return 0, 1, 0
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in environment]
    if missing:
        raise UserError(
            f"WORLD_SIZE is set, so this is one of {environment['WORLD_SIZE']} processes, but {', '.join(missing)} "
            "are not: start it by vidgen-run --nproc N, torchrun or srun, or unset WORLD_SIZE."
        )
    rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    return rank, size, int(environment.get("LOCAL_RANK", "0"))


def connect(
    device: torch.device, environment: Mapping[str, str] = os.environ, *, patience: timedelta = PATIENCE
) -> World:
    """Join the ranks that a launcher started, and see that all can be reached. With one process, a group of its own.

    patience: how long ranks may take to appear. Raises: UserError, RunError.
    """
    rank, size, local_rank = ranks_of(environment)
    store = dist.HashStore() if size == 1 else _store(rank, size, environment)
    # a launcher that starts all again keeps its store, and what the ranks before left in it
    store = dist.PrefixStore(environment.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
    _await_all(store, rank, size, patience)
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(
            backend, store=dist.PrefixStore("torch", store), rank=rank, world_size=size, timeout=LONGEST
        )
        atexit.register(_disconnect)
    _smoke_test(device, rank, size)
    return World(rank, size, local_rank, dist.PrefixStore("vidgen", store))


def _store(rank: int, size: int, environment: Mapping[str, str]) -> Any:
    host, port = environment["MASTER_ADDR"], int(environment["MASTER_PORT"])
    serves = rank == 0 and environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True"  # else the launcher does
    try:
        return dist.TCPStore(host, port, size, is_master=serves, timeout=PATIENCE, wait_for_workers=False)
    except (dist.DistError, RuntimeError) as error:
        raise RunError(f"rank {rank} cannot reach rank 0 at {host}:{port}: {error}") from error


def _await_all(store: Any, rank: int, size: int, patience: timedelta) -> None:
    """Raises: RunError, naming the ranks that do not appear."""
    store.set(f"here/{rank}", "")
    try:
        store.wait([f"here/{other}" for other in range(size)], patience)
    except (dist.DistError, RuntimeError) as error:
        absent = [str(other) for other in range(size) if not store.check([f"here/{other}"])]
        raise RunError(
            f"rank {rank}: of {size} ranks {', '.join(absent)} did not appear within {patience.total_seconds():g} s. "
            "Look at what they said last, and whether as many were started."
        ) from error


def _smoke_test(device: torch.device, rank: int, size: int) -> None:
    numbers = torch.tensor([float(rank + 1)], device=device)
    try:
        dist.all_reduce(numbers)
    except (dist.DistError, RuntimeError) as error:
        raise RunError(f"rank {rank} of {size} got no answer from the others: {error}") from error
    if float(numbers) != size * (size + 1) / 2:
        raise RunError(f"rank {rank}: a sum over {size} ranks came out wrong ({float(numbers)})")


def _disconnect() -> None:
    if dist.is_initialized() and sys.exc_info()[0] is None:
        dist.destroy_process_group()


def _padded(x: Tensor, dim: int, length: int) -> Tensor:
    short = length - x.shape[dim]
    return pad(x, (0, 0) * (x.ndim - 1 - dim) + (0, short)) if short else x


def _divisors(number: int) -> str:
    return ", ".join(str(one) for one in range(1, number + 1) if number % one == 0)


@torch.compiler.disable  # compilers cannot look into it
def _exchanged(pieces: Tensor, group: Any) -> Tensor:
    received: Tensor = _AllToAll.apply(pieces, group)
    return received


@torch.compiler.disable
def _gathered(part: Tensor, tokens: TokenGroup) -> Tensor:
    whole: Tensor = _Gather.apply(part, tokens)
    return whole


class _AllToAll(torch.autograd.Function):
    """Piece p of every rank goes to rank p. pieces: (size, ...), contiguous."""

    @staticmethod
    def forward(ctx: Any, pieces: Tensor, group: Any) -> Tensor:
        ctx.group = group
        received = torch.empty_like(pieces)
        dist.all_to_all_single(received, pieces, group=group)
        return received

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        sent = gradients[0].contiguous()
        received = torch.empty_like(sent)
        dist.all_to_all_single(received, sent, group=ctx.group)
        return received, None


class _Gather(torch.autograd.Function):
    """All parts along the first axis; see the module for the gradient."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, tokens: TokenGroup) -> Tensor:
        ctx.tokens, ctx.length = tokens, len(part)
        whole = part.new_empty(tokens.size * len(part), *part.shape[1:])
        dist.all_gather(list(whole.chunk(tokens.size)), part, group=tokens.group)
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        tokens = ctx.tokens
        return gradients[0].narrow(0, tokens.rank * ctx.length, ctx.length) * tokens.size, None
