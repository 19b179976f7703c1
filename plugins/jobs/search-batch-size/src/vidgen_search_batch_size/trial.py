"""One trial: seconds of a training step at a batch size, or that it does not fit."""

import time
from collections.abc import Callable

import torch
from attrs import evolve
from vidgen.engine.batch import Batch
from vidgen.engine.train import Training
from vidgen.errors import RunError, UserError
from vidgen.interfaces import Context, Size3
from vidgen.mesh import World

from vidgen_search_batch_size.memory import Budget, free, ran_out
from vidgen_search_batch_size.recipe import SearchRecipe
from vidgen_search_batch_size.synthetic import Batches, no_dataset

STILL = 1e-12
"""A learning rate at which weights stay sound, however many steps are made with clips that mean nothing."""


class Stopped(Exception):
    """The person at the terminal wants no more."""


class Trials:
    """Steps of the recipe's own training, on clips that are made up."""

    def __init__(self, recipe: SearchRecipe, context: Context) -> None:
        self._options = recipe.search
        self._accumulated = recipe.accumulation_steps
        self.training = _training(recipe, context)
        _check_alone(self.training.world)
        kept = recipe.features is not None and recipe.features.mode == "read"
        self._batches = Batches(self.training.parts, seed=recipe.seed, kept=kept)
        self._device = self.training.parts.device
        self.budget = Budget(self._device, recipe.search.memory_limit_mb)

    def step_time(self, size: Size3, batch_size: int, stopped: Callable[[], bool]) -> float | None:
        """Mean seconds of a step with `batch_size` clips of `size`; None where they do not fit in memory.

        Gradients and memory are as before afterwards. Raises: Stopped, when `stopped` says so.
        """
        try:
            with self.budget.net():
                return self._seconds(size, batch_size, stopped)
        except Exception as error:
            if not ran_out(error):
                raise
        finally:
            self.training.optimizer.zero_grad(set_to_none=True)
        free(self._device)  # not before the error is gone, which holds on to all that was there when it was raised
        return None

    def _seconds(self, size: Size3, batch_size: int, stopped: Callable[[], bool]) -> float:
        with self.budget.counted():
            batches = [self._batches.make(size, batch_size)] * self._accumulated
            self._steps(batches, 1, stopped)
        self._steps(batches, self._options.warm_up_steps - 1, stopped)
        begun = time.perf_counter()
        self._steps(batches, self._options.steps, stopped)
        return (time.perf_counter() - begun) / self._options.steps

    def _steps(self, batches: list[Batch], count: int, stopped: Callable[[], bool]) -> None:
        for _ in range(count):
            if stopped():
                raise Stopped
            self.training.train_step(batches)
        if self._device.type != "cpu":
            torch.accelerator.synchronize()


def _training(recipe: SearchRecipe, context: Context) -> Training:
    """Raises: RunError, when not even the model has room."""
    try:
        training = Training(_trained(recipe), context, None)
        training.model.train()
        _fill_optimizer(training.optimizer)
    except Exception as error:
        if not ran_out(error):
            raise
        raise RunError(
            "search: the model, its optimizer and the encoders do not fit in memory, even without a clip. Take smaller "
            "ones, or an engine that shards them, or set ema: null."
        ) from error
    return training


def _trained(recipe: SearchRecipe) -> SearchRecipe:
    """The recipe as it is measured: with nothing read from disk, and weights that stay where they are."""
    return evolve(
        recipe,
        dataset=no_dataset(),
        features=None,
        resume=None,
        sample=None,
        max_steps=recipe.max_steps or 1,  # else the data would be asked how many steps an epoch has
        max_loss_ratio=None,
        optimizer=evolve(recipe.optimizer, lr=STILL, min_lr=0.0),
    )


def _fill_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Let it take its own memory now, with a step that changes nothing: no trial begins with more than another."""
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    decays = [group["weight_decay"] for group in optimizer.param_groups]
    for one in parameters:
        one.grad = torch.zeros_like(one)
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for group, decay in zip(optimizer.param_groups, decays, strict=True):
        group["weight_decay"] = decay


def _check_alone(world: World) -> None:
    """Ranks that time steps on their own would go different ways, and wait for each other for ever."""
    if world.size > 1:
        raise UserError(
            f"job: batch sizes are those of one rank, and searched on one: this is 1 of {world.size} processes. Start "
            "a single one; for resolutions side by side, one for each with search.resolution."
        )
