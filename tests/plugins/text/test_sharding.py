"""An encoder shared out over the ranks of a distributed run."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from vidgen.interfaces import Context
from vidgen.weights import fingerprint
from vidgen_text import T5Options
from vidgen_text.t5 import build

RANKS = 2


def run(folder: Path, meeting: Path) -> list[dict[str, Any]]:
    """What rank.py made, on each of two ranks."""
    script = str(Path(__file__).with_name("rank.py"))
    started = [
        subprocess.Popen(
            [sys.executable, script, str(rank), str(RANKS), str(folder), str(meeting)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(RANKS)
    ]
    for process in started:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    return [torch.load(meeting / f"{rank}.pt", weights_only=True) for rank in range(RANKS)]


def test_two_ranks_make_what_one_makes(t5_folder, tmp_path):
    """Each with texts of its own, so that one has three groups and the other one; and again after a release, when one
    has no text at all. Each keeps half of the weights, and
    names the whole for kept features."""
    made = run(t5_folder, tmp_path)
    for dtype, tolerance in (("fp32", 1e-5), ("bf16", 0.05), ("int8", 0.05)):
        options = T5Options(from_pretrained=str(t5_folder), model_max_length=9, dtype=dtype, shardformer=True)
        alone = build(options, Context())
        for one in made:
            assert one[f"{dtype} fingerprint"] == fingerprint(alone)
            torch.testing.assert_close(one[dtype], alone.encode(one["texts"])["y"], rtol=0, atol=tolerance)
        shares = [int(one[f"{dtype} share"]) for one in made]
        assert sum(shares) == sum(p.numel() for p in alone.parameters())
        assert max(shares) < 0.6 * sum(shares)
    for after_use in ("cpu", "free"):
        torch.testing.assert_close(made[1][after_use], made[1]["fp32"], rtol=0, atol=1e-6)
        assert made[0][after_use].shape == (0, 9, 20)
