"""What a model is made of: parameters of each part, and the arithmetic it takes per token. Nothing is loaded or run.

Letters: B clips (1 here), C latent channels, T H W latent frames/rows/columns, N caption tokens.
"""

from collections.abc import Iterator, Mapping, Sequence
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

Place = tuple[str, nn.Module]
"""A module and where it stands."""


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
        parts=tuple(_parts([(root, model)], flops)),
        parameters=_size(model),
        flops=flops.get(root, 0.0),
        latent_size=LATENT_SIZE,
        tokens=tokens,
    )


def _conditioning(model: Any) -> dict[str, Tensor]:
    """Of clips without given frames (no `x_mask`; no `masked_video`, `video_mask`), captions as they are."""
    width = model.text_width
    caption = torch.empty(1, CAPTION_TOKENS, width) if width else torch.empty(1, dtype=torch.int64)
    numbers = {key: torch.empty(1) for key in ("fps", "height", "width", "num_frames", "ar")}
    known = {"y": caption, "mask": torch.empty(1, CAPTION_TOKENS), **numbers}
    return {key: value for key, value in known.items() if key in model.conditioning}


def _parts(alike: Sequence[Place], flops: Mapping[str, float], depth: int = 0) -> Iterator[Part]:
    """Children of modules that are alike, each summed over all of them; those of a list of like modules follow it."""
    for name in dict.fromkeys(name for _, module in alike for name, _ in module.named_children()):
        children = [(f"{path}.{name}", module.get_submodule(name)) for path, module in alike if hasattr(module, name)]
        listed = [place for place in children if isinstance(place[1], nn.ModuleList)]
        inside = [(f"{path}.{key}", one) for path, child in listed for key, one in child.named_children()]
        of_one_type = len({type(one) for _, one in inside}) == 1
        size = sum(_size(child) for _, child in children)
        operations = sum(flops.get(path, 0.0) for path, _ in (inside if of_one_type else children))
        if size or operations:
            count = len(inside) // len(listed) if of_one_type else 1
            yield Part(name=name, depth=depth, count=count, parameters=size, flops=operations)
        if of_one_type:
            yield from _parts(inside, flops, depth + 1)
    own = sum(value.numel() for _, module in alike for value in module.parameters(recurse=False))
    if own:
        yield Part(name="tables", depth=depth, count=1, parameters=own, flops=0.0)


def _size(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())
