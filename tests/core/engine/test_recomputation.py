"""Blocks worked out twice: the same gradients, from less that is kept."""

import copy

import pytest
import torch
import vidgen
from torch import Tensor, nn
from vidgen.engine.ledger import Ledger
from vidgen.engine.recomputation import Policy, checkpoint_blocks, policy_of
from vidgen.testing.tiny import tiny_context, tiny_model_inputs


class Counted(nn.Module):
    """A layer that says how often it was run."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return torch.sigmoid(x)


class Blocks(nn.Module):
    """Two blocks of a product and something cheap."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), Counted()) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x

    def repeated_blocks(self) -> list[nn.Module]:
        return list(self.blocks)


def test_what_recipes_say_is_a_policy() -> None:
    assert [policy_of(one) for one in (True, False, "none", "full", "selective")] == [
        *("full", "none", "none", "full", "selective")
    ]


@pytest.mark.parametrize(("policy", "runs"), [("none", 1), ("full", 2), ("selective", 2)])
def test_blocks_run_again_in_the_backward_pass(policy: Policy, runs: int) -> None:
    model = Blocks()
    checkpoint_blocks(model, policy)
    model(torch.ones(3, 6)).sum().backward()
    assert [block[1].runs for block in model.blocks] == [runs, runs]


def test_selective_repeats_no_product_or_attention() -> None:
    """Forward, each product and attention of both blocks once; the backward pass adds none of attention."""
    from torch.utils.flop_counter import FlopCounterMode

    made = {}
    for policy in ("none", "selective", "full"):
        model = stdit3()
        checkpoint_blocks(model, policy)  # type: ignore[arg-type]
        with FlopCounterMode(display=False) as counter:
            gradients(model)
        made[policy] = counter.get_total_flops()
    assert made["none"] == made["selective"] < made["full"]


@pytest.mark.parametrize("policy", ["full", "selective"])
def test_gradients_are_the_same(policy: Policy) -> None:
    plain, spared = stdit3(), stdit3()
    names = list(spared.state_dict())
    checkpoint_blocks(spared, policy)
    expected = gradients(plain)
    assert len(expected) > 10 and list(spared.state_dict()) == names
    torch.testing.assert_close(gradients(spared), expected, rtol=0, atol=0)


def test_selective_keeps_less_than_nothing_recomputed_and_more_than_all() -> None:
    kept = {}
    for policy in ("none", "selective", "full"):
        model = stdit3()
        checkpoint_blocks(model, policy)  # type: ignore[arg-type]
        with Ledger() as ledger:
            loss = loss_of(model)
            kept[policy] = ledger.bytes
        assert loss.requires_grad
    assert 1.3 * kept["full"] < kept["selective"] < kept["none"] / 1.3


def stdit3() -> nn.Module:
    """The same weights each time, all of them with an effect."""
    torch.manual_seed(3)
    model = vidgen.build(
        "model", "STDiT3", hidden_size=24, depth=2, num_heads=2, caption_channels=7, model_max_length=5
    )
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return copy.deepcopy(model).train()


def loss_of(model: nn.Module) -> Tensor:
    x, t, conditioning = tiny_model_inputs(model, tiny_context())  # type: ignore[arg-type]
    return model(x, t, **conditioning).square().mean()


def gradients(model: nn.Module) -> dict[str, Tensor]:
    loss_of(model).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
