"""The sizes in which DiT was published, and models after it. Imports no torch."""

from collections.abc import Iterator

from vidgen import Component
from vidgen.component import preset

SIZES = {"XL": (28, 1152, 16), "L": (24, 1024, 16), "B": (12, 768, 12), "S": (12, 384, 6)}
"""Depth, width and heads. Source: arXiv 2212.09748, table 1."""
PATCHES = {"2": (1, 2, 2), "4": (1, 4, 4), "8": (1, 8, 8)}
IN_TIME = {"2x2": (2, 2, 2)}


def published_sizes(name: str, options: type, factory: str) -> Iterator[Component]:
    """`name-XL/2` to `name-S/8`, and `name-XL/2x2` with patches of two frames."""
    for size, (depth, width, heads) in SIZES.items():
        for patch, patch_size in (PATCHES | IN_TIME if size == "XL" else PATCHES).items():
            shape = {"depth": depth, "hidden_size": width, "num_heads": heads, "patch_size": patch_size}
            yield Component(
                name=f"{name}-{size}/{patch}",
                summary=f"{name} with {depth} blocks of width {width}, {list(patch_size)} latents (T, H, W) per token.",
                options=preset(options, f"{name}{size}{patch}Options", **shape),
                factory=factory,
            )
