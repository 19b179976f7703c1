"""Real clips, their reconstructions and samples of their captions side by side: is the autoencoder to blame, or the
model?"""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from vidgen.conditioning.names import save_name
from vidgen.engine import media
from vidgen.engine.parts import Parts
from vidgen.errors import UserError
from vidgen.interfaces import Dataset, Media, Sample, Size3
from vidgen.recipe.schema import TrainingSampleOptions
from vidgen.rng import numpy_generator


class Comparison:
    """The first `options.from_data` rows of a dataset that are long enough, read once; the same clips every time.

    size: video (T, H, W) that they are read at; asked for where there are such rows.
    """

    def __init__(
        self,
        parts: Parts,
        dataset: Dataset,
        options: TrainingSampleOptions,
        *,
        seed: int,
        size: Callable[[], Size3],
    ) -> None:
        self.options, self._parts = options, parts
        self._real = _real_clips(dataset, options.from_data, seed, size()) if options.from_data else []

    @cached_property
    def _rebuilt(self) -> list[Tensor]:
        return [self._reconstructed(one.video) for one in self._real]

    @property
    def captions(self) -> list[str]:
        """What to sample, to be put before all other prompts."""
        return [sample.text for sample in self._real]

    def beside(self, samples: Sequence[Media], folder: Path) -> list[Media]:
        """Write real and reconstructed clips; the samples with both before those they belong to."""
        shown: list[Media] = []
        for sample in samples:
            number = self._number(sample)
            if number is not None:
                clips = {"real": self._real[number].video, "reconstructed": self._rebuilt[number]}
                shown.extend(self._write(folder, number, name, clip) for name, clip in clips.items())
            shown.append(sample)
        return shown

    def scores(self, samples: Sequence[Media]) -> dict[str, float]:
        """`reconstruction_psnr` and `sample_psnr` in dB against the real clips; the second says how well they are
        learnt by heart, and nothing else. Empty with several samples per prompt."""
        pairs = [(number, sample) for sample in samples if (number := self._number(sample)) is not None]
        if not pairs:
            return {}
        rebuilt = [psnr(self._rebuilt[number], self._real[number].video) for number, _ in pairs]
        sampled = [psnr(self._read(sample), self._real[number].video) for number, sample in pairs]
        return {"reconstruction_psnr": sum(rebuilt) / len(rebuilt), "sample_psnr": sum(sampled) / len(sampled)}

    def _number(self, sample: Media) -> int | None:
        """Which real clip a sample belongs to, by its name; none where a prompt has several samples."""
        names = [self._name(number) for number in range(len(self._real))]
        return names.index(sample.path.stem) if sample.path.stem in names else None

    def _name(self, number: int) -> str:
        return save_name(number, sample_name=self.options.sample_name)

    def _read(self, sample: Media) -> Tensor:
        return media.read(sample.path, self.options.upscale, sample.size[1:])

    @torch.inference_mode()
    def _reconstructed(self, video: Tensor) -> Tensor:
        vae, device = self._parts.vae, self._parts.device
        latents = vae.encode(media.to_unit(video[None].to(device)))
        return media.to_pixels(vae.decode(latents, video.shape[1]).float())[0].cpu()

    def _write(self, folder: Path, number: int, name: str, clip: Tensor) -> Media:
        real, path = self._real[number], folder / f"{self._name(number)}_{name}"
        frames, rows, columns = real.video.shape[1:]
        written = media.final_path(path, frames)
        if not written.exists():
            fps = self.options.save_fps or real.fps or 1.0
            media.write(path, clip, fps, {"prompt": real.text}, self.options.upscale)
        return Media(written, f"{name}: {real.text}", (frames, rows, columns))


def psnr(clip: Tensor, real: Tensor) -> float:
    """Peak signal-to-noise ratio of uint8 clips in dB; 99 for equal ones."""
    error = torch.mean((clip.float() - real.float()) ** 2).item()
    return min(10 * torch.log10(torch.tensor(255.0**2 / max(error, 1e-12))).item(), 99.0)


def _real_clips(dataset: Dataset, count: int, seed: int, size: Size3) -> list[Sample]:
    rows = _rows(dataset, size[0], count)
    return [dataset.get(row, size[0], size[1:], numpy_generator(seed, "comparison", row)) for row in rows]


def _rows(dataset: Dataset, frames: int, count: int) -> list[int]:
    table = dataset.table
    rows: Iterable[int] = range(table.num_rows)
    if "num_frames" in table.column_names:
        lengths = table.column("num_frames")
        rows = (row for row in rows if (length := lengths[row].as_py()) is None or length >= frames)
    chosen = list(islice(rows, count))
    if not chosen:
        raise UserError(f"sample.from_data: no row of the dataset has {frames} frames")
    return chosen
