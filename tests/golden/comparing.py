"""How made and recorded numbers are compared."""

import torch
from torch import Tensor


def close(name: str, made: Tensor, wanted: Tensor, tolerance: float) -> None:
    """Same shape, same kind of number, largest difference at most `tolerance`. Raises: AssertionError, naming both."""
    assert made.shape == wanted.shape, f"{name}: shape {tuple(made.shape)}, wanted {tuple(wanted.shape)}"
    assert made.dtype == wanted.dtype, f"{name}: {made.dtype}, wanted {wanted.dtype}"
    difference = (made.detach().double() - wanted.double()).abs()
    worst = difference.max().item() if difference.numel() else 0.0
    assert worst <= tolerance, f"{name}: largest difference {worst:.3g}, allowed {tolerance:.3g}"  # nan fails too


def close_gradient(name: str, made: Tensor | None, wanted: Tensor, fraction: float) -> None:
    """As `close`, allowing `fraction` of the largest recorded entry. Raises: AssertionError."""
    assert made is not None, f"{name}: no gradient"
    close(name, made, wanted, fraction * wanted.abs().max().item())


def outputs(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a case expects, by name without `out.`. Raises: AssertionError, when it expects nothing."""
    wanted = {name.removeprefix("out."): value for name, value in tensors.items() if name.startswith("out.")}
    assert wanted, "the case expects nothing"
    return wanted


def inputs(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a case hands in, by name without `in.`."""
    return {name.removeprefix("in."): torch.clone(v) for name, v in tensors.items() if name.startswith("in.")}
