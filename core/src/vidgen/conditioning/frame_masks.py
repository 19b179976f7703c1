"""What a model is shown beside the noise: which video frames of a clip, as latents, and the mask that tells of them.

True, or 1, is a frame that is to be made; false, or 0, one that is shown.

Letters: B clips, F video frames, T H W latent frames/rows/columns, S video frames per latent frame.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vidgen.conditioning.frame_mask_options import NOTHING, FrameMaskOptions
from vidgen.conditioning.latent_time import LatentTime
from vidgen.conditioning.masks import Chances, addressed, choose
from vidgen.interfaces import Size3
from vidgen.rng import Draws

Show = Callable[[Tensor, float, Chances], None]
"""Makes entries of (F,) false, all of which are true at first. The number: the share that is to be shown."""


def training_frame_mask(options: FrameMaskOptions | None, frames: int, draws: Draws) -> Tensor:
    """(B, F) bool, a mask for each clip, drawn for itself (purpose `mask`). options: None shows nothing."""
    if options is None:
        return torch.ones(len(draws), frames, dtype=torch.bool)
    return torch.stack([draw_frame_mask(options, frames, chances) for chances in addressed(draws)])


def draw_frame_mask(options: FrameMaskOptions, frames: int, chances: Chances) -> Tensor:
    """(F,) bool."""
    kind = choose(options.of(frames), chances.fraction(), NOTHING)
    least, largest = options.min_clear_ratio, options.max_clear_ratio
    mask = torch.ones(frames, dtype=torch.bool)
    KINDS[kind](mask, least + (largest - least) * chances.fraction(), chances)
    return mask


def blanked(video: Tensor, mask: Tensor) -> Tensor:
    """What is to be encoded: the frames that are shown, among grey ones.

    video: (B, 3, F, rows, columns) in [-1, 1]. mask: (B, F) bool.
    """
    return video.masked_fill(mask[:, None, :, None, None], 0)


def video_mask(mask: Tensor, time: LatentTime, size: Size3) -> Tensor:
    """mask: (B, F). time: of the clips. size: latent (T, H, W). Returns (B, S, T, H, W) float32: channel s of a latent
    frame is that of its s-th video frame. One that holds fewer begins with its first one repeated."""
    frames, rows, columns = size
    told = mask[:, _frames_in(time, frames).to(mask.device)].float()
    return told.transpose(1, 2)[..., None, None].expand(-1, -1, -1, rows, columns)


def _frames_in(time: LatentTime, latents: int) -> Tensor:
    """Numbers of the video frames in each latent frame, (T, S)."""
    ends = torch.tensor([min(time.frames_of(k + 1), time.num_frames) for k in range(latents)])
    firsts = torch.cat([ends.new_zeros(1), ends[:-1]])
    counted = ends[:, None] - time.stride + torch.arange(time.stride)
    return torch.maximum(counted, firsts[:, None].clamp(max=time.num_frames - 1))


def _nothing(mask: Tensor, share: float, chances: Chances) -> None:
    pass


def _first(mask: Tensor, share: float, chances: Chances) -> None:
    mask[0] = False


def _both_ends(mask: Tensor, share: float, chances: Chances) -> None:
    mask[[0, -1]] = False


def _beginning(mask: Tensor, share: float, chances: Chances) -> None:
    mask[: int(share * len(mask))] = False


def _anywhere(mask: Tensor, share: float, chances: Chances) -> None:
    mask[chances.fractions(len(mask)).argsort()[: int(share * len(mask))]] = False


def _all(mask: Tensor, share: float, chances: Chances) -> None:
    mask[:] = False


KINDS: Mapping[str, Show] = {
    NOTHING: _nothing,
    "i2v": _first,
    "transition": _both_ends,
    "continuation": _beginning,
    "random_temporal": _anywhere,
    "clear": _all,
}
