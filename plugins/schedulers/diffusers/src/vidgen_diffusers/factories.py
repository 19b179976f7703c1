"""A factory for each class, named as the class: what components of one options class are told apart by."""

from collections.abc import Callable
from functools import partial

from vidgen.interfaces import Context

from vidgen_diffusers import NAMES, DiffusersOptions
from vidgen_diffusers.scheduler import DiffusersScheduler, build


def __getattr__(name: str) -> Callable[[DiffusersOptions, Context], DiffusersScheduler]:
    if name not in NAMES:
        raise AttributeError(f"no scheduler of diffusers that is offered: {name}")
    return partial(build, name)
