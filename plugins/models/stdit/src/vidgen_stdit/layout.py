"""How the tokens of a batch lie, and so how blocks attend and are told of time: as a grid where all clips have one
size, else packed into one list. Blocks are the same for both.

Letters: B clips, C latent channels, T H W latent frames/rows/columns, t patches along time, S tokens of one frame, M of
all clips, D width, R vectors.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from attrs import frozen
from torch import Tensor
from vidgen.attention import Backend, KeyMask, Segments, segments, to_device
from vidgen.mesh import TokenGroup
from vidgen_layers import checks, packing
from vidgen_layers.attention import CrossAttention, SelfAttention
from vidgen_layers.captions import Text
from vidgen_layers.checks import Size3
from vidgen_layers.layers import DropPath, FinalLayer, modulate, table_rows
from vidgen_layers.packing import Places, reorder, spread
from vidgen_layers.patches import PatchEmbed, pad_to_patches, token_grid, unpatch
from vidgen_layers.positions import Rotation
from vidgen_layers.sharing import SharedGrid, Ulysses, shared_grid


class PackedText(NamedTuple):
    """As `Text`, for packed tokens. tokens: (B, N, D). segments: the clips and which tokens of their captions count."""

    tokens: Tensor
    segments: Segments

    def of_block(self, number: int) -> "PackedText":
        """As one block reads them."""
        return self if self.tokens.ndim == 3 else PackedText(self.tokens[:, number], self.segments)


Captions = Text | PackedText


class Layout(Protocol):
    """h: all tokens, (B, t, S, D) or (M, D); results that are added to or multiplied with it broadcast to its shape."""

    def embedded(self, embed: PatchEmbed, x: Tensor) -> Tensor:
        """Tokens of latents x (B, C, T, H, W), with zeros behind clips up to whole patches."""
        ...

    def latents(self, patches: Tensor, x: Tensor, patch: Size3) -> Tensor:
        """patches: the numbers of each token, as h. Returns latents as large as x, (B, C', T, H, W)."""
        ...

    def text(self, text: Text) -> Captions:
        """What `to_caption` takes."""
        ...

    def by_frame(self, noised: Tensor, given: Callable[[], Tensor]) -> Tensor:
        """What `vectors` takes, of noised frames (B, R D) and of frames that are given (B or 1, R D); the latter are
        made where there are such frames."""
        ...

    def vectors(self, table: Tensor, condition: Tensor) -> tuple[Tensor, ...]:
        """The R rows of table (R, D), each plus what `by_frame` gave."""
        ...

    def of_clips(self, vectors: Tensor) -> Tensor:
        """One vector of each clip, (B, D)."""
        ...

    def of_frames(self, table: Tensor) -> Tensor:
        """One vector of each frame, the same for all clips, (t, D)."""
        ...

    def rotation(self, rotation: Rotation) -> Rotation:
        """What `over_time` takes, of the positions of frames."""
        ...

    def over_space(self, attend: SelfAttention, h: Tensor) -> Tensor:
        """Attention within each frame."""
        ...

    def over_time(self, attend: SelfAttention, h: Tensor, rotation: Rotation | None = None) -> Tensor:
        """Attention across frames at each position."""
        ...

    def to_caption(self, attend: CrossAttention, h: Tensor, text: Captions) -> Tensor:
        """Attention of all tokens to their clip's caption."""
        ...

    def dropped(self, drop_path: DropPath, branch: Tensor) -> Tensor:
        """The branch, left out for some clips."""
        ...

    def finished(self, layer: FinalLayer, h: Tensor, t: Tensor, t0: Tensor) -> Tensor:
        """The numbers of every token. t, t0: vectors of noised and of given frames, (B or 1, D)."""
        ...


@frozen(kw_only=True, eq=False)
class Grid:
    """Clips of one size: h is (B, t, S, D), or this rank's part of it, and t and S below are those of that part.

    x_mask: (B, t) bool, true where a frame is noised; None: all are.
    """

    grid: SharedGrid
    x_mask: Tensor | None

    def embedded(self, embed: PatchEmbed, x: Tensor) -> Tensor:
        """See `Layout`."""
        return embed(pad_to_patches(x, embed.patch), self.grid.part)

    def latents(self, patches: Tensor, x: Tensor, patch: Size3) -> Tensor:
        """See `Layout`."""
        frames, height, width = x.shape[2:]
        rows = token_grid((frames, height, width), patch)[1]
        return unpatch(self.grid.whole(patches), patch, rows)[:, :, :frames, :height, :width]

    def text(self, text: Text) -> Text:
        """See `Layout`."""
        return text

    def by_frame(self, noised: Tensor, given: Callable[[], Tensor]) -> Tensor:
        """See `Layout`: (B, t or 1, R D)."""
        if self.x_mask is None:
            return noised[:, None]
        return torch.where(self.x_mask[:, :, None], noised[:, None], given()[:, None])

    def vectors(self, table: Tensor, condition: Tensor) -> tuple[Tensor, ...]:
        """See `Layout`: (B, t or 1, 1, D) each."""
        return table_rows(table, condition)

    def of_clips(self, vectors: Tensor) -> Tensor:
        """See `Layout`: (B, 1, 1, D)."""
        return vectors[:, None, None]

    def of_frames(self, table: Tensor) -> Tensor:
        """See `Layout`: (t, 1, D)."""
        return self.grid.time.part(table[None])[0, :, None]

    def of_places(self, table: Tensor) -> Tensor:
        """table: one vector of each place in a frame, the same for all frames, (1, S, D), of all ranks. Returns
        (1, S, D)."""
        return self.grid.space.part(table)

    def rotation(self, rotation: Rotation) -> Rotation:
        """See `Layout`."""
        return rotation

    def over_space(self, attend: SelfAttention, h: Tensor) -> Tensor:
        """See `Layout`."""
        return self.grid.over_space(attend, h)

    def over_time(self, attend: SelfAttention, h: Tensor, rotation: Rotation | None = None) -> Tensor:
        """See `Layout`."""
        return self.grid.over_time(attend, h, rotation)

    def to_caption(self, attend: CrossAttention, h: Tensor, text: Text) -> Tensor:
        """See `Layout`."""
        return attend(h.flatten(1, 2), *text).view_as(h)

    def dropped(self, drop_path: DropPath, branch: Tensor) -> Tensor:
        """See `Layout`."""
        return drop_path(branch)

    def finished(self, layer: FinalLayer, h: Tensor, t: Tensor, t0: Tensor) -> Tensor:
        """See `Layout`."""
        return layer(h, t) if self.x_mask is None else layer.by_frame(h, t, t0, self.x_mask)


@frozen(kw_only=True, eq=False)
class Packed:
    """Clips of different sizes: h is (M, D), without padding.

    valid: (B, T, H, W) bool, on the device. tokens: the ranks that share the list of tokens, each of which has a part;
    M is then that of this rank. places: where tokens come from; whole: where those of all ranks do. space, time: all
    sequences within and across frames. noised: (M,) bool, true in frames that are noised; None: all are. vector: (M,),
    which of the vectors that `by_frame` gives a token has.
    """

    valid: Tensor
    tokens: TokenGroup
    places: Places
    whole: Places
    space: Segments
    time: Segments
    noised: Tensor | None
    vector: Tensor

    def embedded(self, embed: PatchEmbed, x: Tensor) -> Tensor:
        """See `Layout`."""
        alone = torch.where(self.valid[:, None], x, 0)
        return embed(pad_to_patches(alone, embed.patch), lambda patches: patches.flatten(0, 2)[self.places.place])

    def latents(self, patches: Tensor, x: Tensor, patch: Size3) -> Tensor:
        """See `Layout`; zeros behind clips."""
        frames, height, width = x.shape[2:]
        t, h, w = token_grid((frames, height, width), patch)
        patches = self.tokens.gather(patches, 0, len(self.whole.place))
        padded = patches.new_zeros(len(x) * t * h * w, patches.shape[1]).index_copy(0, self.whole.place, patches)
        return unpatch(padded.unflatten(0, (len(x), t, h * w)), patch, h)[:, :, :frames, :height, :width]

    def text(self, text: Text) -> PackedText:
        """See `Layout`."""
        mask = None if text.keys is None else text.keys.valid[:, 0, 0]
        return PackedText(text.tokens, self.places.to_captions(text.tokens.shape[-2], mask))

    def by_frame(self, noised: Tensor, given: Callable[[], Tensor]) -> Tensor:
        """See `Layout`: (B, R D), or those of noised frames and then those of given ones, (2 B, R D)."""
        return noised if self.noised is None else torch.cat([noised, given().expand_as(noised)])

    def vectors(self, table: Tensor, condition: Tensor) -> tuple[Tensor, ...]:
        """See `Layout`: (M, D) each."""
        rows = table + condition.unflatten(1, table.shape)
        return tuple(spread(row, self.vector) for row in rows.unbind(1))

    def of_clips(self, vectors: Tensor) -> Tensor:
        """See `Layout`: (M, D)."""
        return spread(vectors, self.places.clip)

    def of_frames(self, table: Tensor) -> Tensor:
        """See `Layout`: (M, D)."""
        return table[self.places.frame]

    def rotation(self, rotation: Rotation) -> Rotation:
        """See `Layout`: (M, E / 2) each, in the order of the attention over time."""
        frames = self.places.frame[self.places.by_frame]
        return Rotation(rotation.cos[frames], rotation.sin[frames])

    def over_space(self, attend: SelfAttention, h: Tensor) -> Tensor:
        """See `Layout`."""
        return attend.packed(h, self.space)

    def over_time(self, attend: SelfAttention, h: Tensor, rotation: Rotation | None = None) -> Tensor:
        """See `Layout`."""
        order, back = self.places.by_frame, self.places.back
        return reorder(attend.packed(reorder(h, order, back), self.time, rotation), back, order)

    def to_caption(self, attend: CrossAttention, h: Tensor, text: PackedText) -> Tensor:
        """See `Layout`."""
        return attend.packed(h, *text)

    def dropped(self, drop_path: DropPath, branch: Tensor) -> Tensor:
        """See `Layout`."""
        if drop_path.idle:
            return branch
        return branch * drop_path.factors(branch.new_empty(self.valid.shape[0]))[self.places.clip, None]

    def finished(self, layer: FinalLayer, h: Tensor, t: Tensor, t0: Tensor) -> Tensor:
        """See `Layout`."""
        u = self._modulated(layer, h, t)
        if self.noised is not None:  # as `FinalLayer.by_frame`
            u = torch.where(self.noised[:, None], u, self._modulated(layer, u, t0))
        return layer.linear(u)

    def _modulated(self, layer: FinalLayer, h: Tensor, t: Tensor) -> Tensor:
        clips = self.valid.shape[0]
        shift, scale = (self.of_clips(vector.expand(clips, -1)) for vector in layer.vectors(t))
        return modulate(h, shift, scale)


@frozen(kw_only=True, eq=False)
class SharedPacked(Packed):
    """Packed clips that ranks share: both self attentions exchange heads for tokens."""

    def text(self, text: Text) -> PackedText:
        """See `Layout`: of those clips alone of which this rank has tokens."""
        first, counts = self.whole.clips_of(self.tokens)
        clips = slice(first, first + len(counts))
        mask = None if text.keys is None else text.keys.valid[clips, 0, 0]
        lengths = [(1, count, text.tokens.shape[-2]) for count in counts]
        return PackedText(text.tokens[clips], segments(lengths, text.tokens.device, mask))

    def rotation(self, rotation: Rotation) -> Rotation:
        """See `Layout`: (M, E / 2) each."""
        return Rotation(rotation.cos[self.places.frame], rotation.sin[self.places.frame])

    def over_space(self, attend: SelfAttention, h: Tensor) -> Tensor:
        """See `Layout`."""
        return attend.packed(h, self.space, backend=self._by_heads(attend.backend))

    def over_time(self, attend: SelfAttention, h: Tensor, rotation: Rotation | None = None) -> Tensor:
        """See `Layout`."""
        by_frame = Reordered(attend.backend, self.whole.by_frame, self.whole.back)
        return attend.packed(h, self.time, rotation, self._by_heads(by_frame))

    def _by_heads(self, backend: Backend) -> Backend:
        return Ulysses(backend, self.tokens, len(self.whole.place))


class Reordered:
    """A backend for packed tokens that lie in another order than their sequences."""

    def __init__(self, backend: Backend, order: Tensor, back: Tensor) -> None:
        """order, back: (M,), the tokens as they lie in sequences, and the inverse."""
        self.backend, self.order, self.back = backend, order, back

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, keys: KeyMask | None = None) -> Tensor:
        """As `backend`: these are no packed tokens."""
        return self.backend(q, k, v, keys)

    def packed(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
        """See `vidgen.attention.Backend`."""
        q, k, v = (reorder(part, self.order, self.back) for part in (q, k, v))
        return reorder(self.backend.packed(q, k, v, segments), self.back, self.order)


def layout_of(
    x: Tensor, valid: Tensor | None, x_mask: Tensor | None, patch: Size3, tokens: TokenGroup
) -> Grid | Packed:
    """x: (B, C, T, H, W). valid: (B, T, H, W) bool, best on the CPU, true where a latent is no padding; None: there is
    none. x_mask: (B, t) bool. tokens: the ranks that share them. Raises: UserError, when `valid` does not fit x or is
    no box at the origin of a clip."""
    if valid is None:
        frames, rows, columns = token_grid((x.shape[2], x.shape[3], x.shape[4]), patch)
        grid = shared_grid(tokens, frames, rows * columns)
        return Grid(grid=grid, x_mask=None if x_mask is None else grid.time.part(x_mask))
    checks.check_shape(valid, (len(x), *x.shape[2:]), name="valid")
    whole = packing.places(valid, patch, x.device)
    places = whole if tokens.size == 1 else whole.part(tokens)
    noised = None if x_mask is None else x_mask[places.clip, places.frame]
    kind = Packed if tokens.size == 1 else SharedPacked
    return kind(
        valid=to_device(valid.bool(), x.device),
        tokens=tokens,
        places=places,
        whole=whole,
        space=whole.within_frames(),
        time=whole.across_frames(),
        noised=noised,
        vector=places.clip if noised is None else places.clip + len(x) * ~noised,
    )
