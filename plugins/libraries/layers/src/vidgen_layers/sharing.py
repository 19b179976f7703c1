"""How tokens that ranks share attend: every rank has a part of the tokens, the same of each sequence, and attention
needs whole ones. With one rank nothing is exchanged, and all is as if this were not here.

Letters: B sequences, N tokens of a whole sequence, n those of a rank, t frames in patches, S tokens of one frame, K
heads, E head width, D width. Source: arXiv 2309.14509.
"""

from typing import Protocol

import torch
from attrs import frozen
from einops import rearrange
from torch import Tensor
from vidgen.attention import Backend, KeyMask, Segments
from vidgen.mesh import ALONE, TokenGroup

from vidgen_layers.attention import SelfAttention
from vidgen_layers.positions import Rotation


class Ulysses:
    """A backend for queries, keys and values of this rank's tokens: all tokens of some heads are worked out here."""

    def __init__(self, backend: Backend, tokens: TokenGroup, length: int) -> None:
        """length: tokens of a whole sequence, or of all sequences that are packed."""
        self.backend, self.tokens, self.length = backend, tokens, length

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, keys: KeyMask | None = None) -> Tensor:
        """q, k, v: (B, K, n, E). keys: of whole sequences. Returns (B, K, n, E)."""
        heads = q.shape[1]
        q, k, v = (self.tokens.exchange(x, split=1, join=2, length=self.length) for x in (q, k, v))
        return self.tokens.exchange(self.backend(q, k, v, keys), split=2, join=1, length=heads)

    @torch.compiler.disable  # see `vidgen.attention.AttentionLayer.attend_packed`
    def packed(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
        """q, k, v: (n, K, E). segments: of all tokens. Returns (n, K, E)."""
        heads = q.shape[1]
        q, k, v = (self.tokens.exchange(x, split=1, join=0, length=self.length) for x in (q, k, v))
        return self.tokens.exchange(self.backend.packed(q, k, v, segments), split=0, join=1, length=heads)


class Attends(Protocol):
    """Between which of a block's tokens a layer attends."""

    def attend(self, layer: SelfAttention, h: Tensor) -> Tensor:
        """h: (B, ..., D), this rank's tokens. Returns the same shape."""
        ...


@frozen(kw_only=True, eq=False)
class Sequences:
    """Sequences of `length` tokens, of each of which every rank has a part."""

    length: int
    tokens: TokenGroup = ALONE

    def part(self, h: Tensor) -> Tensor:
        """(B, N, D) -> (B, n, D)."""
        return self.tokens.split(h, 1)

    def whole(self, h: Tensor) -> Tensor:
        """(B, n, D) -> (B, N, D). Nothing with parameters may follow."""
        return self.tokens.gather(h, 1, self.length)

    def everywhere(self, h: Tensor) -> Tensor:
        """(B, n, D) -> (B, N, D), with which every rank goes on in its own way."""
        return self.tokens.collect(h, 1, self.length)

    def in_heads(self, x: Tensor) -> Tensor:
        """(B, n, K, E) -> (B, N, K', E): whole sequences of this rank's part of the heads."""
        return self.tokens.exchange(x, split=2, join=1, length=self.length)

    def in_tokens(self, x: Tensor, heads: int) -> Tensor:
        """The way back, (B, n, K, E). heads: K."""
        return self.tokens.exchange(x, split=1, join=2, length=heads)

    def by_heads(self, backend: Backend) -> Backend:
        """`backend`, for queries, keys and values of this rank's part."""
        return backend if self.tokens.size == 1 else Ulysses(backend, self.tokens, self.length)

    def attend(self, layer: SelfAttention, h: Tensor, rotation: Rotation | None = None) -> Tensor:
        """h: (B, n, D). rotation: of N positions. Returns (B, n, D)."""
        if self._suits_sequences(len(h), layer.heads):
            whole = self.tokens.exchange(h, split=0, join=1, length=self.length)
            return self.tokens.exchange(layer(whole, rotation), split=1, join=0, length=len(h))
        return layer(h, rotation and self._part_of(rotation), self.by_heads(layer.backend))

    def _part_of(self, rotation: Rotation) -> Rotation:
        return Rotation(self.tokens.split(rotation.cos, 0), self.tokens.split(rotation.sin, 0))

    def _suits_sequences(self, count: int, heads: int) -> bool:
        """Whether ranks take whole sequences, which sends half of what taking heads does: unless that would leave
        ranks idle for an eighth longer, because sequences divide worse between them than heads."""
        part = self.tokens.part
        return 8 * part(count) * heads <= 9 * part(heads) * count


@frozen(kw_only=True, eq=False)
class SharedGrid:
    """A grid of t frames of S tokens, of which every rank has a part of the frames or of the places in them. Attention
    along the other axis needs no communication.

    space: the places of each frame; time: the frames of each place.
    """

    space: Sequences
    time: Sequences

    def part(self, h: Tensor) -> Tensor:
        """(B, t, S, D) -> this rank's part."""
        return self.space.tokens.split(self.time.tokens.split(h, 1), 2)

    def whole(self, h: Tensor) -> Tensor:
        """This rank's part -> (B, t, S, D). Nothing with parameters may follow."""
        return self.space.tokens.gather(self.time.whole(h), 2, self.space.length)

    def over_space(self, attend: SelfAttention, h: Tensor) -> Tensor:
        """Attention within each frame. h: this rank's part of (B, t, S, D); returns the same."""
        return self.space.attend(attend, h.flatten(0, 1)).view_as(h)

    def over_time(self, attend: SelfAttention, h: Tensor, rotation: Rotation | None = None) -> Tensor:
        """Attention across frames at each place. h: as above; rotation: of t positions."""
        out = self.time.attend(attend, rearrange(h, "b t s d -> (b s) t d"), rotation)  # one copy; of q, k, v three
        return rearrange(out, "(b s) t d -> b t s d", b=h.shape[0])


def shared_grid(tokens: TokenGroup, frames: int, places: int) -> SharedGrid:
    """A grid shared along the axis that is padded less, along frames where both are alike."""
    by_frames = tokens.part(frames) * places <= tokens.part(places) * frames
    space, time = (ALONE, tokens) if by_frames else (tokens, ALONE)
    return SharedGrid(space=Sequences(length=places, tokens=space), time=Sequences(length=frames, tokens=time))
