"""A checkpoint of 130 million parameters into a model: time until it is ready, until every weight was read, memory."""

import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from mmap import PAGESIZE, mmap
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from vidgen import build

from vidgen_bench.comparison import Alternatives, Comparison, peak_megabytes, seconds

OPTIONS: dict[str, Any] = {"input_size": (1, 32, 32), "condition": "label_1000", "no_temporal_pos_emb": True}
PLAIN = "init + torch.load + copy"


def loading() -> Iterator[Comparison]:
    """Against what a plain program does, and memory against one copy of the weights."""
    for name, goal, after in (
        ("loading 130 M parameters until ready", 10.0, _nothing),
        ("loading 130 M parameters until all are read", 1.0, _read),
    ):
        yield Comparison(name=name, against=PLAIN, goal=goal, prepare=partial(_timed, after), measure=seconds)
    yield Comparison(
        name="loading 130 M parameters, memory with all read",
        against="one copy of them",
        goal=0.95,
        unit="MB",
        prepare=_weighed,
        measure=peak_megabytes,
    )


def _timed(after: Callable[[nn.Module], object]) -> Alternatives:
    folder = _checkpoint()
    return Alternatives(ours=lambda: after(_ours(folder)), theirs=lambda: after(_theirs(folder)))


def _weighed() -> Alternatives:
    folder = _checkpoint()
    total = sum(value.numel() for value in _ours(folder).state_dict().values())
    return Alternatives(ours=lambda: _read(_ours(folder)), theirs=lambda: _hold(4 * total))


@cache
def _checkpoint() -> Path:
    """DiT-B/2 as safetensors and as a file of torch."""
    folder = Path(tempfile.mkdtemp(prefix="vidgen-bench-"))
    model = build("model", "DiT-B/2", **OPTIONS)
    save_file(model.state_dict(), folder / "model.safetensors")
    torch.save(model.state_dict(), folder / "model.pt")
    return folder


def _ours(folder: Path) -> nn.Module:
    return build("model", "DiT-B/2", from_pretrained=str(folder / "model.safetensors"), **OPTIONS)


def _theirs(folder: Path) -> nn.Module:
    """Every matrix drawn once, then overwritten by a copy of what was read."""
    with torch.device("meta"):
        model = build("model", "DiT-B/2", **OPTIONS)
    model.to_empty(device="cpu")
    for value in model.parameters():
        nn.init.xavier_uniform_(value) if value.ndim > 1 else nn.init.zeros_(value)
    model.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
    return model


def _hold(size: int) -> None:
    """Take so many bytes of fresh memory for a moment; torch might use some again that it has."""
    with mmap(-1, size) as memory:
        for start in range(0, size, PAGESIZE):
            memory[start] = 1


def _nothing(model: nn.Module) -> None:
    """Ready is enough."""


def _read(model: nn.Module) -> float:
    return sum(float(value.detach().sum()) for value in model.parameters())
