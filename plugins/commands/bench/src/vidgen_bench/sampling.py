"""What samplers are given to be measured: a model that costs nothing or is quick to compute, noise, conditioning."""

from collections.abc import Callable, Sequence

import torch
from attrs import evolve, frozen
from torch import Tensor
from vidgen import build
from vidgen.rng import Draws

from vidgen_bench.counting import Model

SHAPE = (1, 4, 16, 32, 32)
SCALE = 4.0


@frozen(kw_only=True)
class Given:
    """model: (2 B, C, T, H, W) -> (2 B, 2 C, ...). z: (B, C, T, H, W). y, null_y: (B, N, width), y of the conditional
    half. scale: of guidance. generator: of fresh noise, drawn in turn; None: as each sampler draws otherwise."""

    model: Model
    z: Tensor
    y: Tensor
    null_y: Tensor
    scale: float = SCALE
    generator: torch.Generator | None = None


Sampling = Callable[[Given], Tensor]


class Idle:
    """A model that does nothing: prepared numbers for both halves of the guidance."""

    def __init__(self, shape: Sequence[int]) -> None:
        batch, channels, *rest = shape
        self._out = torch.randn(2 * batch, 2 * channels, *rest, generator=torch.Generator().manual_seed(2))

    def __call__(self, x: Tensor, t: Tensor, *, y: Tensor) -> Tensor:
        """x: (2 B, C, T, H, W). Returns (2 B, 2 C, T, H, W)."""
        return self._out


def quick(x: Tensor, t: Tensor, *, y: Tensor) -> Tensor:
    """A model whose results tell samplers apart. Returns (2 B, 2 C, T, H, W)."""
    level = (t / 1000).to(x.dtype).view(-1, 1, 1, 1, 1)
    caption = y.mean(dim=(1, 2)).view(-1, 1, 1, 1, 1)
    return torch.cat([level.sqrt() * x + 0.05 * (3 * x).sin() + 0.2 * caption, torch.tanh(0.5 * x + caption)], dim=1)


def opposite(x: Tensor, t: Tensor, *, y: Tensor) -> Tensor:
    """`quick`, for samplers that take the velocity the other way."""
    return -quick(x, t, y=y)


def idle() -> Given:
    """For timing."""
    generator = torch.Generator().manual_seed(1)
    y = torch.randn(SHAPE[0], 1, 8, generator=generator)
    z = torch.randn(SHAPE, generator=generator)
    return Given(model=Idle(SHAPE), z=z, y=y, null_y=torch.zeros_like(y))


def working(model: Model = quick) -> Given:
    """For comparing results: the same noise for every sampler that is given this."""
    return evolve(idle(), model=model, generator=torch.Generator().manual_seed(3))


class InTurn(Draws):
    """Draws one after the other from a generator, as samplers draw that know no addresses."""

    def __init__(self, generator: torch.Generator, batch: int) -> None:
        super().__init__(0, [(i,) for i in range(batch)])
        self._generator = generator

    def normal(
        self, purpose: str, shape: Sequence[int], *, device: torch.device | str = "cpu", step: int = 0
    ) -> Tensor:
        """The next ones, (B, *shape)."""
        return torch.randn(len(self), *shape, generator=self._generator).to(device)


def ours(scheduler: str, steps: int) -> Sampling:
    """vidgen's, by name."""
    built = build("scheduler", scheduler, num_sampling_steps=steps)

    def sample(given: Given) -> Tensor:
        batch = len(given.z)
        draws = InTurn(given.generator, batch) if given.generator else Draws(0, [(i,) for i in range(batch)])
        return built.sample(given.model, given.z, {"y": given.y}, {"y": given.null_y}, given.scale, draws=draws)

    return sample
