"""The network of weights, with them in it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from vidgen import build
from vidgen.errors import RecipeError


def built(kind: str, name: str, *, guessed: Mapping[str, Any], given: Mapping[str, Any]) -> nn.Module:
    """Build a component on the CPU. guessed: options that it need not have; given: those that count before them.

    Raises: RecipeError, when it is not installed or has none of the given options; UserError, when weights do not fit.
    """
    options = {key: value for key, value in guessed.items() if key not in given and value is not None}
    with torch.device("cpu"):
        try:
            return build(kind, name, **options, **given).eval()
        except RecipeError as error:
            unknown = {problem.path[0] for problem in error.problems if problem.at_key and len(problem.path) == 1}
            fitting = {key: value for key, value in options.items() if key not in unknown}
            if fitting == options:
                raise
        return build(kind, name, **fitting, **given).eval()
