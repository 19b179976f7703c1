"""The last steps' losses, kept on the device and read back only when asked for: no step waits for the host."""

from collections import deque
from collections.abc import Mapping
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from vidgen.errors import RunError
from vidgen.mesh import World

SMOOTHING = 0.98  # of the running mean a loss is compared with: about the last 50 steps
SETTLED = 20  # steps before that mean says anything


class Window:
    """Means since the last reading, and a watch for losses that are not finite or explode.

    max_ratio: a step's loss over its running mean from which on the run is lost; None never.
    """

    def __init__(self, device: torch.device, max_ratio: float | None, world: World | None = None) -> None:
        """world: ranks over which means are taken, and of which all stop when one is lost."""
        self._device, self._max_ratio = device, max_ratio or float("inf")
        self._world = world or World()
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self._norm = torch.zeros((), device=device)
        self._mean = torch.zeros((), device=device)
        self._seen = 0
        # of the first bad step: its number, loss, gradient norm, and the running mean before it
        self._bad = torch.tensor([-1.0, 0.0, 0.0, 0.0], device=device)
        self._rows: deque[tuple[int, tuple[int, ...]]] = deque(maxlen=1000)

    def add(self, step: int, losses: Mapping[str, Tensor], norm: Tensor, rows: tuple[int, ...]) -> None:
        """Take in one step: mean losses (scalars on the device), the gradient norm, the rows it saw."""
        loss = losses["loss"]
        lost = ~torch.isfinite(loss) | ~torch.isfinite(norm)
        if self._seen >= SETTLED:
            lost = lost | (loss > self._max_ratio * self._mean)
        here = torch.stack([torch.full_like(loss, step), loss, norm.to(loss.dtype), self._mean])
        self._bad = torch.where(lost & (self._bad[0] < 0), here, self._bad)
        self._mean = torch.where(lost, self._mean, loss.lerp(self._mean, SMOOTHING) if self._seen else loss)
        self._norm = norm
        for name, value in losses.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
        self._seen += 1
        self._count += 1
        self._rows.append((step, rows))

    def read(self) -> dict[str, float]:
        """Mean of each loss since the last reading, and the last gradient norm; starts anew. Waits for the device."""
        sums, count = self._over_ranks(), self._count
        self._sums, self._count = {}, 0
        return {**{name: value / count for name, value in sums.items()}, "grad_norm": float(self._norm)}

    def check(self, intact: object) -> None:
        """Raises: RunError, when a step since the start was lost; `intact` is the last good checkpoint."""
        found = [
            (step, rank, loss, norm, mean) for rank, (step, loss, norm, mean) in enumerate(self._of_all()) if step >= 0
        ]
        if not found:
            return
        # what one rank loses spoils the gradients of all: the first is one whose own loss is lost
        step, rank, loss, norm, mean = min(
            found, key=lambda one: (one[0], isfinite(one[2]) and not isfinite(one[3]), one[1])
        )
        rows = self._rows_in(int(step), rank)
        where = f" on rank {rank}" if self._world.size > 1 else ""
        what = "exploded" if isfinite(loss) and norm == norm else "is not finite"
        raise RunError(
            f"step {int(step)}: the loss {what}{where} (loss {loss:.4g}, gradient norm {norm:.4g}, running mean of the "
            f"loss {mean:.4g}), on rows {rows or 'no longer known'} of the dataset. "
            f"Nothing was saved since; last good checkpoint: {intact or 'none'}. Try a lower optimizer.lr, more "
            "optimizer.warmup_steps, or dtype: bf16 instead of fp16."
        )

    def _over_ranks(self) -> dict[str, float]:
        names = list(self._sums)
        if not names:
            return {}
        sums = self._world.mean(torch.stack([self._sums[name].float() for name in names])).tolist()
        return dict(zip(names, sums, strict=True))

    def _rows_in(self, step: int, rank: int) -> str:
        """Of that rank, which tells the others."""
        rows = ", ".join(map(str, dict(self._rows).get(step, ())))
        store = self._world.store
        if store is None:
            return rows
        if rank == self._world.rank:
            store.set("lost rows", rows)
        told: str = store.get("lost rows").decode()
        self._world.all_have_read("lost rows")
        return told

    def _of_all(self) -> list[list[float]]:
        found: list[list[float]] = self._world.gathered(self._bad).tolist()
        return found

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers; float32 values survive JSON exactly. Losses are means over the ranks, which all ask for it."""
        return {"sums": self._over_ranks(), "count": self._count, "mean": float(self._mean), "seen": self._seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._sums = {name: torch.tensor(value, device=self._device) for name, value in state["sums"].items()}
        self._count, self._seen = state["count"], state["seen"]
        self._mean = torch.tensor(state["mean"], device=self._device)
