"""What an OpenSoraInpaint_v1_3 is shown of a training clip: which video frames, and in which form.

True, or 1, is a pixel that is to be made; false, or 0, one that is shown.

Letters: B clips, F video frames, T H W latent frames/rows/columns, S video frames per latent frame.
"""

from collections.abc import Callable, Mapping

import numpy as np
from attrs import field, frozen
from attrs.validators import and_, deep_mapping, ge, in_, le
from torch import Tensor
from torch.nn.functional import pad
from vidgen_layers.checks import Size3

Show = Callable[[np.ndarray, float, np.random.Generator], None]
"""Makes entries of (F,) false, all of which are true at first. The number: the share that is to be shown."""


def _nothing(mask: np.ndarray, share: float, rng: np.random.Generator) -> None:
    pass


def _first(mask: np.ndarray, share: float, rng: np.random.Generator) -> None:
    mask[0] = False


def _both_ends(mask: np.ndarray, share: float, rng: np.random.Generator) -> None:
    mask[[0, -1]] = False


def _beginning(mask: np.ndarray, share: float, rng: np.random.Generator) -> None:
    mask[: int(share * len(mask))] = False


def _anywhere(mask: np.ndarray, share: float, rng: np.random.Generator) -> None:
    mask[rng.permutation(len(mask))[: int(share * len(mask))]] = False


def _all(mask: np.ndarray, share: float, rng: np.random.Generator) -> None:
    mask[:] = False


KINDS: Mapping[str, Show] = {
    "t2iv": _nothing,
    "i2v": _first,
    "transition": _both_ends,
    "continuation": _beginning,
    "random_temporal": _anywhere,
    "clear": _all,
}
OF_STILLS = ("t2iv", "clear")
"""Kinds that mean something for one frame; drawn as often as in proportion to each other."""


@frozen(kw_only=True)
class FrameMasks:
    """How often each kind of mask is drawn, as Open-Sora-Plan's `mask_config` says it.

    ratios: kind -> share, of any sum above 0. t2iv: nothing is shown; i2v: the first frame; transition: the first and
    the last; continuation: frames from the first on; random_temporal: frames anywhere; clear: all.
    min_clear_ratio, max_clear_ratio: between which the share of frames lies that the last two but one show, 0 to 1.
    """

    ratios: Mapping[str, float] = field(validator=deep_mapping(in_(KINDS), ge(0)))
    min_clear_ratio: float = field(default=0.0, validator=and_(ge(0), le(1)))
    max_clear_ratio: float = field(default=1.0, validator=and_(ge(0), le(1)))

    @ratios.validator
    def _check_sum(self, _: object, ratios: Mapping[str, float]) -> None:
        if sum(ratios.values()) <= 0:
            raise ValueError(f"'ratios' must have a sum above 0: {dict(ratios)}")

    def draw(self, frames: int, rng: np.random.Generator) -> np.ndarray:
        """A mask, (F,) bool. Of one frame, with none of the kinds of stills in `ratios`, nothing is shown."""
        kinds = {kind: self.ratios.get(kind, 0.0) for kind in (KINDS if frames > 1 else OF_STILLS)}
        total, mask = sum(kinds.values()), np.ones(frames, dtype=bool)
        if total > 0:
            kind = rng.choice(list(kinds), p=np.array(list(kinds.values())) / total)
            KINDS[kind](mask, rng.uniform(self.min_clear_ratio, self.max_clear_ratio), rng)
        return mask


def blanked(video: Tensor, mask: Tensor) -> Tensor:
    """What is to be encoded as `masked_video`: the frames that are shown, among grey ones.

    video: (B, 3, F, rows, columns) in [-1, 1]. mask: (B, F).
    """
    return video.masked_fill(mask[:, None, :, None, None].bool(), 0)


def video_mask(mask: Tensor, size: Size3, stride: int) -> Tensor:
    """mask: (B, F). size: latent (T, H, W); stride: S. Returns the model's `video_mask`, (B, S, T, H, W): channel s of
    a latent frame is that of its s-th video frame. The first one holds fewer, so that it is repeated there."""
    frames, rows, columns = size
    lacking = frames * stride - mask.shape[1]
    spread = pad(mask[:, None].float(), (lacking, 0), mode="replicate")[:, 0]
    return spread.unflatten(1, (frames, stride)).transpose(1, 2)[..., None, None].expand(-1, -1, -1, rows, columns)
