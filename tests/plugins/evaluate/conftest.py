"""Folders of tiny clips, and runs over them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import vidgen
from torch import Tensor
from vidgen.engine import media


def noise(seed: int, *size: int) -> Tensor:
    return torch.randint(256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def put(path: Path, video: Tensor, prompt: str | None = "a prompt") -> Path:
    """A clip as a sample job writes it; without a prompt, as others do."""
    return media.write(path, video, 8.0, {} if prompt is None else {"prompt": prompt})


@pytest.fixture
def clip_of() -> Callable[..., Tensor]:
    return noise


@pytest.fixture
def write() -> Callable[..., Path]:
    return put


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three stills, in which PNG keeps every pixel: `a` equal to its reference, `b` off by 5, `c` off by 51."""
    for number, (name, error) in enumerate({"a": 0, "b": 5, "c": 51}.items()):
        real = noise(number, 1, 13, 19) // 2
        put(tmp_path / "refs" / name, real, f"picture {name}")
        put(tmp_path / "mine" / name, real + error, f"picture {name}")
    return tmp_path


@pytest.fixture
def evaluate(folder: Path) -> Callable[..., Path]:
    """Run the job over the folder; returns where results are."""

    def run(outputs: str = "out", **keys: object) -> Path:
        recipe = {
            "job": "evaluate",
            "samples": str(folder / "mine"),
            "references": str(folder / "refs"),
            "metrics": [{"type": "psnr"}],
            "outputs": str(folder / outputs),
            **keys,
        }
        vidgen.run(vidgen.load_recipe(recipe))
        return folder / outputs

    return run
