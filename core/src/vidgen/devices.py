"""Which device a process uses, and what dtypes are called in recipes."""

import torch

from vidgen.errors import UserError

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def find_device(name: str, local_rank: int = 0) -> torch.device:
    """name: `auto`, which takes a GPU when there is one, or a type of device. local_rank: which of them, among the
    processes of this machine. Raises: UserError, when the one asked for is not there."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if name == "cpu" or (name == "auto" and accelerator is None):
        return torch.device("cpu")
    if accelerator is None or name not in ("auto", accelerator.type):
        raise UserError(
            f"parallel.device: no {name} device here (found {accelerator or 'cpu'}). `auto` takes what is there."
        )
    count = torch.accelerator.device_count()
    if local_rank >= count:
        raise UserError(
            f"parallel.device: process {local_rank + 1} of this machine has no {accelerator.type} device of its own: "
            f"there are {count}. Start at most {count} processes here, or set parallel.device=cpu."
        )
    if count > 1:
        torch.accelerator.set_device_index(local_rank)
        return torch.device(accelerator.type, local_rank)
    return accelerator
