"""From prompts to files: plan, denoise, decode, write, measure. Used by the sample job and within training."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from vidgen import weights
from vidgen.conditioning import conditioning_for, null_conditioning_for
from vidgen.engine import media
from vidgen.engine.batch import size_numbers
from vidgen.engine.parts import Parts
from vidgen.errors import UserError
from vidgen.interfaces import Context, Media, Metric, Size3
from vidgen.recipe.schema import SampleOptions, SharedRecipe
from vidgen.rng import Address, Draws

LOG = logging.getLogger("vidgen")


@frozen
class Task:
    """One sample to make. path: without suffix. address: of its random numbers, its prompt and which repeat it is, so
    that it does not depend on what else is sampled."""

    prompt: str
    path: Path
    address: Address


@frozen
class Sampler:
    """Samples clips of one size.

    fps: told to the model. save_fps: of the files. recipe_hash: goes into the files' metadata.
    progress(name, done, total): called after every denoising step.
    """

    parts: Parts
    options: SampleOptions
    seed: int
    size: Size3
    fps: float
    save_fps: float
    recipe_hash: str
    progress: Callable[[str, int, int], None]

    def run(self, folder: Path, stopped: Callable[[], bool] = lambda: False, *, strict: bool = False) -> list[Media]:
        """Make what is not in `folder` yet, batch by batch. Returns every sample that is there, made now or before, in
        the order of the prompts.

        strict: refuse a folder with files of these names that were made otherwise (UserError), instead of leaving them
        with a warning.
        """
        tasks = plan(self.options, folder)
        made_by = weights.fingerprint(self.parts.model)
        done = [task for task in tasks if self._final(task).exists()]
        self._check_done(done, made_by, strict)
        left = [task for task in tasks if task not in done]
        while left and not stopped():
            batch, left = left[: self.options.batch_size], left[self.options.batch_size :]
            self._write(batch, self._sample(batch), made_by)
        if left:
            LOG.warning("not sampled: %s", "; ".join(task.prompt for task in left))
        return [Media(self._final(task), task.prompt, self.size) for task in tasks if task not in left]

    def _sample(self, tasks: Sequence[Task]) -> Tensor:
        """Pixels of one batch, (B, 3, T, H, W) uint8 on the CPU."""
        parts, prompts = self.parts, [task.prompt for task in tasks]
        training = self.parts.model.training
        self.parts.model.eval()
        with torch.inference_mode(), parts.parallel.autocast():
            text = parts.text_encoder.encode(prompts)
            sizes = size_numbers([self.size] * len(tasks), self.fps)
            known = {key: value.to(parts.device) for key, value in {**text, **sizes}.items()}
            conditioning = conditioning_for(parts.model, known)
            negative = None if self.options.negative_prompt is None else [self.options.negative_prompt] * len(tasks)
            null = null_conditioning_for(parts.model, parts.text_encoder, conditioning, negative)
            parts.text_encoder.release()
            draws = Draws(self.seed, [task.address for task in tasks])
            shape = (parts.model.latent_channels, *parts.vae.latent_size(self.size))
            latents = parts.scheduler.sample(
                parts.model,
                draws.normal("noise", shape, device=parts.device),
                parts.model.encode_text(conditioning),
                parts.model.encode_text(null) if null else null,
                draws=draws,
                progress=lambda done, total: self.progress("denoise", done, total),
                sizes={key: known[key] for key in sizes},
            )
            video = parts.vae.decode(latents, self.size[0])
        self.parts.model.train(training)
        return media.to_pixels(video.float()).cpu()

    def _write(self, tasks: Sequence[Task], videos: Tensor, made_by: str) -> None:
        for task, video in zip(tasks, videos, strict=True):
            origin = {"prompt": task.prompt, "seed": self.seed, "recipe": self.recipe_hash, "weights": made_by}
            media.write(task.path, video, self.save_fps, origin, self.options.upscale)

    def _final(self, task: Task) -> Path:
        return media.final_path(task.path, self.size[0])

    def _check_done(self, done: Sequence[Task], made_by: str, strict: bool) -> None:
        wanted = {"recipe": self.recipe_hash, "weights": made_by, "seed": self.seed}
        others = [task for task in done if not _matches(media.provenance(self._final(task)), task, wanted)]
        if done:
            LOG.info("%d samples are there already and are left as they are", len(done))
        if others:
            text = (
                f"{len(others)} files there come from other settings, weights or prompts "
                f"({self._final(others[0])} ...): choose another outputs folder or sample_name, or delete them."
            )
            if strict:
                raise UserError(text)
            LOG.warning("%s", text)


def make_sampler(
    parts: Parts,
    options: SampleOptions,
    recipe: SharedRecipe,
    recipe_hash: str,
    progress: Callable[[str, int, int], None],
) -> Sampler:
    """A sampler with sizes and rates filled in from the recipe. Raises: UserError, when the size is said nowhere."""
    fps = (options.fps or recipe.fps) / recipe.frame_interval
    return Sampler(
        parts=parts,
        options=options,
        seed=recipe.seed,
        size=clip_size(options, recipe),
        fps=fps,
        save_fps=options.save_fps or fps,
        recipe_hash=recipe_hash,
        progress=progress,
    )


def clip_size(options: SampleOptions, recipe: SharedRecipe) -> Size3:
    """Video (frames, rows, columns) of the samples. Raises: UserError, when they are said nowhere."""
    frames, size = options.num_frames or recipe.num_frames, options.image_size or recipe.image_size
    if frames is None or size is None:
        raise UserError("sample: say num_frames and image_size, there or for the whole recipe")
    return (frames, *size)


def plan(options: SampleOptions, folder: Path) -> list[Task]:
    """Every sample asked for, with its file name. Raises: UserError, when there is no prompt."""
    prompts = all_prompts(options)
    if not prompts:
        raise UserError(f"no prompts: {options.prompt_path or 'prompts'} is empty")
    times: Counter[str] = Counter()
    tasks = []
    for index, prompt in enumerate(prompts):
        for repeat in range(options.num_samples):
            suffix = f"-{repeat}" if options.num_samples > 1 else ""
            name = f"{options.sample_name}_{index:04d}{suffix}"
            tasks.append(Task(prompt, folder / name, (prompt, times[prompt])))
            times[prompt] += 1
    return tasks


def all_prompts(options: SampleOptions) -> list[str]:
    """Prompts of the recipe, then those of the prompt file, one a line, stripped. Raises: UserError."""
    if options.prompt_path is None:
        return list(options.prompts)
    try:
        lines = options.prompt_path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"prompt_path: {options.prompt_path} cannot be read as UTF-8 text ({error})") from error
    return [*options.prompts, *(line.strip() for line in lines)]


def measure(options: SampleOptions, samples: Sequence[Media], context: Context) -> dict[str, float]:
    """What the options' metrics say of clips as they lie on disk."""
    scores: dict[str, float] = {}
    for selection in options.metrics:
        metric: Metric = context.components.build(selection, context)
        for sample in samples:
            metric.update(media.read(sample.path, options.upscale, sample.size[1:]), sample.prompt)
        scores |= metric.compute()
    return scores


def _matches(found: Mapping[str, Any], task: Task, wanted: Mapping[str, Any]) -> bool:
    return found.get("prompt") == task.prompt and all(found.get(key) == value for key, value in wanted.items())
