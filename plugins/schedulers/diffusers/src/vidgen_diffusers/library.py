"""The library's classes: found by name, told their arguments, and every refusal of theirs in our words."""

import inspect
from collections.abc import Mapping
from contextlib import AbstractContextManager
from copy import deepcopy
from typing import Any

import diffusers
import torch
from vidgen.errors import UserError, did_you_mean

SCHEDULE = ("mu",)
"""What `set_timesteps` may be told beside the number of steps; anything else is the class's."""

ONLY: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "timestep_type": (("discrete",), "the model would be told other times than in training"),
    "invert_sigmas": ((False,), "the model would be told other times than in training"),
    "scale_factors": ((None,), "latents keep their size"),
    "variance_type": (
        ("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", None),
        "no variance is learned; the scheduler iddpm does that",
    ),
}
"""Of some arguments, the values that a vidgen model can follow, and why no others."""


class Library:
    """A class of diffusers with its arguments. scheduler: one in its first state, to be read and never stepped."""

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        """config: arguments of the class and of its `set_timesteps`. Raises: UserError, for any that it does not have
        or take."""
        made = getattr(diffusers, name)
        arguments = set(inspect.signature(made.__init__).parameters) - {"self"}
        schedule = set(inspect.signature(made.set_timesteps).parameters) & set(SCHEDULE)
        _check(name, config, arguments | schedule)
        silent = {"clip_sample": False} if "clip_sample" in arguments else {}
        self.name, self._config = name, silent | dict(config)
        self._schedule = {key: value for key, value in config.items() if key not in arguments}
        try:
            with on_cpu():
                self.scheduler = made(**{key: self._config[key] for key in self._config if key in arguments})
        except Exception as error:  # of whatever kind: the library checks its arguments as it comes to them
            raise self.refusal("", error) from error

    def begin(self, steps: int, device: torch.device) -> Any:
        """A scheduler of its own for one run, its timesteps set, on the device. Raises: UserError."""
        scheduler = deepcopy(self.scheduler)
        try:
            scheduler.set_timesteps(steps, device=device, **self._schedule)
            if hasattr(scheduler, "set_begin_index"):
                scheduler.set_begin_index(0)  # else it looks for its first timestep, and takes the second of equal ones
        except Exception as error:
            raise self.refusal(f"{steps} sampling steps with ", error) from error
        return scheduler

    def refusal(self, what: str, error: Exception) -> UserError:
        """What the library said, as a mistake of the user's."""
        words = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        return UserError(
            f"{self.name} does not take {what}config: {self._config}. It says: {words}. Change config or "
            "num_sampling_steps accordingly."
        )


def on_cpu() -> AbstractContextManager[Any]:
    """Where the library makes its tables, which it reads with numpy: a dry run builds under meta."""
    return torch.device("cpu")


def _check(name: str, config: Mapping[str, Any], known: set[str]) -> None:
    for key, value in config.items():
        if key not in known:
            near = [hint for hint in did_you_mean(key, known) if hint.startswith("did")]
            raise UserError(" ".join([f"config: {name} has no {key!r};", *near, f"it has {', '.join(sorted(known))}."]))
        values, reason = ONLY.get(key, ((value,), ""))
        if value not in values:
            accepted = ", ".join(map(str, values))
            raise UserError(f"config: {name} takes {key}: {value} only as {accepted} here: {reason}. Leave it out.")
