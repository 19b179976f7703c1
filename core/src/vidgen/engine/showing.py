"""What a model is shown of its clips beside the noise while it is trained."""

from typing import Any

from torch import Tensor

from vidgen.conditioning.frame_mask_options import FrameMaskOptions
from vidgen.conditioning.frame_masks import training_frame_mask
from vidgen.engine.batch import Batch
from vidgen.engine.encoding import Encoding
from vidgen.rng import Draws


class Showing:
    """options: how often which frames; None: never any, so that everything is grey."""

    def __init__(self, model: Any, encoding: Encoding, options: FrameMaskOptions | None) -> None:
        self._wanted = "video_mask" in model.conditioning
        self._encoding, self._options = encoding, options

    def __call__(self, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """`masked_video` and `video_mask` of a batch, on the device; nothing of a model that is not shown any. draws:
        of its clips, which each have a mask of their own."""
        if batch.shown or not self._wanted:
            return dict(batch.shown)
        frames = (size[0] for size in batch.sizes)
        masks = [training_frame_mask(self._options, count, draws[row])[0] for row, count in enumerate(frames)]
        return self._encoding.shown(batch, masks)
