"""Skiparse attention: the tokens of a clip are dealt to sub-sequences, each of which attends within itself.

Token j goes to sub-sequence (j // run) % parts and keeps its place there among the others: with `run` 1 each takes
every parts-th token, with `run` = parts runs of so many are dealt in turn, so that after one block of each kind every
token has been reached. Dealing is a change of axes, in one copy; nothing is looked up in tables.

Letters: B clips, N tokens, M tokens of a sub-sequence, P = `parts`, K heads, E head width.
"""

from itertools import groupby

import torch
from attrs import evolve, frozen
from torch import Tensor
from torch.nn.functional import pad
from vidgen.attention import Backend, KeyMask, key_mask

from vidgen_opensora_plan.counting import COUNTING, FILLING, Blank, attend, best, blank


@frozen(eq=False)
class Dealing:
    """How one kind of block deals its tokens. parts: P; 1: the clip is one sequence. keys: which tokens count, of the
    (P B) sub-sequences; None: all but the zeros that fill up the clip. blank: those in which none does."""

    parts: int = 1
    run: int = 1
    keys: KeyMask | None = None
    blank: Blank | None = None

    @classmethod
    def of(cls, parts: int, run: int, real: Tensor | None) -> "Dealing":
        """real: (B, N) bool, which tokens count; None: all."""
        whole = cls(parts, run)
        if real is None:
            return whole
        ranks = whole.dealt(COUNTING * real.int(), value=FILLING)
        return evolve(whole, keys=key_mask(best(ranks), len(ranks)), blank=blank(ranks))

    @torch.compiler.disable  # compiled code would be made anew for each kind of dealing, and for many numbers of tokens
    def attend(self, backend: Backend, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q, k, v: (B, N, K, E), of whole clips. Returns (B, N, K, E)."""
        tokens = q.shape[1]
        q, k, v = (self.dealt(x).transpose(1, 2) for x in (q, k, v))
        if self.keys is None and self.parts > 1 and tokens % self.parts**2:
            out = self._by_length(backend, q, k, v, tokens)
        else:
            out = attend(backend, q, k, v, self.keys, self.blank)
        return no_view(self.collected(out.transpose(1, 2), tokens=tokens))

    def dealt(self, x: Tensor, *, value: float = 0) -> Tensor:
        """(B, N, ...) -> (P B, M, ...), sub-sequence by sub-sequence, with `value` behind clips up to a multiple of
        parts * run tokens."""
        if self.parts == 1:
            return x
        short = -x.shape[1] % (self.parts * self.parts)
        if short:
            x = pad(x, (0, 0) * (x.ndim - 2) + (0, short), value=value)
        return x.unflatten(1, (-1, self.parts, self.run)).movedim(2, 0).flatten(2, 3).flatten(0, 1)

    def collected(self, x: Tensor, *, tokens: int) -> Tensor:
        """(P B, M, ...) -> (B, tokens, ...): back to their places."""
        if self.parts == 1:
            return x
        return x.unflatten(1, (-1, self.run)).unflatten(0, (self.parts, -1)).movedim(0, 2).flatten(1, 3)[:, :tokens]

    def _by_length(self, backend: Backend, q: Tensor, k: Tensor, v: Tensor, tokens: int) -> Tensor:
        """Without the zeros behind the sub-sequences, and without a mask, which would rule out the fastest kernels: one
        call for those of one length, of which there are three at most. q, k, v: (P B, K, M, E)."""
        clips, longest, done, made = len(q) // self.parts, q.shape[2], 0, []
        for length, alike in groupby(self._length(part, tokens) for part in range(self.parts)):
            rows = slice(done * clips, (done := done + len(list(alike))) * clips)
            if length:
                out = backend(q[rows, :, :length], k[rows, :, :length], v[rows, :, :length])
                made.append(pad(out, (0, 0, 0, longest - length)))
            else:
                made.append(torch.zeros_like(q[rows]))
        return torch.cat(made)

    def _length(self, part: int, tokens: int) -> int:
        """How many of `tokens` tokens go to sub-sequence `part`."""
        rounds, rest = divmod(tokens, self.parts * self.run)
        return rounds * self.run + min(max(rest - part * self.run, 0), self.run)


def no_view(x: Tensor) -> Tensor:
    """A copy of a view; else x. Compiled code is made anew for views, of every number of axes, until it is given up."""
    return x.clone() if x._is_view() else x
