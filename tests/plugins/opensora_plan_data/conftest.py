"""Clips whose frames tell their own number, annotations of them, and the folder of real clips."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from video_files import HEIGHT, WIDTH, clips, numbers_in
from vidgen.testing import write_clip

__all__ = ["clips", "numbers_in"]  # fixtures


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Writes a numbered clip of 24 frames a second, or an image, into `tmp_path`; returns its annotation."""

    def write(name: str, frames: int = 40, *, height: int = HEIGHT, width: int = WIDTH, **more: Any) -> dict[str, Any]:
        pixels = np.empty((3, frames, height, width), np.uint8)
        numbers = np.arange(frames)[:, None, None]
        pixels[..., : width // 2] = 16 * (numbers // 16) + 8
        pixels[..., width // 2 :] = 16 * (numbers % 16) + 8
        written = write_clip(tmp_path / name, pixels, 24.0)
        item = {"path": written.name, "cap": [f"this is {name}"], "resolution": {"height": height, "width": width}}
        return item | ({"num_frames": frames, "fps": 24} if frames > 1 else {}) | more

    return write


@pytest.fixture
def write_data(tmp_path: Path) -> Callable[..., Path]:
    """Writes annotations and the list of this one source into `tmp_path`; returns the list."""

    def write(items: Any, form: str = "json") -> Path:
        annotations = tmp_path / f"items.{form}"
        annotations.write_bytes(pickle.dumps(items) if form == "pkl" else json.dumps(items).encode())
        listed = tmp_path / "data.txt"
        listed.write_text(f".,{annotations.name}\n")
        return listed

    return write
