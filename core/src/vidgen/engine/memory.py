"""How much memory a run took at most."""

import resource
import sys

import torch

KILOBYTE = 1 if sys.platform == "darwin" else 1024  # in what the system counts


def peak_memory(device: torch.device) -> dict[str, float]:
    """Megabytes since the process began: `process`, and on an accelerator `device` of its tensors."""
    megabytes = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KILOBYTE / 1e6}
    if device.type == "cuda":
        megabytes["device"] = torch.cuda.max_memory_allocated(device) / 1e6
    return megabytes
