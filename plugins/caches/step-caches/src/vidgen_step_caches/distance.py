"""Steps left out while little changes at the entrance of the blocks, in the manner of TeaCache (arXiv 2411.19108).

The relative change of what enters the first block, from one step to the next, adds up. While the sum is below a
threshold all blocks are left out, and what they added to the tokens last is added again. The decision is the host's, so
one number a step is read back from the device. It is one for the whole batch: clips depend, a little, on what they are
sampled with.

Letters: B clips, T latent frames.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from math import inf
from typing import Any

import torch
from attrs import define, field
from torch import Tensor
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen.mesh import ALONE, TokenGroup

from vidgen_step_caches import DistanceOptions
from vidgen_step_caches.course import Course, replaced


@define
class Sequel:
    """One sequence of calls. measured, x_mask: of the call before. residual: what the blocks added last. total: changes
    since then. skipped: calls without the blocks since then."""

    measured: list[Tensor] = field(factory=list)
    x_mask: Tensor | None = None
    residual: Tensor | None = None
    total: float = 0.0
    skipped: int = 0


class TimestepDistance:
    """See `vidgen.interfaces.StepCache`."""

    def __init__(self, options: DistanceOptions) -> None:
        self.options = options

    @contextmanager
    def applied(self, model: Any, steps: int) -> Iterator[Callable[[int, int], None]]:
        """See `vidgen.interfaces.StepCache`. Raises: UserError, in the first step, when the blocks give something else
        than tokens like those that they take."""
        course, blocks = Course(steps), list(model.repeated_blocks())
        passage = Passage(self.options, course, getattr(model, "tokens", ALONE))
        with ExitStack() as stack:
            step_done = stack.enter_context(course.followed(model))
            for i, block in enumerate(blocks):
                by = partial(passage.through, block.forward, i == 0, i == len(blocks) - 1)
                stack.enter_context(replaced(block, "forward", by))
            yield step_done


class Passage:
    """The way of tokens through all blocks, or around them. ranks: that share these tokens, and go the same way."""

    def __init__(self, options: DistanceOptions, course: Course, ranks: TokenGroup) -> None:
        self.options, self.course, self.ranks = options, course, ranks
        self._sequels: dict[object, Sequel] = {}
        self._sequel, self._around = Sequel(), False
        self._entered: Tensor | None = None

    def through(
        self, compute: Callable[..., Tensor], first: bool, last: bool, h: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        """One block's tokens. first, last: of the blocks."""
        if first:
            self._enter(h, args)
        out = h if self._around else compute(h, *args, **kwargs)
        return self._leave(out) if last else out

    def _enter(self, h: Tensor, args: Sequence[Any]) -> None:
        sequel = self._sequels.setdefault((self.course.caller, h.shape), Sequel())
        measured, x_mask = self._measured(h, args), self.course.x_mask
        self._around = self._may_skip(sequel, measured, x_mask)
        sequel.measured, sequel.x_mask = measured, x_mask
        sequel.skipped = sequel.skipped + 1 if self._around else 0
        sequel.total = sequel.total if self._around else 0.0
        self._sequel, self._entered = sequel, h

    def _leave(self, out: Tensor) -> Tensor:
        entered, self._entered = self._entered, None
        assert entered is not None, "blocks are called in the order of `repeated_blocks`"
        if self._around and self._sequel.residual is not None:
            return entered + self._sequel.residual
        if out.shape != entered.shape:
            raise UserError(
                f"step_cache: timestep-distance needs blocks that give tokens like those they take; of "
                f"{tuple(entered.shape)} these give {tuple(out.shape)}. Use pyramid-attention-broadcast"
            )
        self._sequel.residual = out - entered
        return out

    def _may_skip(self, sequel: Sequel, measured: Sequence[Tensor], x_mask: Tensor | None) -> bool:
        if sequel.residual is None or self.course.at_an_end or sequel.skipped >= self.options.max_skipped:
            return False
        seen = self.ranks.largest(change(measured, sequel.measured, x_mask, sequel.x_mask))
        sequel.total += self._rescaled(seen)
        return sequel.total < self.options.threshold

    def _measured(self, h: Tensor, args: Sequence[Any]) -> list[Tensor]:
        if self.options.measure == "tokens":
            return [h]
        vectors = [one for one in args if isinstance(one, Tensor) and one.is_floating_point()]
        if not vectors:
            raise UserError(
                "step_cache: measure: time needs blocks that are given vectors of time, and these are not: use tokens"
            )
        return vectors

    def _rescaled(self, value: float) -> float:
        if value == inf:
            return inf
        total = 0.0
        for coefficient in self.options.polynomial:
            total = total * value + coefficient
        return max(total, 0.0)


def change(now: Sequence[Tensor], before: Sequence[Tensor], mask: Tensor | None, mask_before: Tensor | None) -> float:
    """The largest relative change of any tensor, mean |now - before| / mean |before|; infinite where frames begin or
    cease to be given, or shapes differ. mask: (B, T) bool or None. Waits for the device once."""
    if [one.shape for one in now] != [one.shape for one in before] or (mask is None) != (mask_before is None):
        return inf
    shares = [
        (a.float() - b.float()).abs().mean() / b.float().abs().mean().clamp_min(1e-12)
        for a, b in zip(now, before, strict=True)
    ]
    if mask is not None and mask_before is not None:
        shares.append(torch.where((mask != mask_before).any(), inf, 0.0).to(shares[0]))
    return float(torch.stack(shares).max())


def build(options: DistanceOptions, context: Context) -> TimestepDistance:
    """The cache; nothing of the run matters to it."""
    return TimestepDistance(options)
