"""Sizes that have to agree: options with the rest of the recipe, tensors with the model.

Letters: B clips, C latent channels, T H W latent frames/rows/columns, N caption tokens.
"""

from math import lcm
from typing import Protocol, TypeVar

from attrs import frozen
from torch import Tensor
from vidgen import UserError
from vidgen.interfaces import Context

Size3 = tuple[int, int, int]
Value = TypeVar("Value", int, Size3)


class _Options(Protocol):
    @property
    def in_channels(self) -> int | None: ...
    @property
    def caption_channels(self) -> int | None: ...
    @property
    def model_max_length(self) -> int | None: ...


@frozen(kw_only=True)
class Widths:
    """Numbers that the autoencoder and the text encoder decide, where there are any.

    latents: channels of x. caption: width of the caption features. caption_length: tokens of the null caption.
    """

    latents: int
    caption: int
    caption_length: int


def settled_widths(options: _Options, context: Context, *, caption_length: int) -> Widths:
    """The widths from options and context; 4 latent channels, 4096 caption channels and `caption_length` tokens where
    both are silent. Raises: UserError, when they contradict each other."""
    vae, text = "the autoencoder", "the text encoder"
    return Widths(
        latents=settled(options.in_channels, context.latent_channels, 4, key="in_channels", source=vae),
        caption=settled(options.caption_channels, context.text_width, 4096, key="caption_channels", source=text),
        caption_length=settled(
            options.model_max_length, context.text_length, caption_length, key="model_max_length", source=text
        ),
    )


def settled(given: Value | None, known: Value | None, default: Value, *, key: str, source: str) -> Value:
    """The value of the option `key`: `given` in the recipe, `known` from `source`, or else the default.

    Raises: UserError, when the recipe contradicts the source.
    """
    if given is not None and known is not None and given != known:
        raise UserError(
            f"the model's {key} is {_text(given)}, but {source} gives {_text(known)}; leave {key} out, or make them "
            "agree"
        )
    return given if given is not None else known if known is not None else default


def check_width(hidden_size: int, num_heads: int, *, multiple: int) -> None:
    """Raises: UserError, when the width is no multiple of `multiple` and of the number of heads."""
    step = lcm(multiple, num_heads)
    if hidden_size % step:
        below = hidden_size // step * step
        near = f"{below} or {below + step}" if below else f"{step}"
        raise UserError(
            f"the model's hidden_size is {hidden_size}; it has to be a multiple of {multiple} (for the position "
            f"tables) and of num_heads, {num_heads}, such as {near}"
        )


def check_divisible(input_size: Size3, patch_size: Size3) -> None:
    """Raises: UserError, when clips do not divide into patches."""
    if min(patch_size) < 1 or min(input_size) < 1:
        raise UserError(
            f"the model's input_size is {_text(input_size)} and its patch_size {_text(patch_size)}; every number has "
            "to be 1 or more"
        )
    if any(size % patch for size, patch in zip(input_size, patch_size, strict=True)):
        nearest = [max(round(size / patch), 1) * patch for size, patch in zip(input_size, patch_size, strict=True)]
        raise UserError(
            f"the model's input_size is {_text(input_size)} (latent frames, rows, columns), which does not divide into "
            f"patches of {_text(patch_size)}; {nearest} would"
        )


def check_latents(x: Tensor, timestep: Tensor, *, channels: int, size: Size3) -> None:
    """x has to be (B, channels, *size), timestep (B,). Raises: UserError."""
    if x.ndim != 5 or x.shape[1] != channels:
        raise UserError(
            f"the model got latents of shape {tuple(x.shape)}; it takes (clips, {channels}, frames, rows, columns)"
        )
    if tuple(x.shape[2:]) != size:
        raise UserError(
            f"the model got latents of {list(x.shape[2:])} frames, rows, columns; its position tables are for "
            f"{_text(size)}. Use that size, or set input_size"
        )
    check_shape(timestep, (x.shape[0],), name="timestep")


def check_caption(y: Tensor, mask: Tensor | None, *, clips: int, width: int) -> None:
    """y has to be (clips, N, width), mask (clips / k, N). Raises: UserError."""
    if y.ndim != 3 or y.shape[0] != clips or y.shape[2] != width:
        raise UserError(
            f"the model got captions of shape {tuple(y.shape)} for {clips} clips; it takes ({clips}, tokens, {width})"
        )
    if mask is not None and (mask.ndim != 2 or mask.shape[1] != y.shape[1] or clips % mask.shape[0]):
        raise UserError(
            f"the model got a caption mask of shape {tuple(mask.shape)} for captions of shape {tuple(y.shape)}; it "
            f"takes ({clips}, {y.shape[1]}), or fewer rows that divide {clips}"
        )


def check_null_caption(tokens: int, length: int) -> None:
    """Raises: UserError, when a caption is longer than the null caption that is to replace it."""
    if tokens > length:
        raise UserError(
            f"the captions have {tokens} tokens, the model's null caption has {length}; use captions of at most "
            f"{length} tokens, or set model_max_length"
        )


def check_shape(value: Tensor, shape: tuple[int, ...], *, name: str) -> None:
    """Raises: UserError, when a tensor has not the shape it must have."""
    if tuple(value.shape) != shape:
        raise UserError(f"the model got {name} of shape {tuple(value.shape)}; it takes {shape}")


def _text(value: int | Size3) -> str:
    return str(value) if isinstance(value, int) else str(list(value))
