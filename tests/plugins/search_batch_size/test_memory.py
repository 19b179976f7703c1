"""What exceeds memory is an error that is known as such, and leaves the process as it was."""

import resource

import pytest
import torch
from vidgen.errors import UserError
from vidgen_search_batch_size.memory import STATUS, Budget, ran_out

CPU = torch.device("cpu")
HUGE = 1 << 50

if not STATUS.exists():
    pytest.skip("memory of a CPU can be limited on Linux alone", allow_module_level=True)


def test_an_allocation_that_cannot_be_is_known_as_such() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(HUGE)
    assert ran_out(caught.value)


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (UserError("out of memory"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_other_errors_are_not_taken_for_it(error: Exception, is_memory: bool) -> None:
    assert ran_out(error) is is_memory


def test_the_net_holds_a_single_huge_allocation_and_is_taken_away_again(taken: int) -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    budget = Budget(CPU, taken + 500)
    with pytest.raises(RuntimeError, match="can't allocate memory"), budget.net():
        assert resource.getrlimit(resource.RLIMIT_DATA) != before
        torch.ones(2000 << 20, dtype=torch.uint8)  # less than most machines have, and more than twice the budget
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_the_budget_is_what_the_process_has_not_taken_yet() -> None:
    budget = Budget(CPU, 100_000)
    with budget.counted() as ledger:
        torch.zeros(1)
    assert 90_000 < ledger.limit / (1 << 20) < 99_950
    assert f"{ledger.limit / (1 << 20):,.0f} MB for clips" in str(budget)


def test_a_budget_without_room_for_clips_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"memory_limit_mb: 7 leaves no room for clips: \d+ MB are taken before the first"
    ):
        Budget(CPU, 7)


def test_without_a_limit_some_of_what_is_free_is_left_to_others() -> None:
    with Budget(CPU, None).counted() as ledger:
        assert 0 < ledger.limit < torch.iinfo(torch.int64).max


def test_memory_of_other_devices_is_theirs_to_refuse() -> None:
    with pytest.raises(UserError, match=r"memory of a mps device cannot be limited\. Leave it out"):
        Budget(torch.device("mps"), 1000)
    budget = Budget(torch.device("mps"), None)
    with budget.net(), budget.counted():
        assert str(budget) == "all that the device has"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_is_limited_by_its_allocator() -> None:
    device = torch.device("cuda")
    try:
        Budget(device, 200)
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(400 << 20, dtype=torch.uint8, device=device)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
