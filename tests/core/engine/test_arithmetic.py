"""Averages, learning rates, loss windows and devices: facts that can be checked by hand."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from vidgen import RunError, UserError
from vidgen.engine.clock import Awaited
from vidgen.engine.ema import Ema
from vidgen.engine.optimization import learning_rate, make_optimizer
from vidgen.engine.single import Single
from vidgen.engine.window import SETTLED, Window
from vidgen.recipe.schema import OptimizerOptions


def test_an_average_starts_as_a_copy_and_follows_its_formula() -> None:
    model = nn.Linear(2, 1, bias=False)
    model.weight.data.fill_(1.0)
    ema = Ema(model, decay=0.75)
    model.weight.data.fill_(5.0)
    ema.update()
    assert ema.state_dict()["weight"].tolist() == [[2.0, 2.0]]


def test_an_average_that_starts_late_is_the_weights_until_then() -> None:
    """Started at step 2: as if its first two steps had not been, whatever the weights were."""
    torch.manual_seed(0)
    model = nn.Linear(5, 3)
    ema = Ema(model, decay=0.75, start_step=2)
    for step in range(2):
        model.weight.data.normal_().mul_(10**step)
        ema.update(step)
        assert torch.equal(ema.state_dict()["weight"], model.weight)
    late = Ema(model, decay=0.75)
    for step in range(2, 5):
        model.weight.data.normal_()
        ema.update(step)
        late.update()
        assert not torch.equal(ema.state_dict()["weight"], model.weight)
    assert all(torch.equal(value, late.state_dict()[name]) for name, value in ema.state_dict().items())


def test_seconds_of_waiting_are_those_within_next(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def slow() -> Iterator[int]:
        nonlocal now
        for number in (1, 2):
            now += number
            yield number

    monkeypatch.setattr("vidgen.engine.clock.time.perf_counter", lambda: now)
    items = Awaited(slow())
    assert next(items) == 1
    now += 100
    assert list(items) == [2]
    assert (items.seconds(), items.seconds()) == (3.0, 0.0)


@pytest.mark.parametrize("start_step", [0, 3])
def test_an_average_that_warms_up_is_that_of_diffusers(start_step: int) -> None:
    from diffusers.training_utils import EMAModel

    torch.manual_seed(0)
    model = nn.Linear(5, 3)
    ema = Ema(model, decay=0.3, start_step=start_step, warmup=True)
    theirs = EMAModel(model.parameters(), decay=0.3, update_after_step=start_step)
    for step in range(9):
        model.weight.data.normal_()
        ema.update(step)
        theirs.step(model.parameters())
        torch.testing.assert_close(ema.state_dict()["weight"], theirs.shadow_params[0], rtol=1e-6, atol=1e-7)


def test_an_average_is_kept_in_float32_and_leaves_frozen_weights_alone() -> None:
    model = nn.Linear(2, 3).to(torch.bfloat16)
    model.bias.requires_grad_(False)
    ema = Ema(model, decay=0.999)
    model.weight.data.add_(1.0)
    before = ema.state_dict()["weight"].clone()
    ema.update()
    assert ema.state_dict()["weight"].dtype == torch.float32
    assert (ema.state_dict()["weight"] != before).all()
    assert ema.state_dict()["bias"].dtype == torch.bfloat16


def test_swapping_twice_changes_nothing() -> None:
    model = nn.Linear(2, 3)
    ema = Ema(model, decay=0.5)
    model.weight.data.add_(1.0)
    weight, average = model.weight.clone(), ema.state_dict()["weight"].clone()
    ema.swap()
    assert torch.equal(model.weight, average) and torch.equal(ema.state_dict()["weight"], weight)
    ema.swap()
    assert torch.equal(model.weight, weight)


def test_warm_up_follows_the_reference() -> None:
    """Open-Sora 1.2: lr * (k + 1) / (W + 1) for k < W, then constant."""
    options = OptimizerOptions(lr=1.0, warmup_steps=3)
    assert [learning_rate(options, k, None) for k in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


@pytest.mark.parametrize(("decay", "middle"), [("linear", 0.6), ("cosine", 0.6), ("constant", 1.0)])
def test_decay_goes_from_warm_up_to_the_last_step(decay: str, middle: float) -> None:
    options = OptimizerOptions(lr=1.0, warmup_steps=2, decay=decay, min_lr=0.2)  # type: ignore[arg-type]
    assert learning_rate(options, 2, 10) == 1.0
    assert math.isclose(learning_rate(options, 6, 10), middle)
    assert math.isclose(learning_rate(options, 10, 10), 1.0 if decay == "constant" else 0.2)


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(UserError, match="nothing to train"):
        make_optimizer(nn.Linear(1, 1).requires_grad_(False), OptimizerOptions())


def one_step(dtype: torch.dtype, factor: float = 1.0) -> tuple[nn.Linear, Single, torch.Tensor]:
    model = nn.Linear(3, 2)
    single = Single(torch.device("cpu"), dtype)
    single.prepare(model, lambda one: make_optimizer(one, OptimizerOptions(lr=0.1)))
    with single.autocast():
        loss = model(torch.ones(4, 3)).float().square().mean() * factor
    single.backward(loss)
    return model, single, single.step(max_norm=1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_step_moves_weights_in_every_dtype(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    before = nn.Linear(3, 2).weight.clone()
    torch.manual_seed(0)
    model, _, norm = one_step(dtype)
    assert norm.isfinite() and norm > 0
    assert model.weight.dtype == torch.float32 and not torch.equal(model.weight, before)


def test_an_fp16_overflow_lowers_the_scale_and_changes_no_weight() -> None:
    torch.manual_seed(0)
    before = nn.Linear(3, 2).weight.clone()
    torch.manual_seed(0)
    model, single, norm = one_step(torch.float16, factor=1e36)
    assert norm == 0 and torch.equal(model.weight, before)
    assert single.state_dict()["scaler"]["scale"] == 2.0**15


def test_a_window_means_what_it_saw_and_starts_anew() -> None:
    window = Window(torch.device("cpu"), None)
    for step, loss in enumerate([1.0, 2.0, 6.0], start=1):
        window.add(step, {"loss": torch.tensor(loss)}, torch.tensor(0.5), (step,))
    assert window.read() == {"loss": 3.0, "grad_norm": 0.5}
    window.add(4, {"loss": torch.tensor(7.0)}, torch.tensor(0.25), (4,))
    assert window.read() == {"loss": 7.0, "grad_norm": 0.25}


def test_the_first_lost_step_is_the_one_that_is_named() -> None:
    window = Window(torch.device("cpu"), max_ratio=10.0)
    for step in range(1, SETTLED + 6):
        loss = float("nan") if step > SETTLED + 3 else 50.0 if step == SETTLED + 2 else 1.0
        window.add(step, {"loss": torch.tensor(loss)}, torch.tensor(1.0), (step, step + 1))
    with pytest.raises(
        RunError, match=rf"step {SETTLED + 2}: the loss exploded .* on rows {SETTLED + 2}, {SETTLED + 3} "
    ):
        window.check("checkpoint")


def test_a_high_loss_at_the_start_is_no_explosion() -> None:
    window = Window(torch.device("cpu"), max_ratio=2.0)
    for step, loss in enumerate([1.0, 100.0, 0.1, 5.0], start=1):
        window.add(step, {"loss": torch.tensor(loss)}, torch.tensor(1.0), ())
    window.check(None)
