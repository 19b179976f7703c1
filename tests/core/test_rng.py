"""Addressed randomness: what a draw depends on, and what it does not."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from vidgen.rng import Draws, address, numpy_generator, torch_generator


def test_an_address_is_the_same_on_every_machine_and_in_every_release():
    """Recorded: a run resumed with a later release must go on with the same numbers."""
    assert address(42, "noise") == 5040667252081766761
    assert address(42, "timestep", 3, "a prompt", 5) == 7064606730878211034
    assert 0 <= address(0, "") < 2**63


def test_addresses_differ_in_every_part():
    """Text that looks like a number, and parts that join to the same text, are told apart."""
    parts = [(0, "a"), (1, "a"), (0, "b"), (0, "a", 1), (0, "a", "1"), (0, "a", 1, 2), (0, "a", 2, 1), (0, "a", 12)]
    parts += [(0, "a", "1, 2"), (0, "a', 'b"), (0, "a", "b"), (0, "a", -1), (0, "a", 2**70), (0, "")]
    assert len({address(*one) for one in parts}) == len(parts)


def test_an_address_does_not_depend_on_the_process():
    """Python's own hash() of text does."""
    code = "from vidgen.rng import address; print(address(1, 'x', 'y', 2))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == address(1, "x", "y", 2)


def test_generators_at_one_address_agree_and_at_others_do_not():
    def torch_draw(*where: int) -> list[float]:
        return torch.rand(5, generator=torch_generator(7, "p", *where)).tolist()

    def numpy_draw(*where: int) -> list[float]:
        return numpy_generator(7, "p", *where).random(5).tolist()

    for draw in (torch_draw, numpy_draw):
        assert draw(1, 2) == draw(1, 2)
        assert len({tuple(draw(*where)) for where in [(1, 2), (2, 1), (1,), (), (1, 3)]}) == 5


DRAWS = {
    "normal": lambda draws, **where: draws.normal("p", (3, 2), **where),
    "uniform": lambda draws, **where: draws.uniform("p", (3, 2), **where),
    "integers": lambda draws, **where: draws.integers("p", 2**40, (3, 2), **where),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_row_depends_on_its_own_sample_alone(draw):
    """Not on the others of the batch, their order, or what was drawn before."""
    batch = draw(Draws(5, [(0, 3), (0, 1), (2, 3)]))
    assert batch.shape == (3, 3, 2)
    shuffled = Draws(5, [(2, 3), (0, 9), (0, 3)])
    draw(shuffled, step=8)
    torch.testing.assert_close(draw(shuffled)[[2, 0]], batch[[0, 2]], rtol=0, atol=0)
    assert not torch.equal(batch[0], batch[1]) and not torch.equal(batch[0], batch[2])


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_draw_depends_on_seed_step_and_nothing_global(draw):
    torch.manual_seed(1)
    np.random.seed(1)
    first = draw(Draws(5, [(0, 3)]))
    torch.manual_seed(2)
    np.random.seed(2)
    state = torch.get_rng_state()
    assert torch.equal(draw(Draws(5, [(0, 3)])), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(draw(Draws(6, [(0, 3)])), first)
    assert not torch.equal(draw(Draws(5, [(0, 3)]), step=1), first)


def test_purposes_are_told_apart():
    draws = Draws(5, [("a prompt", 0)])
    assert not torch.equal(draws.normal("noise", (4,)), draws.normal("posterior", (4,)))


def test_draws_are_what_they_say():
    """By the moments of 3 x 20,000 numbers: a standard error of 0.004 for the mean of normal ones."""
    draws = Draws(0, [(0, row) for row in range(3)])
    normal, uniform = draws.normal("p", (20_000,)), draws.uniform("p", (20_000,))
    integers = draws.integers("p", 5, (20_000,))
    assert normal.dtype == uniform.dtype == torch.float32
    assert integers.dtype == torch.int64
    assert abs(normal.mean()) < 0.02 and abs(normal.std() - 1) < 0.02
    assert uniform.min() >= 0 and uniform.max() < 1 and abs(uniform.mean() - 0.5) < 0.01
    assert integers.unique().tolist() == [0, 1, 2, 3, 4]
    assert draws.uniform("p").shape == draws.integers("p", 9).shape == (3,)
    assert len(draws) == 3


def test_samples_with_seeds_of_their_own_are_those_of_runs_with_such_seeds() -> None:
    mixed = Draws([3, 8], [("a", 0), ("b", 1)]).normal("noise", (4,))
    assert torch.equal(mixed[0], Draws(3, [("a", 0)]).normal("noise", (4,))[0])
    assert torch.equal(mixed[1], Draws(8, [("a", 0), ("b", 1)])[1].normal("noise", (4,))[0])
