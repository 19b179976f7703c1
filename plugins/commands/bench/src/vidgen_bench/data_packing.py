"""A training step on clips of different sizes: packed, against one clip after the other, against padding, and what
packing costs where there is nothing to gain.

Letters: B clips, C latent channels, T H W latent frames/rows/columns.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn
from vidgen import build
from vidgen.interfaces import Size3
from vidgen.rng import torch_generator

from vidgen_bench.comparison import Alternatives, Comparison, seconds

MODEL = {"hidden_size": 192, "depth": 3, "num_heads": 6, "caption_channels": 64, "model_max_length": 20}
MIXED: tuple[Size3, ...] = ((8, 24, 32), (8, 30, 20), (4, 32, 24), (1, 40, 24), (1, 24, 40), (1, 32, 32))
"""Latent sizes of a mixture: videos and stills, upright and wide."""
ALIKE: tuple[Size3, ...] = ((4, 24, 32),) * 4
STRIDE = 8  # pixels per latent


@frozen
class Clips:
    """Clips of several sizes in one batch. inputs: of the model, without `valid`."""

    sizes: Sequence[Size3]
    inputs: Mapping[str, Tensor]
    valid: Tensor

    def alone(self, clip: int) -> dict[str, Tensor]:
        """Inputs of one clip without its padding."""
        one = {key: value[clip : clip + 1] for key, value in self.inputs.items()}
        frames, rows, columns = self.sizes[clip]
        return {**one, "x": one["x"][:, :, :frames, :rows, :columns]}


def comparisons() -> Iterator[Comparison]:
    """All of them, in the order of the documentation."""
    for name, against, sizes, other, goal in (
        ("packed step, mixed sizes", "clip after clip", MIXED, one_by_one, 0.9),
        ("packed step, mixed sizes", "padded to the largest", MIXED, padded, 1.5),
        ("packed step, equal sizes", "as one grid", ALIKE, padded, 0.9),
    ):
        yield Comparison(
            name=name,
            against=against,
            goal=goal,
            prepare=partial(ready, sizes, other),
            measure=seconds,
        )


def ready(sizes: Sequence[Size3], other: Callable[[nn.Module, Clips], Tensor]) -> Alternatives:
    """One STDiT3 and one batch. Padded without masks is work of the same kind with other results: not compared."""
    model, clips = model_of_own(), batch_of(sizes)
    same = other is one_by_one or len(set(sizes)) == 1
    return Alternatives(
        ours=partial(packed, model, clips),
        theirs=partial(other, model, clips),
        difference=(lambda: _apart(model, clips, other)) if same else None,
    )


def packed(model: nn.Module, clips: Clips) -> Tensor:
    """Loss of a step, with gradients; tokens of all clips in one list."""
    out = model(**clips.inputs, valid=clips.valid)
    error = torch.where(clips.valid[:, None], out.square(), 0).sum(dim=(1, 2, 3, 4))
    return _learnt(model, (error / clips.valid.sum(dim=(1, 2, 3)) / out.shape[1]).mean())


def one_by_one(model: nn.Module, clips: Clips) -> Tensor:
    """The same, with a forward and a backward pass for each clip."""
    losses = [_squares(model, clips.alone(clip)) / len(clips.sizes) for clip in range(len(clips.sizes))]
    return _learnt(model, torch.stack(losses).sum())


def padded(model: nn.Module, clips: Clips) -> Tensor:
    """A step on the batch as it lies, padding and all; masks, which it would need besides, are spared."""
    return _learnt(model, _squares(model, clips.inputs))


def model_of_own() -> nn.Module:
    """An STDiT3 whose gates are open, so that everything has a gradient."""
    model: Any = build("model", "STDiT3", in_channels=4, **MODEL)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=torch_generator(0, "moved", name))
    return model.train().requires_grad_(True)


def batch_of(sizes: Sequence[Size3]) -> Clips:
    """Noise as latents and captions, with zeros behind smaller clips."""
    generator, count = torch_generator(0, "clips"), len(sizes)
    largest = [max(size[axis] for size in sizes) for axis in range(3)]
    valid = torch.zeros(count, *largest, dtype=torch.bool)
    for row, size in zip(valid, sizes, strict=True):
        row[tuple(map(slice, size))] = True
    frames, height, width = torch.tensor(sizes, dtype=torch.float32).unbind(1)
    inputs = {
        "x": torch.randn(count, 4, *largest, generator=generator) * valid[:, None],
        "timestep": 1000 * torch.rand(count, generator=generator),
        "y": torch.randn(count, MODEL["model_max_length"], MODEL["caption_channels"], generator=generator),
        "mask": (torch.arange(MODEL["model_max_length"]) < 7 + 2 * torch.arange(count)[:, None]).long(),
        "drop_caption": torch.zeros(count, dtype=torch.bool),
        "fps": torch.where(frames == 1, 120.0, 24.0),
        "height": height * STRIDE,
        "width": width * STRIDE,
    }
    return Clips(sizes, inputs, valid)


def _squares(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    return model(**inputs).square().mean()


def _learnt(model: nn.Module, loss: Tensor) -> Tensor:
    model.zero_grad(set_to_none=True)
    loss.backward()
    return loss.detach()


def _apart(model: nn.Module, clips: Clips, other: Callable[[nn.Module, Clips], Tensor]) -> float:
    """The largest difference of losses and gradients, these as shares of the largest gradient."""
    losses, slopes = [], []
    for step in (packed, other):
        losses.append(step(model, clips))
        slopes.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    apart = (slopes[0] - slopes[1]).abs().max() / slopes[1].abs().max()
    return max(float((losses[0] - losses[1]).abs()), float(apart))
