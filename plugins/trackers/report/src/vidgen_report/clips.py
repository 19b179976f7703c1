"""Reading a few frames of a clip for the contact sheet."""

from pathlib import Path

import av
from PIL import Image

STILLS = frozenset({".png", ".jpg", ".jpeg", ".webp"})


def read_frames(path: Path, *, num_frames: int, wanted: int) -> list[Image.Image]:
    """Up to `wanted` evenly spaced RGB frames of a clip that has `num_frames`, first and last included. Empty when the
    file cannot be read: a report is no reason to end a run."""
    try:
        if path.suffix.lower() in STILLS:
            with Image.open(path) as still:
                return [still.convert("RGB")]
        with av.open(str(path)) as container:
            places = set(spread(num_frames, wanted))
            frames = enumerate(container.decode(container.streams.video[0]))
            return [frame.to_image() for index, frame in frames if index in places]
    except (OSError, IndexError, av.FFmpegError):
        return []


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` of the indices 0 to count - 1, evenly spaced; all of them when there are no more."""
    if count <= wanted:
        return list(range(count))
    if wanted == 1:
        return [count // 2]
    return [round(i * (count - 1) / (wanted - 1)) for i in range(wanted)]
