"""Processes that the launcher started: who they are, and waiting for what they do."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

SOON = 45  # seconds: far below any timeout of torch, far above what a busy machine takes


def ranks_of(launcher: subprocess.Popen[str]) -> dict[int, int]:
    """Rank -> process, of those that a launcher started."""
    found = {}
    for children in Path(f"/proc/{launcher.pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            settings = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            found.update({int(one[5:]): child for one in settings if one.startswith(b"RANK=")})
    return found


def wait_until(so: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Until something is so of a running process."""
    deadline = time.monotonic() + 2 * SOON
    while not so():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
