"""Conditioning that clips of any size need, checked where it enters: numbers of the clip, captions packed beforehand.

Letters: B clips, C latent channels, D width, M tokens of all captions.
"""

import torch
from torch import Tensor
from vidgen import UserError
from vidgen_layers import captions, checks
from vidgen_layers.captions import Text
from vidgen_layers.checks import Size3
from vidgen_layers.patches import token_grid

from vidgen_stdit import CommonOptions


def check_options(options: CommonOptions, *, multiple: int) -> None:
    """Raises: UserError, when the width is no multiple of `multiple` or of the heads, heads have an odd width, or
    patches are empty."""
    checks.check_width(options.hidden_size, options.num_heads, multiple=multiple)
    if options.hidden_size // options.num_heads % 2:
        raise UserError(
            f"the model's hidden_size is {options.hidden_size} and its num_heads {options.num_heads}: heads of width "
            f"{options.hidden_size // options.num_heads}, which has to be even (for the rotary positions)"
        )
    if min(options.patch_size) < 1:
        raise UserError(f"the model's patch_size is {list(options.patch_size)}; every number has to be 1 or more")


def checked_grid(x: Tensor, timestep: Tensor, x_mask: Tensor | None, *, channels: int, patch: Size3) -> Size3:
    """Patches along time, rows and columns of latents of any size. Raises: UserError, when shapes do not fit."""
    frames, rows, columns = x.shape[2:] if x.ndim == 5 else (0, 0, 0)
    checks.check_latents(x, timestep, channels=channels, size=(frames, rows, columns))
    if not x.numel():
        raise UserError(f"the model got latents of shape {tuple(x.shape)}; it takes 1 or more of everything")
    grid = token_grid((frames, rows, columns), patch)
    if x_mask is not None:
        checks.check_shape(x_mask, (len(x), grid[0]), name="x_mask")
    return grid


def checked(numbers: Tensor | None, *, name: str, clips: int) -> Tensor:
    """numbers: (b,), b divides `clips`. Raises: UserError, when they are missing or of another shape."""
    if numbers is None:
        raise UserError(f"the model got no {name}; it takes one number for each of the {clips} clips")
    if numbers.ndim != 1 or not len(numbers) or clips % len(numbers):
        raise UserError(
            f"the model got {name} of shape {tuple(numbers.shape)}; it takes ({clips},), or fewer that divide {clips}"
        )
    return numbers


def packed_text(y: Tensor | None, lengths: Tensor | list[int] | None, *, clips: int, width: int) -> Text:
    """Captions that were projected before. y: (1, M, D), one behind the other. lengths: (B,), of each clip's.

    Raises: UserError, when shapes do not fit, or when lengths that lie on the CPU do not add up.
    """
    if y is None or lengths is None or y.ndim != 3 or len(y) != 1 or y.shape[2] != width or _count(lengths) != clips:
        raise UserError(
            f"the model got captions of shape {None if y is None else tuple(y.shape)} and lengths of shape "
            f"{None if lengths is None else tuple(torch.as_tensor(lengths).shape)} for {clips} clips; with "
            f"skip_y_embedder it takes y of shape (1, tokens of all captions, {width}) and, as mask, {clips} lengths"
        )
    known = lengths.tolist() if isinstance(lengths, Tensor) and lengths.device.type == "cpu" else lengths
    if isinstance(known, list) and (sum(known) != y.shape[1] or min(known) < 1):
        raise UserError(
            f"the model got captions of lengths {known}, packed into {y.shape[1]} tokens; lengths have to be 1 or more "
            f"and add up to {y.shape[1]}"
        )
    return captions.text(*captions.unpacked(y, lengths), clips)


def _count(lengths: Tensor | list[int]) -> int | None:
    return len(lengths) if isinstance(lengths, list) or lengths.ndim == 1 else None
