"""Keys that every scheduler has, each with its own default."""

from typing import Any

from attrs.validators import ge
from vidgen.component import option
from vidgen.guidance.options import FINITE


def cfg_scale(default: float) -> Any:
    """The field `cfg_scale`."""
    return option(default, "Guidance scale when the job names none; 1 is no guidance.", validator=FINITE)


def num_sampling_steps(default: int) -> Any:
    """The field `num_sampling_steps`."""
    return option(default, "Steps of the sampler, 1 or more.", validator=ge(1))
