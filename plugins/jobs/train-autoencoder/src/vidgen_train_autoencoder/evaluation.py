"""Fixed clips, reconstructed again and again: figures, and a picture of real over reconstructed frames."""

from collections.abc import Iterator
from functools import cached_property
from math import isnan
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from vidgen.engine import media
from vidgen.errors import UserError
from vidgen.interfaces import Dataset, Media, Parallel, Size3
from vidgen.rng import numpy_generator
from vidgen_quality.psnr import psnr
from vidgen_quality.sheet import contact_sheet, spread
from vidgen_quality.ssim import ssim

from vidgen_train_autoencoder.recipe import EvaluationOptions

NAME = "reconstructions"


class Evaluation:
    """size: video (T, H, W) of the clips. They are read once, the same in every run of one seed."""

    def __init__(self, options: EvaluationOptions, dataset: Dataset, *, seed: int, size: Size3) -> None:
        self.options, self._dataset, self._seed, self._size = options, dataset, seed, size

    def __call__(self, vae: Any, parallel: Parallel, folder: Path) -> tuple[list[Media], dict[str, float]]:
        """Write the sheet into `folder`. Returns it, and `reconstruction_psnr` in dB and `reconstruction_ssim`, means
        over clips; no similarity for frames that are too small. vae: in eval mode."""
        rebuilt = [reconstruct(vae, parallel, clip) for clip in self._clips]
        pairs = list(zip(self._clips, rebuilt, strict=True))
        sheet = contact_sheet(pairs, self.options.frames, "over", self.options.upscale)
        path = media.write(folder / NAME, sheet, 1.0, {"size": self._size})
        figures = {
            "reconstruction_psnr": fmean(psnr(made, real) for real, made in pairs),
            "reconstruction_ssim": fmean(ssim(made, real) for real, made in pairs),
        }
        scores = {name: value for name, value in figures.items() if not isnan(value)}
        return [Media(path, "real over reconstructed", (1, sheet.shape[2], sheet.shape[3]))], scores

    @cached_property
    def _clips(self) -> list[Tensor]:
        rows = list(self._rows())
        if not rows:
            raise UserError(f"evaluate: no row of the dataset has {self._size[0]} frames")
        return [self._read(rows[number]) for number in spread(len(rows), self.options.clips)]

    def _read(self, row: int) -> Tensor:
        rng = numpy_generator(self._seed, "evaluation", row)
        return self._dataset.get(row, self._size[0], self._size[1:], rng).video

    def _rows(self) -> Iterator[int]:
        """Rows that are long enough, or whose length is not known."""
        table = self._dataset.table
        lengths = table.column("num_frames").to_pylist() if "num_frames" in table.column_names else []
        for row in range(table.num_rows):
            if not lengths or lengths[row] is None or lengths[row] >= self._size[0]:
                yield row


@torch.inference_mode()
def reconstruct(vae: Any, parallel: Parallel, clip: Tensor) -> Tensor:
    """A clip (3, T, H, W) uint8 there and back, without drawing: the posterior's mode. Raises: UserError, when the
    autoencoder does not take its size."""
    with parallel.autocast():
        latents = vae.encode(media.to_unit(clip[None].to(parallel.device)))
        return media.to_pixels(vae.decode(latents, clip.shape[1]).float())[0].cpu()
