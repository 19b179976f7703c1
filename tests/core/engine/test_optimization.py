"""What is trained, and each parameter's own learning rate and weight decay."""

from typing import Any

import pytest
import torch
from torch import nn
from vidgen import UserError
from vidgen.engine.optimization import choose_trained, make_optimizer, set_learning_rate
from vidgen.recipe.schema import GroupOptions, OptimizerOptions


def model() -> nn.Module:
    torch.manual_seed(0)
    parts = {"first": nn.Linear(3, 4), "second": nn.Linear(4, 5), "last": nn.Linear(5, 2)}
    return nn.Sequential(nn.ModuleDict(parts))


def trained(one: nn.Module) -> set[str]:
    return {name.removeprefix("0.") for name, p in one.named_parameters() if p.requires_grad}


def groups(*groups: dict[str, Any], **options: Any) -> OptimizerOptions:
    return OptimizerOptions(groups=[GroupOptions(**one) for one in groups], **options)


def test_patterns_choose_what_is_trained() -> None:
    one = model()
    choose_trained(one, ["*.first.*", "*.last.bias"], [])
    assert trained(one) == {"first.weight", "first.bias", "last.bias"}


def test_what_is_frozen_counts_before_what_is_trained() -> None:
    one = model()
    choose_trained(one, ["*.first.*"], ["*.bias"])
    assert trained(one) == {"first.weight"}


def test_without_patterns_everything_stays_as_the_model_has_it() -> None:
    one = model()
    one[0]["second"].requires_grad_(False)
    choose_trained(one, None, [])
    assert trained(one) == {"first.weight", "first.bias", "last.weight", "last.bias"}


def test_parameters_of_adapters_stay_trained_beside_the_patterns() -> None:
    one = model()
    one.requires_grad_(False)
    one[0]["second"].weight.requires_grad_(True)
    choose_trained(one, ["*.last.*"], [], own={"0.second.weight"})
    assert trained(one) == {"second.weight", "last.weight", "last.bias"}


@pytest.mark.parametrize(("trainable", "freeze", "key"), [(["*.lats.*"], [], "trainable"), (None, ["lats"], "freeze")])
def test_a_pattern_that_fits_nothing_is_refused_with_near_names(
    trainable: list[str] | None, freeze: list[str], key: str
) -> None:
    with pytest.raises(UserError, match=rf"{key}: '[.*]*lats[.*]*' fits no .* \(of 6\)\. The nearest are [0*]\.last\."):
        choose_trained(model(), trainable, freeze)


def test_the_first_group_that_fits_takes_a_parameter() -> None:
    options = groups(
        {"pattern": "*.first.*", "lr_scale": 0.1},
        {"pattern": "*.bias", "weight_decay": 0.0, "lr_scale": 2.0},
        lr=1.0,
        weight_decay=0.5,
    )
    one = model()
    optimizer = make_optimizer(one, options)
    set_learning_rate(optimizer, 0.25)
    names = {parameter: name.removeprefix("0.") for name, parameter in one.named_parameters()}
    found = [
        ({names[p] for p in group["params"]}, group["lr"], group["weight_decay"]) for group in optimizer.param_groups
    ]
    assert found == [
        ({"second.weight", "last.weight"}, 0.25, 0.5),
        ({"first.weight", "first.bias"}, 0.025, 0.5),
        ({"second.bias", "last.bias"}, 0.5, 0.0),
    ]


def test_a_group_of_what_is_frozen_is_refused() -> None:
    one = model()
    choose_trained(one, None, ["*.first.*"])
    with pytest.raises(UserError, match=r"optimizer\.groups: '\*\.first\.\*' fits no parameter \(of 4\)"):
        make_optimizer(one, groups({"pattern": "*.first.*"}))


def test_a_first_step_is_as_long_as_its_learning_rate() -> None:
    """Adam's first step (arXiv 1412.6980) is lr times the gradient's sign, without weight decay; also where the group
    without a pattern is empty."""
    one = model()
    before = {name: p.detach().clone() for name, p in one.named_parameters()}
    optimizer = make_optimizer(one, groups({"pattern": "*.bias", "lr_scale": 0.1}, {"pattern": "*"}, lr=1.0, eps=1e-12))
    assert optimizer.param_groups[0]["params"] == []
    set_learning_rate(optimizer, 0.5)
    for p in one.parameters():
        p.grad = torch.full_like(p, -3.0)
    optimizer.step()
    for name, p in one.named_parameters():
        wanted = before[name] + (0.05 if name.endswith("bias") else 0.5)
        torch.testing.assert_close(p.detach(), wanted)


def test_all_implementations_take_the_same_steps() -> None:
    found = []
    for implementation in ("fused", "foreach", "loop"):
        one = model()
        optimizer = make_optimizer(one, OptimizerOptions(lr=0.1, weight_decay=0.3, implementation=implementation))
        for step in range(3):
            for p in one.parameters():
                p.grad = torch.sin(p.detach() * (step + 2))
            optimizer.step()
        found.append(torch.cat([p.detach().flatten() for p in one.parameters()]))
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])
