"""Step caches on a trained model: seconds per sample against what is lost, and fewer steps as the alternative.

What is lost is the PSNR of decoded clips against those of exact sampling from the same noise, in pixels of 0 to 255.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

import torch
from attrs import evolve, field, frozen
from torch import Tensor
from vidgen import UserError, load_recipe
from vidgen.conditioning.prompt_files import read_prompts
from vidgen.context import Context
from vidgen.engine import media
from vidgen.engine.parts import build_parts, shared_context
from vidgen.engine.sampler import Sampler, make_sampler
from vidgen.engine.tasks import Task
from vidgen.runfolder import find_checkpoint, read_state
from vidgen.weights import load_into

PAB = "pyramid-attention-broadcast"
DISTANCE = "timestep-distance"
ATTENTION = {"*.cross_attn": 6, "*.attn_temp": 4, "temporal_blocks.*.attn": 4, "*.attn": 2}
THRESHOLDS = (0.05, 0.075, 0.1, 0.15, 0.2, 0.3)
EVEN = (0.8, 0.65, 0.5, 0.375, 0.25)
"""Shares of the steps that exact sampling is tried with."""


@frozen(kw_only=True)
class Setting:
    """A way of sampling. family: what it is a setting of. name: within it. cache: as in a recipe, None for exact.
    steps: share of the recipe's."""

    family: str
    name: str
    cache: Mapping[str, Any] | None = None
    steps: float = 1.0


@frozen(kw_only=True)
class Figure:
    """What a setting showed. seconds: per sample, of each repeat. psnr: of each clip in dB, infinite where equal."""

    setting: Setting
    seconds: list[float] = field(factory=list)
    psnr: list[float] = field(factory=list)

    @property
    def loss(self) -> float:
        """Mean PSNR."""
        return fmean(self.psnr)

    def speed(self, exact: "Figure") -> float:
        """Times as fast as exact sampling, by the fastest repeat of each: what else runs only ever slows."""
        return min(exact.seconds) / min(self.seconds)


def settings() -> Iterator[Setting]:
    """Exact sampling first; then each family from near to far."""
    yield Setting(family="exact", name="every step")
    for share in EVEN:
        yield Setting(family="fewer steps", name=f"{share:g} of them", steps=share)
    for family, every in (("attention", ATTENTION), ("attention and MLPs", {"*.mlp": 2, **ATTENTION})):
        for between in ((0.25, 0.75), (0.15, 0.85), (0.05, 0.95)):
            broadcast = {"type": PAB, "between": list(between), "every": every}
            yield Setting(family=f"broadcast {family}", name=f"{between[0]:g} to {between[1]:g}", cache=broadcast)
    for measured in ("time", "tokens"):
        for threshold in THRESHOLDS:
            cache = {"type": DISTANCE, "threshold": threshold, "measure": measured}
            yield Setting(family=f"distance of {measured}", name=f"below {threshold:g}", cache=cache)


class Bench:
    """A trained model with a batch of prompts, which are sampled together."""

    def __init__(self, checkpoint: Path, prompts: Sequence[str]) -> None:
        plain = {"job": "sample", "checkpoint": str(checkpoint), "prompts": list(prompts), "trackers": []}
        self.plain = {**plain, "batch_size": len(prompts)}
        loaded = load_recipe(self.plain)
        self.recipe = loaded.job.options
        self.context = shared_context(self.recipe, Context(registry=loaded.registry, recipe=loaded.plain()))
        self.parts = build_parts(self.recipe, evolve(self.context, load_weights=False))
        load_into(self.parts.model, checkpoint)
        self.parts.model.eval()

    def clips(self, setting: Setting) -> tuple[float, Tensor]:
        """Seconds per sample, and pixels (B, 3, T, H, W) uint8."""
        sampler, tasks = self._sampler(setting)
        sampler.generation.texts.prepare(text for task in tasks for text in task.texts)
        start = perf_counter()
        video = torch.cat(list(sampler.generation.clips(tasks)), dim=2).cpu()
        return (perf_counter() - start) / len(tasks), media.to_pixels(video)

    def _sampler(self, setting: Setting) -> tuple[Sampler, list[Task]]:
        steps = max(1, round(setting.steps * self.parts.scheduler.num_sampling_steps))
        changed: dict[str, Any] = {
            **self.plain,
            "scheduler": {"num_sampling_steps": steps},
            "step_cache": setting.cache,
        }
        recipe = load_recipe(changed, registry=self.context.registry).job.options  # type: ignore[arg-type]
        known = evolve(
            self.context,
            latent_channels=self.parts.vae.latent_channels,
            latent_size=self.parts.latent_size,
            latent_stride=self.parts.vae.stride,
            out_channels=self.parts.model.out_channels,
        )
        parts = evolve(self.parts, scheduler=self.context.components.build(recipe.scheduler, known))
        sampler = make_sampler(parts, recipe, recipe, "", lambda *_: None, self.context)
        return sampler, sampler.tasks(Path("unused"))


def own_prompts(checkpoint: Path) -> list[str]:
    """What the run itself sampled. Raises: UserError, when that was nothing."""
    sample = read_state(find_checkpoint(checkpoint)).get("recipe", {}).get("sample") or {}
    path = sample.get("prompt_path")
    found = [*(sample.get("prompts") or []), *([one.text for one in read_prompts(Path(path))] if path else [])]
    if not found:
        raise UserError(f"{checkpoint}: the run sampled nothing by itself: give prompts, --prompt TEXT")
    return found


def measure(bench: Bench, tried: Sequence[Setting], repeats: int) -> list[Figure]:
    """Every setting once per round, in turn, the first one being the exact one."""
    figures = [Figure(setting=one) for one in tried]
    bench.clips(tried[0])  # the first call of all is slower
    for number in range(repeats):
        exact: Tensor | None = None
        for figure in figures:
            seconds, pixels = bench.clips(figure.setting)
            exact = pixels if exact is None else exact
            figure.seconds.append(seconds)
            if number == 0:
                figure.psnr.extend(psnr(pixels, exact))
    return figures


def psnr(pixels: Tensor, exact: Tensor) -> list[float]:
    """Of each clip, dB. Both (B, 3, T, H, W) uint8."""
    error = (pixels.double() - exact.double()).square().flatten(1).mean(dim=1)
    return [float(one) for one in 10 * torch.log10(255**2 / error)]
