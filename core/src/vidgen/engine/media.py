"""Clips to files and back: H.264 in mp4, PNG for a single frame; whole or not at all, with where they came from."""

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from vidgen.errors import RunError

QUALITY = "12"  # x264's constant rate factor: visually lossless also for small, saturated clips
COMMENT = "vidgen"


def to_pixels(video: Tensor) -> Tensor:
    """Decoded video in [-1, 1] to uint8: clamped, scaled to 0..255, rounded by adding 0.5."""
    return video.clamp(-1, 1).add(1).mul(127.5).add(0.5).clamp(max=255).to(torch.uint8)


def to_unit(pixels: Tensor) -> Tensor:
    """uint8 RGB to float32 in [-1, 1]."""
    return pixels.float().div(127.5).sub(1)


def write(path: Path, video: Tensor, fps: float, provenance: Mapping[str, Any], upscale: int = 1) -> Path:
    """Write a clip, (3, T, H, W) uint8, to `path` with the suffix that its frame count asks for.

    fps: frames per second. provenance: kept in the file's metadata as JSON. upscale: enlarge by nearest neighbour.
    Returns the path written. Raises: RunError, with nothing left under the final name.
    """
    frames = video.permute(1, 2, 3, 0).numpy().repeat(upscale, axis=1).repeat(upscale, axis=2)
    path = final_path(path, len(frames))
    partial = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if len(frames) == 1:
            _write_png(partial, frames[0], provenance)
        else:
            _write_mp4(partial, frames, fps, provenance)
        partial.replace(path)
    except (OSError, av.FFmpegError) as error:
        partial.unlink(missing_ok=True)
        raise RunError(f"{path} could not be written ({error}). Files written before are whole.") from error
    return path


def final_path(path: Path, num_frames: int) -> Path:
    """`path` with .png for one frame and .mp4 for more."""
    return path.with_name(path.name + (".png" if num_frames == 1 else ".mp4"))


def read(path: Path, upscale: int = 1, size: tuple[int, int] | None = None) -> Tensor:
    """A written clip as (3, T, H, W) uint8, enlargement undone, cut to `size` (rows, columns) where an odd one was
    padded. Raises: RunError."""
    try:
        if path.suffix == ".png":
            frames = np.asarray(Image.open(path).convert("RGB"))[None]
        else:
            with av.open(str(path)) as container:
                frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    except (OSError, ValueError, av.FFmpegError) as error:
        raise RunError(f"{path} cannot be read ({error})") from error
    half = upscale // 2
    rows, columns = size or frames.shape[1:3]
    frames = frames[:, half::upscale, half::upscale][:, :rows, :columns]
    return torch.from_numpy(frames.copy()).permute(3, 0, 1, 2)


def provenance(path: Path) -> dict[str, Any]:
    """What `write` kept in the file's metadata; empty for a file of other origin."""
    try:
        if path.suffix == ".png":
            return json.loads(Image.open(path).info.get(COMMENT, "{}"))
        with av.open(str(path)) as container:
            return json.loads(container.metadata.get("comment", "{}"))
    except (OSError, ValueError, av.FFmpegError):
        return {}


def _write_png(path: Path, frame: np.ndarray, provenance: Mapping[str, Any]) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text(COMMENT, json.dumps(provenance))
    Image.fromarray(frame).save(path, format="PNG", pnginfo=text)


def _write_mp4(path: Path, frames: np.ndarray, fps: float, provenance: Mapping[str, Any]) -> None:
    height, width = frames.shape[1:3]
    # yuv420p, the one format every player knows, needs even sizes: repeat the last row or column
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    with av.open(str(path), "w", format="mp4") as container:
        container.metadata["comment"] = json.dumps(provenance)
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": QUALITY, "preset": "veryfast"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
