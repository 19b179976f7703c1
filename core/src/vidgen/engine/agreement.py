"""Ranks that end a run do so after the same step, though a signal reaches them at different ones."""

from typing import Any

import torch
import torch.distributed as dist

from vidgen.mesh import LONGEST, World


class Agreement:
    """Whether any rank wants to stop. With several ranks the answer is that of the question before, which has come in
    the meantime: no step waits for it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._group = dist.new_group(backend="gloo", timeout=LONGEST) if world.size > 1 else None
        self._asked: tuple[torch.Tensor, Any] | None = None

    def __call__(self, mine: bool) -> bool:
        """mine: whether this rank wants to. The same answer on every rank; all must ask equally often."""
        if self._world.size == 1:
            return mine
        answer = self._answer()
        wish = torch.tensor([float(mine)])
        self._asked = wish, dist.all_reduce(wish, dist.ReduceOp.MAX, group=self._group, async_op=True)
        return answer

    def _answer(self) -> bool:
        if self._asked is None:
            return False
        wish, work = self._asked
        work.wait()
        return bool(wish.item())
