"""How the tokens of a batch lie, and so how blocks attend and are told of time: as a grid where all clips have one
size, else packed into one list. Blocks are the same for both.

Letters: B clips, C latent channels, T H W latent frames/rows/columns, t patches along time, S tokens of one frame, M of
all clips, D width, R vectors.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from attrs import frozen
from einops import rearrange
from torch import Tensor
from vidgen.attention import Segments, to_device
from vidgen_layers import checks, packing
from vidgen_layers.attention import CrossAttention, SelfAttention
from vidgen_layers.captions import Text
from vidgen_layers.checks import Size3
from vidgen_layers.layers import DropPath, FinalLayer, modulate, table_rows
from vidgen_layers.packing import Places, reorder, spread
from vidgen_layers.patches import PatchEmbed, pad_to_patches, token_grid, unpatch
from vidgen_layers.positions import Rotation


class PackedText(NamedTuple):
    """As `Text`, for packed tokens. tokens: (B, N, D). segments: the clips and which tokens of their captions count."""

    tokens: Tensor
    segments: Segments


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
    """Clips of one size: h is (B, t, S, D). x_mask: (B, t) bool, true where a frame is noised; None: all are."""

    x_mask: Tensor | None

    def embedded(self, embed: PatchEmbed, x: Tensor) -> Tensor:
        """See `Layout`."""
        return embed(pad_to_patches(x, embed.patch))

    def latents(self, patches: Tensor, x: Tensor, patch: Size3) -> Tensor:
        """See `Layout`."""
        frames, height, width = x.shape[2:]
        rows = token_grid((frames, height, width), patch)[1]
        return unpatch(patches, patch, rows)[:, :, :frames, :height, :width]

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
        return table[:, None]

    def rotation(self, rotation: Rotation) -> Rotation:
        """See `Layout`."""
        return rotation

    def over_space(self, attend: SelfAttention, h: Tensor) -> Tensor:
        """See `Layout`."""
        return attend(h.flatten(0, 1)).view_as(h)

    def over_time(self, attend: SelfAttention, h: Tensor, rotation: Rotation | None = None) -> Tensor:
        """See `Layout`."""
        out = attend(rearrange(h, "b t s d -> (b s) t d"), rotation)  # one copy; of q, k and v it would be three
        return rearrange(out, "(b s) t d -> b t s d", b=h.shape[0])

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

    valid: (B, T, H, W) bool, on the device. places: where tokens come from. space, time: sequences within and across
    frames. noised: (M,) bool, true in frames that are noised; None: all are. vector: (M,), which of the vectors that
    `by_frame` gives a token has.
    """

    valid: Tensor
    places: Places
    space: Segments
    time: Segments
    noised: Tensor | None
    vector: Tensor

    def embedded(self, embed: PatchEmbed, x: Tensor) -> Tensor:
        """See `Layout`."""
        alone = torch.where(self.valid[:, None], x, 0)
        return embed.embed(embed.numbers(pad_to_patches(alone, embed.patch)).flatten(0, 2)[self.places.place])

    def latents(self, patches: Tensor, x: Tensor, patch: Size3) -> Tensor:
        """See `Layout`; zeros behind clips."""
        frames, height, width = x.shape[2:]
        t, h, w = token_grid((frames, height, width), patch)
        whole = patches.new_zeros(len(x) * t * h * w, patches.shape[1]).index_copy(0, self.places.place, patches)
        return unpatch(whole.unflatten(0, (len(x), t, h * w)), patch, h)[:, :, :frames, :height, :width]

    def text(self, text: Text) -> PackedText:
        """See `Layout`."""
        mask = None if text.keys is None else text.keys.valid[:, 0, 0]
        return PackedText(text.tokens, self.places.to_captions(text.tokens.shape[1], mask))

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


def layout_of(x: Tensor, valid: Tensor | None, x_mask: Tensor | None, patch: Size3) -> Grid | Packed:
    """x: (B, C, T, H, W). valid: (B, T, H, W) bool, best on the CPU, true where a latent is no padding; None: there is
    none. x_mask: (B, t) bool. Raises: UserError, when `valid` does not fit x or is no box at the origin of a clip."""
    if valid is None:
        return Grid(x_mask=x_mask)
    checks.check_shape(valid, (len(x), *x.shape[2:]), name="valid")
    places = packing.places(valid, patch, x.device)
    noised = None if x_mask is None else x_mask[places.clip, places.frame]
    return Packed(
        valid=to_device(valid.bool(), x.device),
        places=places,
        space=places.within_frames(),
        time=places.across_frames(),
        noised=noised,
        vector=places.clip if noised is None else places.clip + len(x) * ~noised,
    )
