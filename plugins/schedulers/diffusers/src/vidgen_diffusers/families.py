"""What classes differ in, as data: how they are spoken to, their levels of noise, and what models learn of them.

Letters: B samples, C channels, T H W latent frames/rows/columns, E predictions.
"""

from collections.abc import Callable
from typing import Any

from attrs import frozen
from torch import Tensor
from vidgen_diffusion.prediction import Level

from vidgen_diffusers import DiffusersOptions
from vidgen_diffusers.levels import Levels

Target = Callable[[Tensor, Tensor, Level, Level], Tensor]


def _noise_of_scheduler(scheduler: Any) -> float | Tensor:
    return scheduler.init_noise_sigma


def _timestep_for_all(t: Tensor, batch: int) -> Tensor:
    return t


@frozen(kw_only=True)
class Family:
    """prediction_type: see `vidgen.interfaces.Scheduler`. levels: of a scheduler whose timesteps are set. losses: what
    training minimises; called as `training_losses` without sizes. target: what a model should say when it is shown
    alpha x + sigma noise, of x, noise, alpha and sigma. options: those that play a role, out of those that not all
    families have.

    scales: whether the scheduler's states are scaled for the model. sign: between the model's prediction and the
    library's. spare: steps that the library counts and does not take. first: what standard normal noise is multiplied
    with to begin. asked: a timestep as `step` takes it, for B samples.
    """

    prediction_type: str
    levels: Callable[[Any], Levels]
    losses: Callable[..., dict[str, Tensor]]
    target: Target
    options: frozenset[str] = frozenset()
    scales: bool = False
    sign: int = 1
    spare: int = 0
    first: Callable[[Any], float | Tensor] = _noise_of_scheduler
    asked: Callable[[Tensor, int], Tensor] = _timestep_for_all


Maker = Callable[[str, Any, DiffusersOptions], Family]
"""Of a class's name, one scheduler of it and the options. Raises: UserError, where they do not go together."""
