import pytest
import torch
from ranks import on_ranks
from torch import nn
from vidgen import mesh
from vidgen.errors import RunError, UserError
from vidgen.mesh import ALONE, World


def _mixed(tokens: mesh.TokenGroup) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """A loss that needs each axis whole once, and its gradients."""
    torch.manual_seed(0)
    layer, x = nn.Linear(3, 5), torch.randn(2, 7, 5, 3)
    h = layer(tokens.split(x, 1))
    h = torch.softmax(tokens.exchange(h, split=2, join=1, length=7).cumsum(1), 1)
    h = torch.softmax(tokens.exchange(h, split=1, join=2, length=5).cumsum(2), 2)
    loss = tokens.gather(h, 1, 7).square().sum()
    return loss.detach(), list(torch.autograd.grad(loss, list(layer.parameters())))


def _shared(world):
    tokens, mine, count = world.token_groups(world.size)
    assert (mine, count) == (0, 1)
    loss, gradients = _mixed(tokens)
    return loss, [world.mean(one) for one in gradients]


@pytest.mark.parametrize("size", [2, 3])
def test_shared_tokens_give_the_loss_and_gradients_of_one_rank(size):
    """7 frames and 5 places divide by neither 2 nor 3."""
    loss, gradients = _mixed(ALONE)
    for rank_loss, averaged in on_ranks(_shared, size):
        torch.testing.assert_close(rank_loss, loss)
        torch.testing.assert_close(averaged, gradients)


class _Named(nn.Module):
    """What every module may call tokens without having to do with ranks."""

    tokens = 7


def test_only_modules_that_hold_a_group_are_given_one():
    model = nn.Sequential(_Named(), nn.Identity())
    model.tokens = ALONE
    group = mesh.TokenGroup(size=2)
    mesh.share_tokens(model, group)
    assert model.tokens is group
    assert model[0].tokens == 7


def _collected(world):
    """A layer behind what was collected, of which every rank uses its own part: (2, 5) against all of (2, 5)."""
    tokens, _, _ = world.token_groups(world.size)
    torch.manual_seed(0)
    layer, x = nn.Linear(3, 3), torch.randn(2, 5, 3)
    keys = layer(tokens.collect(tokens.split(x, 1), 1, 5))
    scores = tokens.split(x, 1) @ keys.transpose(1, 2)
    loss = tokens.gather(scores, 1, 5).square().sum()
    gradients = torch.autograd.grad(loss, list(layer.parameters()))
    return loss.detach(), [world.mean(one) for one in gradients]


def test_what_is_collected_may_be_followed_by_parameters():
    (alone,) = on_ranks(_collected, 1)
    for answer in on_ranks(_collected, 3):
        torch.testing.assert_close(answer, alone)


def _grouped(world):
    tokens, mine, count = world.token_groups(2)
    try:
        world.token_groups(3)
    except UserError as error:
        refused = str(error)
    try:
        world.check_same("code version", f"1.{world.rank // 3}")
    except RunError as error:
        differs = str(error)
    world.check_same("recipe", "abc")
    return tokens.rank, mine, count, refused, differs, world.gathered(torch.tensor([world.rank])).tolist()


def test_groups_are_consecutive_ranks_and_what_differs_is_named():
    found = on_ranks(_grouped, 4)
    assert [one[:3] for one in found] == [(0, 0, 2), (1, 0, 2), (0, 1, 2), (1, 1, 2)]
    assert all("3 does not divide" in one[3] and "1, 2, 4" in one[3] for one in found)
    assert all("rank 3 has another code version than rank 0: 1.1 instead of 1.0" in one[4] for one in found)
    assert all(one[5] == [[0], [1], [2], [3]] for one in found)


def test_one_process_needs_no_launcher():
    assert mesh.ranks_of({}) == (0, 1, 0)
    assert World().token_groups(1) == (ALONE, 0, 1)


def test_half_a_launcher_is_refused():
    with pytest.raises(UserError, match="RANK, MASTER_PORT are not"):
        mesh.ranks_of({"WORLD_SIZE": "2", "MASTER_ADDR": "here"})


def test_a_model_that_cannot_share_is_refused():
    with pytest.raises(UserError, match="Linear cannot share a sample between 2 ranks"):
        mesh.share_tokens(nn.Linear(1, 1), mesh.TokenGroup(size=2))
