"""Attention backends: the formula, with and without a mask; on a GPU in bfloat16 when there is one."""

from collections.abc import Iterator

import torch

from vidgen.attention import explicit_attention
from vidgen.errors import UserError
from vidgen.rng import Draws
from vidgen.testing.subject import Subject, alike, devices


def attends(subject: Subject) -> Iterator[str]:
    """softmax(q k^T / sqrt(E)) v. A mask may be refused, with a UserError."""
    device = devices()[-1]
    dtype, tolerance = (torch.float32, 1e-4) if device.type == "cpu" else (torch.bfloat16, 2e-2)
    draws = Draws(1, [(0,), (1,)])
    q = draws.normal("q", (3, 5, 8), device=device).to(dtype)
    k, v = (draws.normal(name, (3, 7, 8), device=device).to(dtype) for name in "kv")
    mask = torch.ones(2, 1, 5, 7, dtype=torch.bool, device=device)
    mask[1, ..., 4:] = False
    for allowed in (None, mask):
        try:
            out = subject.one(q, k, v, allowed)
        except UserError:
            if allowed is None:
                raise
            return
        if not alike(out, explicit_attention(q, k, v, allowed), tolerance) or out.dtype != dtype:
            given = "without a mask" if allowed is None else "with a mask"
            yield f"{given}, the result is not softmax(q k^T / sqrt(E)) v of (2, 3, 5, 8) in {dtype}"


CHECKS = (attends,)
