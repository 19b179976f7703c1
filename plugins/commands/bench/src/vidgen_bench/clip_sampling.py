"""Sampling itself: captions worked out once against in every step, compiled blocks, videos written as they are made.

Models are of mid size with moved start values; what is measured is a few steps with guidance, as a sampler takes them.
Times are the processor's.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import Tensor
from vidgen import build, load_recipe
from vidgen.conditioning import without_padding
from vidgen.context import Context
from vidgen.engine import media
from vidgen.engine.parts import compile_blocks, shared_context
from vidgen.engine.sample import loaded_parts
from vidgen.engine.sampler import Sampler, make_sampler
from vidgen.rng import Draws

from vidgen_bench.comparison import Alternatives, Comparison, peak_megabytes, processor_seconds
from vidgen_bench.models import CAPTIONS, SIZE, moved, normal, stdit3_inputs

STEPS = 3
TOKENS = (20, 97)
"""Of a short caption and a long one, out of 120."""
LENGTHS = (2, 4, 8)
LIMIT = 450.0  # MB that a video of any length may take beside the model


@frozen
class Task:
    """A model, noise, and both halves of guidance as encoders give them: padded, and not worked out yet."""

    model: Any
    z: Tensor
    conditioning: Mapping[str, Tensor]
    null: Mapping[str, Tensor]

    @classmethod
    def of(cls, model: Any, given: Mapping[str, Tensor]) -> "Task":
        """given: what the model takes, with x for the noise."""
        conditioning = {key: value for key, value in given.items() if key not in ("x", "timestep")}
        return cls(model, given["x"], conditioning, model.null_conditioning(conditioning))


def comparisons() -> Iterator[Comparison]:
    """All of them, in the order of the documentation."""
    for name, make in (("STDiT3", stdit3), ("PixArt", pixart)):
        for tokens in TOKENS:
            yield Comparison(
                name=f"{name}, captions of {tokens} tokens",
                against="recomputing everything",
                goal=1.0,
                prepare=partial(exact_mode, partial(make, tokens)),
                measure=processor_seconds,
            )
        yield Comparison(
            name=f"{name}, compiled blocks",
            against="as written",
            goal=1.15,
            prepare=partial(compiled, partial(make, TOKENS[0])),
            measure=processor_seconds,
            warm_up=2,
        )
    for loops in LENGTHS:
        yield Comparison(
            name=f"memory of a video of {loops} clips",
            against="decoded, then written",
            goal=1.0,
            limit=LIMIT,
            unit="MB",
            prepare=partial(writing, loops),
            measure=peak_megabytes,
        )


def stdit3(tokens: int) -> Task:
    """A clip of 8 frames of 32x32 latents."""
    model = moved(build("model", "STDiT3", hidden_size=576, num_heads=8, depth=4, **CAPTIONS))
    return Task.of(model, stdit3_inputs(frames=8, side=32, lengths=[tokens]))


def pixart(tokens: int) -> Task:
    """Four images of 32x32 latents."""
    model = moved(build("model", "PixArt", input_size=(1, 32, 32), **CAPTIONS, **SIZE))
    mask = (torch.arange(120) < torch.full((4, 1), tokens)).long()
    return Task.of(model, {"x": normal(4, 4, 1, 32, 32), "y": normal(4, 120, 1024), "mask": mask})


def exact_mode(make: Callable[[], Task]) -> Alternatives:
    """As the sample job does it, and with captions as they come in every step."""
    task = make()
    ours, theirs = partial(sampled, task, encoded=True), partial(sampled, task, encoded=False)
    return Alternatives(ours=ours, theirs=theirs, difference=lambda: _apart(ours(), theirs()))


def compiled(make: Callable[[], Task]) -> Alternatives:
    """Both as the sample job does it."""
    task = make()
    other = Task(deepcopy(task.model), task.z, task.conditioning, task.null)
    compile_blocks(other.model)
    ours, theirs = partial(sampled, other, encoded=True), partial(sampled, task, encoded=True)
    return Alternatives(ours=ours, theirs=theirs, difference=lambda: _apart(ours(), theirs()))


@torch.inference_mode()
def sampled(task: Task, *, encoded: bool) -> Tensor:
    """Clean latents. encoded: work out first what depends on captions alone, of the tokens that count."""
    scheduler = build("scheduler", "rflow", num_sampling_steps=STEPS, cfg_scale=4.0)
    conditioning, null = task.conditioning, task.null
    if encoded:
        conditioning, null = map(task.model.encode_text, without_padding(conditioning, null))
    draws = Draws(0, [(row,) for row in range(len(task.z))])
    sizes = {"height": torch.full((len(task.z),), 256.0), "width": torch.full((len(task.z),), 256.0)}
    sizes["num_frames"] = torch.full((len(task.z),), 8.0)
    return scheduler.sample(task.model, task.z, conditioning, null, draws=draws, sizes=sizes)


def writing(loops: int) -> Alternatives:
    """A video of clips of 16 frames of 240x432, written piece by piece; and decoded as a whole first."""
    folder = Path(tempfile.mkdtemp(prefix="vidgen-bench-"))
    sampler = long_video(loops, folder)
    return Alternatives(ours=partial(_streamed, sampler, folder), theirs=partial(_at_once, sampler, folder))


def long_video(loops: int, folder: Path) -> Sampler:
    """Samples one with a model that takes hardly any memory."""
    recipe = load_recipe(
        {
            "job": "sample",
            "prompts": ["a red circle moving left"],
            "num_frames": 16,
            "image_size": [240, 432],
            "loop": loops,
            "condition_frame_length": 2,
            "vae": {"type": "pixel", "patch": [1, 8, 8]},
            "text_encoder": {"type": "hashed-words"},
            "model": {"type": "STDiT3", "hidden_size": 24, "depth": 1, "num_heads": 2},
            "scheduler": {"type": "rflow", "num_sampling_steps": 1},
            "outputs": str(folder),
        }
    )
    options: Any = recipe.job.options
    context = shared_context(options, Context(registry=recipe.registry, recipe=recipe.plain()))
    return make_sampler(loaded_parts(options, context), options, options, "", lambda *_: None, context)


def _streamed(sampler: Sampler, folder: Path) -> None:
    for sample in sampler.run(folder):
        sample.path.unlink()


def _at_once(sampler: Sampler, folder: Path) -> None:
    tasks = sampler.tasks(folder)
    sampler.generation.texts.prepare(text for task in tasks for text in task.encoded)
    video = torch.cat(list(sampler.generation.clips(tasks)), dim=2)
    media.write(folder / "whole", media.to_pixels(video[0]), 24.0, {}).unlink()


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())
