"""What the engines refuse, and their options on a GPU."""

from pathlib import Path

import pytest
import torch
from parallel_run import assert_same_course, run_here
from ranks import on_ranks
from vidgen import UserError
from vidgen.mesh import World


def test_offloading_to_the_cpu_needs_another_device(tmp_path: Path) -> None:
    changes = {"parallel": {"type": "zero2", "cpu_offload": True, "device": "cpu"}, "outputs": str(tmp_path / "run")}
    with pytest.raises(UserError, match=r"parallel\.cpu_offload: the device is the CPU already"):
        run_here(World(), changes)


def both_ways(world: World, folder: Path) -> None:
    """The same run with and without state in the CPU's memory, each in a process group of its own kind."""
    torch.distributed.destroy_process_group()  # it was made for the CPU
    for offload in (False, True):
        parallel = {"type": "zero2", "cpu_offload": offload}
        run_here(world, {"parallel": parallel, "accumulation_steps": 2, "outputs": str(folder / str(offload))})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="cpu_offload needs a GPU")
def test_state_in_the_cpus_memory_is_the_same_state(tmp_path: Path) -> None:
    on_ranks(both_ways, 1, tmp_path)
    assert_same_course(tmp_path / "False", tmp_path / "True")
