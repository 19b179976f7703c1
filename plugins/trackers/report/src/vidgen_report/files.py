"""Writing files so that a reader sees a whole one, old or new."""

from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Write under another name, then rename."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)
