"""ColossalAI itself: whether it is there, in a version that this was written for, and its three names that are used.

It cannot be a requirement of this distribution, since its own exclude today's torch; it is looked for when a run needs
it. constraints.txt beside pyproject.toml holds the same versions.
"""

import warnings
from collections.abc import Mapping
from importlib import import_module, metadata
from typing import Any

from attrs import frozen
from vidgen.errors import RunError, UserError

TESTED = {
    "colossalai": "0.5.0",
    "peft": "0.21.2",
    "accelerate": "1.15.0",
    "galore-torch": "1.0",
    "bitsandbytes": "0.48.2",
}
SERIES = "0.5."
INSTALL = "pip install --no-deps " + " ".join(f"{name}=={version}" for name, version in TESTED.items())


@frozen
class Library:
    """ColossalAI's classes: its front, its ZeRO plugin, its optimizer."""

    booster: Any
    zero: Any
    hybrid_adam: Any


def load() -> Library:
    """Raises: UserError, when it or what it imports is not installed, or it is of another series; RunError, when it
    cannot be imported."""
    check({name: _version(name) for name in TESTED})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own imports
            booster, plugins = import_module("colossalai.booster"), import_module("colossalai.booster.plugin")
            optimizers = import_module("colossalai.nn.optimizer")
    except ImportError as error:
        raise RunError(
            f"parallel.type: ColossalAI is installed but cannot be imported: {error}. The set that was tried: {INSTALL}"
        ) from error
    return Library(booster.Booster, plugins.LowLevelZeroPlugin, optimizers.HybridAdam)


def check(found: Mapping[str, str | None]) -> None:
    """found: the version of everything that is wanted, None where it is missing. Raises: UserError."""
    missing = [name for name, version in found.items() if version is None]
    if missing:
        raise UserError(
            f"parallel.type: ColossalAI is not ready here: {', '.join(missing)} missing. It does not install itself "
            "beside today's torch, but works: run plugins/parallel/colossalai/install.sh of vidgen's repository, or "
            f"{INSTALL}. parallel.type=zero2 does the same and needs none of it."
        )
    version = str(found["colossalai"])
    if not version.startswith(SERIES):
        raise UserError(
            f"parallel.type: ColossalAI {version} is installed; these engines are written for {SERIES}x. Use {INSTALL}"
        )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
