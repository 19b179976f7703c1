"""Sizes that have to agree: options with the rest of the recipe, tensors with the model.

Letters: B clips, C latent channels, T H W latent frames/rows/columns, N caption tokens, D caption width.
"""

from typing import TypeVar

from torch import Tensor
from vidgen import UserError

Size3 = tuple[int, int, int]
Value = TypeVar("Value", int, Size3)


def settled(option: str, given: Value | None, known: Value | None, source: str, default: Value) -> Value:
    """The value of an option that another component may fix: `given` in the recipe, `known` from `source`, or else
    the default. Raises: UserError, when the recipe contradicts the source."""
    if given is not None and known is not None and tuple_or_int(given) != tuple_or_int(known):
        raise UserError(
            f"the model's {option} is {given}, but {source} gives {known}; leave {option} out, or make them agree"
        )
    return given if given is not None else known if known is not None else default


def tuple_or_int(value: Value) -> Value:
    """A size as a tuple, so that lists compare alike."""
    return value if isinstance(value, int) else tuple(value)


def check_width(hidden_size: int, num_heads: int, multiple: int) -> None:
    """Raises: UserError, when the width is no multiple of `multiple` and of the number of heads."""
    if hidden_size % multiple or hidden_size % num_heads:
        raise UserError(
            f"the model's hidden_size is {hidden_size}; it has to be a multiple of {multiple} (position tables) and of "
            f"num_heads, {num_heads}"
        )


def check_divisible(input_size: Size3, patch_size: Size3) -> None:
    """Raises: UserError, when clips do not divide into patches."""
    pairs = list(zip(input_size, patch_size, strict=True))
    if any(size < patch or size % patch for size, patch in pairs):
        nearest = [max(round(size / patch), 1) * patch for size, patch in pairs]
        raise UserError(
            f"the model's input_size is {list(input_size)} (latent frames, rows, columns), which does not divide into "
            f"patches of {list(patch_size)}; {nearest} would"
        )


def check_latents(x: Tensor, channels: int, size: Size3) -> None:
    """x has to be (B, channels, *size). Raises: UserError."""
    if x.ndim != 5 or x.shape[1] != channels:
        raise UserError(
            f"the model got latents of shape {tuple(x.shape)}; it takes (clips, {channels}, frames, rows, columns)"
        )
    if tuple(x.shape[2:]) != size:
        raise UserError(
            f"the model got latents of {list(x.shape[2:])} frames, rows, columns; its position tables are for {list(size)}. "
            "Use that size, or set input_size"
        )


def check_caption(y: Tensor, mask: Tensor | None, clips: int, width: int) -> None:
    """y has to be (clips, N, width), mask (clips / k, N). Raises: UserError."""
    if y.ndim != 3 or y.shape[0] != clips or y.shape[2] != width:
        raise UserError(
            f"the model got captions of shape {tuple(y.shape)} for {clips} clips; it takes ({clips}, tokens, {width})"
        )
    if mask is not None and (mask.ndim != 2 or mask.shape[1] != y.shape[1] or clips % mask.shape[0]):
        raise UserError(
            f"the model got a caption mask of shape {tuple(mask.shape)} for captions of shape {tuple(y.shape)}; it takes "
            f"({clips}, {y.shape[1]}), or fewer rows that divide {clips}"
        )


def check_null_caption(tokens: int, length: int) -> None:
    """Raises: UserError, when a caption is longer than the null caption that is to replace it."""
    if tokens > length:
        raise UserError(
            f"the captions have {tokens} tokens, the model's null caption has {length}; use captions of at most {length} "
            "tokens, or set model_max_length"
        )


def check_per_clip(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    """Raises: UserError, when a tensor has not the shape it must have."""
    if tuple(value.shape) != shape:
        raise UserError(f"the model got {name} of shape {tuple(value.shape)}; it takes {shape}")
