"""Real clips, their reconstructions and samples of their captions side by side: is the autoencoder to blame, or the
model?"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vidgen.engine import media
from vidgen.engine.parts import Parts
from vidgen.errors import UserError
from vidgen.interfaces import Dataset, Media, Sample
from vidgen.recipe.schema import TrainingSampleOptions, TrainRecipe
from vidgen.rng import numpy_generator


class Comparison:
    """The first `options.from_data` rows of a dataset that are long enough, read once; the same clips every time."""

    def __init__(self, parts: Parts, dataset: Dataset, recipe: TrainRecipe, options: TrainingSampleOptions) -> None:
        self._parts, self._options = parts, options
        self._frames = options.num_frames or recipe.num_frames or 1
        self._size = options.image_size or recipe.image_size or (0, 0)
        self._fps = options.save_fps
        rows = _rows(dataset, self._frames, options.from_data)
        self._real: list[Sample] = [self._read(dataset, recipe.seed, row) for row in rows]

    @property
    def captions(self) -> list[str]:
        """What to sample, to be put before all other prompts."""
        return [sample.text for sample in self._real]

    def beside(self, samples: Sequence[Media], folder: Path) -> list[Media]:
        """Write real and reconstructed clips; the samples with both before those they belong to."""
        shown: list[Media] = []
        for number, sample in enumerate(samples):
            if number < len(self._real) and self._options.num_samples == 1:
                real = self._real[number]
                clips = {"real": real.video, "reconstructed": self._reconstructed(real.video)}
                shown.extend(self._write(folder, number, name, real, clip) for name, clip in clips.items())
            shown.append(sample)
        return shown

    def scores(self, samples: Sequence[Media]) -> dict[str, float]:
        """`reconstruction_psnr` and `sample_psnr` in dB against the real clips; the second says how well they are
        learnt by heart, and nothing else."""
        if not self._real or self._options.num_samples != 1:
            return {}
        upscale = self._options.upscale
        rebuilt = [psnr(self._reconstructed(one.video), one.video) for one in self._real]
        pairs = zip(samples, self._real, strict=False)
        sampled = [psnr(media.read(s.path, upscale, self._size), real.video) for s, real in pairs]
        return {"reconstruction_psnr": sum(rebuilt) / len(rebuilt), "sample_psnr": sum(sampled) / len(sampled)}

    def _read(self, dataset: Dataset, seed: int, row: int) -> Sample:
        return dataset.get(row, self._frames, self._size, numpy_generator(seed, "comparison", row))

    @torch.inference_mode()
    def _reconstructed(self, video: Tensor) -> Tensor:
        vae, device = self._parts.vae, self._parts.device
        latents = vae.encode(media.to_unit(video[None].to(device)))
        return media.to_pixels(vae.decode(latents, self._frames).float())[0].cpu()

    def _write(self, folder: Path, number: int, name: str, real: Sample, clip: Tensor) -> Media:
        path = folder / f"{self._options.sample_name}_{number:04d}_{name}"
        written = media.final_path(path, self._frames)
        if not written.exists():
            media.write(path, clip, self._fps or real.fps or 1.0, {"prompt": real.text}, self._options.upscale)
        return Media(written, f"{name}: {real.text}", (self._frames, *self._size))


def psnr(clip: Tensor, real: Tensor) -> float:
    """Peak signal-to-noise ratio of uint8 clips in dB; 99 for equal ones."""
    error = torch.mean((clip.float() - real.float()) ** 2).item()
    return min(10 * torch.log10(torch.tensor(255.0**2 / max(error, 1e-12))).item(), 99.0)


def _rows(dataset: Dataset, frames: int, count: int) -> list[int]:
    table = dataset.table
    if count == 0:
        return []
    lengths = (
        table.column("num_frames").to_pylist() if "num_frames" in table.column_names else [frames] * table.num_rows
    )
    rows = [row for row, length in enumerate(lengths) if length is None or length >= frames][:count]
    if not rows:
        raise UserError(f"sample.from_data: no row of the dataset has {frames} frames")
    return rows
