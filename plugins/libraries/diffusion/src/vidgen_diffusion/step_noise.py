"""The noise of a sampler's random steps, drawn while the step before is worked out."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from torch import Tensor
from vidgen.rng import Draws


class StepNoise:
    """Addressed noise depends on nothing but its address, so that another thread can draw it ahead of time.

    x: latents (B, C, T, H, W), whose shape, dtype and device the noise has. steps: the random ones, in the order in
    which they are taken; each is drawn at the address (purpose `step`, step=i).
    """

    def __init__(self, draws: Draws, x: Tensor, steps: Sequence[int]) -> None:
        self._draws, self._shape, self._device, self._dtype = draws, x.shape[1:], x.device, x.dtype
        self._left = iter(steps)
        self._thread = ThreadPoolExecutor(1)
        self._ahead: tuple[int, Future[Tensor]] | None = None
        self._begin_next()

    def __call__(self, i: int) -> Tensor:
        """The noise of step i, drawn already if the steps come in their order."""
        if self._ahead is None or self._ahead[0] != i:
            return self._draw(i)
        noise = self._ahead[1].result()
        self._begin_next()
        return noise

    def _begin_next(self) -> None:
        step = next(self._left, None)
        if step is None:
            self._ahead = None
            self._thread.shutdown(wait=False)
        else:
            self._ahead = step, self._thread.submit(self._draw, step)

    def _draw(self, i: int) -> Tensor:
        return self._draws.normal("step", self._shape, device=self._device, step=i).to(self._dtype)
