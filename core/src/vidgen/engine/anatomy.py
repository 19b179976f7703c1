"""What a model is made of: parameters of each part, and the arithmetic it takes per token. Nothing is loaded or run.

Letters: B clips (1 here), C latent channels, T H W latent frames/rows/columns, N caption tokens.
"""

from collections.abc import Iterator
from math import prod
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vidgen.attention import Explicit, use_backend
from vidgen.component import Selection
from vidgen.engine.parts import token_grid
from vidgen.interfaces import Components, Context, Size3

LATENT_SIZE: Size3 = (16, 32, 32)  # 16 frames of 256x256 behind an image autoencoder of stride 8
CAPTION_TOKENS = 120


@frozen(kw_only=True)
class Part:
    """One line of the table. depth: how far inside; count: how many alike; flops: of all of them, per token."""

    name: str
    depth: int
    count: int
    parameters: int
    flops: float


@frozen(kw_only=True)
class Anatomy:
    """The parts in order, the totals, and the size of input that `flops` (per token, forward) are for."""

    parts: tuple[Part, ...]
    parameters: int
    flops: float
    latent_size: Size3
    tokens: int


def dissect(registry: Components, selection: Selection) -> Anatomy:
    """Build a model on the meta device and count. One multiplication and one addition are two operations.

    Raises: UserError, when its options contradict each other.
    """
    with torch.device("meta"):
        model = registry.build(selection, Context(latent_size=LATENT_SIZE, load_weights=False))
        use_backend(model, Explicit())  # whose products are counted; fused kernels do the same arithmetic
        counter = FlopCounterMode(display=False)
        x = torch.empty(1, model.latent_channels, *LATENT_SIZE)
        with counter, torch.no_grad():
            model.eval()(x, torch.empty(1), **_conditioning(model))
    tokens = prod(token_grid(LATENT_SIZE, model.patch_size))
    flops = {name: sum(ops.values()) / tokens for name, ops in counter.get_flop_counts().items()}
    root = type(model).__name__
    return Anatomy(
        parts=tuple(_parts(model, root, flops)),
        parameters=_size(model),
        flops=flops.get(root, 0.0),
        latent_size=LATENT_SIZE,
        tokens=tokens,
    )


def _conditioning(model: Any) -> dict[str, Tensor]:
    width, frames = model.text_width, token_grid(LATENT_SIZE, model.patch_size)[0]
    caption = torch.empty(1, CAPTION_TOKENS, width) if width else torch.empty(1, dtype=torch.int64)
    known = {"y": caption, "mask": torch.empty(1, CAPTION_TOKENS), "x_mask": torch.empty(1, frames, dtype=torch.bool)}
    numbers = {key: torch.empty(1) for key in ("fps", "height", "width", "num_frames", "ar")}
    wanted = model.conditioning - {"x_mask", "drop_caption"}  # clips without given frames, captions as they are
    return {key: value for key, value in {**known, **numbers}.items() if key in wanted}


def _parts(module: nn.Module, path: str, flops: dict[str, float], depth: int = 0, many: int = 1) -> Iterator[Part]:
    """Children of `module`; of a list of like children, the first stands for all, and its own children follow.

    many: how many modules like this one there are.
    """
    for name, child in module.named_children():
        inside = list(child.children()) if isinstance(child, nn.ModuleList) else []
        alike = len({type(one) for one in inside}) == 1
        size, operations = _size(child) * many, flops.get(f"{path}.{name}", 0.0) * many
        if alike:
            operations = sum(flops.get(f"{path}.{name}.{i}", 0.0) for i in range(len(inside))) * many
        if size or operations:
            count = len(inside) if alike else 1
            yield Part(name=name, depth=depth, count=count, parameters=size, flops=operations)
        if alike:
            yield from _parts(inside[0], f"{path}.{name}.0", flops, depth + 1, many * len(inside))
    own = sum(value.numel() for value in module.parameters(recurse=False)) * many
    if own:
        yield Part(name="tables", depth=depth, count=1, parameters=own, flops=0.0)


def _size(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())
