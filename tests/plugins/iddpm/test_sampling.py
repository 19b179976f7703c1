"""Samplers, against diffusers' schedulers and against data whose every moment is known."""

from typing import Any

import pytest
import torch
import vidgen
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from vidgen import UserError
from vidgen.rng import Draws
from vidgen_diffusion.betas import named_betas

SHAPE = (3, 2, 4, 5)
STEPS = 50


def draws(batch: int) -> Draws:
    return Draws(7, [(row,) for row in range(batch)])


def noise(batch: int, *shape: int) -> Tensor:
    return torch.randn((batch, *(shape or SHAPE)), generator=torch.Generator().manual_seed(1))


def wavy(x: Tensor, t: Tensor, x_mask: Tensor | None = None) -> Tensor:
    predicted = torch.tanh(0.7 * x + (t / 7).sin().view(-1, 1, 1, 1, 1))
    return torch.cat([predicted, torch.cos(x)], dim=1)


def build(**options: Any) -> Any:
    return vidgen.build("scheduler", "iddpm", **options)


@pytest.mark.parametrize(
    ("options", "variance_type"),
    [
        ({"learn_sigma": False, "sigma_small": True}, "fixed_small"),
        ({"learn_sigma": True}, "learned_range"),
    ],
)
def test_ancestral_steps_are_those_of_diffusers(options: dict[str, Any], variance_type: str):
    from diffusers import DDPMScheduler

    ours = build(diffusion_steps=STEPS, **options)
    betas = named_betas("linear", STEPS)
    theirs = DDPMScheduler(STEPS, trained_betas=betas.tolist(), variance_type=variance_type, clip_sample=False)
    x = noise(2)
    made = ours.sample(wavy, x, {}, draws=draws(2))
    for t in theirs.timesteps.tolist():
        out = wavy(x, torch.full((2,), t))
        out = out if options["learn_sigma"] else out[:, :3]
        still = theirs.step(out, t, x, generator=torch.Generator().manual_seed(0)).prev_sample
        if t > 0:  # their noise for ours
            drawn = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
            v = out[:, 3:] if options["learn_sigma"] else None
            variance = theirs._get_variance(t, predicted_variance=v)
            spread = (0.5 * variance).exp() if v is not None else variance**0.5
            still = still + spread * (draws(2).normal("step", SHAPE, step=t) - drawn)
        x = still
    torch.testing.assert_close(made, x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("eta", [0.0, 0.6])
def test_ddim_steps_are_those_of_diffusers(eta: float):
    from diffusers import DDIMScheduler

    ours = build(diffusion_steps=STEPS, sampling_method="ddim", eta=eta, learn_sigma=False)
    theirs = DDIMScheduler(
        STEPS, trained_betas=named_betas("linear", STEPS).tolist(), clip_sample=False, set_alpha_to_one=True
    )
    theirs.set_timesteps(STEPS)
    x = noise(2)
    made = ours.sample(wavy, x, {}, draws=draws(2))
    for t in theirs.timesteps.tolist():
        fresh = draws(2).normal("step", SHAPE, step=t) if eta and t else None
        out = wavy(x, torch.full((2,), t))[:, :3]
        x = theirs.step(out, t, x, eta=eta if t else 0.0, variance_noise=fresh).prev_sample
    torch.testing.assert_close(made, x, rtol=1e-4, atol=1e-4)


class GaussianData:
    """Of data with that mean and spread per element, the noise to expect; a perfect model."""

    def __init__(self, mean: float, spread: float) -> None:
        self.mean, self.spread = mean, spread
        self.alphas_cumprod = (1 - named_betas("linear", 1000)).cumprod(0)

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        product = self.alphas_cumprod[t].to(x.dtype).view(-1, 1, 1, 1, 1)
        alpha, sigma = product.sqrt(), (1 - product).sqrt()
        return sigma * (x - alpha * self.mean) / (product * self.spread**2 + 1 - product)

    def exact(self, z: Tensor) -> Tensor:
        """Where the probability-flow ODE leads from z, to the first level of noise."""
        last, first = self.alphas_cumprod[-1], self.alphas_cumprod[0]
        width = [(a * self.spread**2 + 1 - a).sqrt() for a in (last, first)]
        return first.sqrt() * self.mean + width[1] / width[0] * (z - last.sqrt() * self.mean)


def test_ancestral_samples_have_the_mean_and_spread_of_the_data():
    data = GaussianData(0.4, 0.3)
    z = noise(2, 4, 5, 50, 50)
    samples = build(learn_sigma=False, num_sampling_steps=200).sample(data, z, {}, draws=draws(2))
    assert samples.mean().item() == pytest.approx(0.4, abs=0.01)
    assert samples.std().item() == pytest.approx(0.3, rel=0.03)


def test_ddim_follows_the_exact_path_at_first_order():
    data, z = GaussianData(0.4, 0.3), noise(1).double()
    errors = []
    for steps in (50, 100, 200):
        made = build(sampling_method="ddim", learn_sigma=False, num_sampling_steps=steps).sample(data, z, {})
        errors.append((made - data.exact(z)).abs().max().item())
    assert errors[0] > 1.6 * errors[1] > 2.5 * errors[2]


def test_inversion_finds_the_noise_that_leads_back():
    data, x = GaussianData(0.4, 0.3), 0.4 + 0.3 * noise(2)
    scheduler = build(sampling_method="ddim", learn_sigma=False, num_sampling_steps=500)
    z = scheduler.invert(data, x, {})
    assert abs(z.std() - 1) < 0.1
    torch.testing.assert_close(scheduler.sample(data, z, {}), x, rtol=0, atol=0.05)


def test_guidance_reaches_as_many_channels_as_it_is_told():
    def model(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return torch.cat([torch.tanh(x + y.view(-1, 1, 1, 1, 1)), x], dim=1)

    real, null = {"y": torch.ones(2)}, {"y": torch.zeros(2)}
    call: dict[str, Any] = {"draws": draws(2), "steps": 3}
    some = build(cfg_channel=1).sample(model, noise(2), real, null, 5.0, **call)
    every = build().sample(model, noise(2), real, null, 5.0, **call)
    none = build().sample(model, noise(2), real, null, 1.0, **call)
    torch.testing.assert_close(some[:, 0], every[:, 0])
    torch.testing.assert_close(some[:, 1:], none[:, 1:])


def test_guidance_may_be_left_to_an_interval():
    batches = []

    def model(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        batches.append(len(x))
        return torch.cat([x + y.view(-1, 1, 1, 1, 1), x], dim=1)

    scheduler = build(guidance_interval=[0.3, 0.8], num_sampling_steps=11)
    scheduler.sample(model, noise(2), {"y": torch.ones(2)}, {"y": torch.zeros(2)}, 5.0, draws=draws(2))
    assert batches == [2, 2, 4, 4, 4, 4, 4, 4, 2, 2, 2]  # t = 999, 899, 799, ..., 300, ..., 0


def test_kept_frames_come_back_but_for_the_lowest_level_of_noise():
    z, mask = noise(2), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    out = build(num_sampling_steps=10).sample(wavy, z, {}, draws=draws(2), mask=mask)
    kept = (out - z).movedim(2, 1)[mask == 0]
    assert 0 < kept.abs().max() < 0.1
    assert (out - z).movedim(2, 1)[mask == 1].abs().max() > 0.5


def test_a_mask_of_ones_changes_nothing():
    call: dict[str, Any] = {"draws": draws(2), "steps": 5}
    plain = build().sample(wavy, noise(2), {}, **call)
    assert torch.equal(build().sample(wavy, noise(2), {}, **call, mask=torch.ones(2, 2)), plain)


def test_half_precision_keeps_its_state_in_full():
    data, scheduler = GaussianData(0.4, 0.3), build(learn_sigma=False, sampling_method="ddim", num_sampling_steps=50)
    full, half = scheduler.sample(data, noise(2), {}), scheduler.sample(data, noise(2).bfloat16(), {})
    assert half.dtype == torch.bfloat16
    assert (half.float() - full).abs().max() < 0.02  # of 50 steps in half precision it would be tenths


class Operations(TorchDispatchMode):
    """Counts operations on tensors and keeps their names."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_a_step_reads_nothing_back_and_takes_few_operations():
    """With guidance, a learned variance and given frames."""
    counts = []
    for steps in (5, 15):
        z, y, seen = noise(2), {"y": torch.ones(2)}, list[int]()

        def model(x: Tensor, t: Tensor, y: Tensor, x_mask: Tensor, seen: list[int] = seen) -> Tensor:
            seen.append(len(operations.names))
            return torch.cat([x, x], dim=1)

        with Operations() as operations:
            build().sample(model, z, y, {"y": 0 * y["y"]}, 4.0, draws=draws(2), steps=steps, mask=torch.ones(2, 2))
        in_loop = operations.names[seen[0] :]
        assert not {"_local_scalar_dense", "nonzero", "is_nonzero", "item", "equal"} & set(in_loop)
        counts.append(len(in_loop))
    assert (counts[1] - counts[0]) / 10 < 35


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"steps": 0}, "0 sampling steps"),
        ({"steps": 1001}, "1001 sampling steps are more than there are: .* 1 to 1000"),
        ({"guidance": float("nan")}, "scale of nan"),
        ({"guidance": float("inf")}, "scale of inf"),
        ({"mask": torch.ones(2, 3)}, r"need \(2, 2\)"),
        ({"mask": torch.full((2, 2), 1.5)}, r"must lie in 0\.\.1"),
        ({"mask": torch.full((2, 2), float("nan"))}, r"must lie in 0\.\.1"),
        ({"draws": None}, "noise of every step"),
        ({"draws": draws(3)}, "draws are for 3 samples"),
    ],
)
def test_what_cannot_be_used_is_refused(arguments: dict[str, Any], text: str):
    with pytest.raises(UserError, match=text):
        build().sample(wavy, noise(2), {}, **{"draws": draws(2), "steps": 3, **arguments})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"noise_schedule": "linaer"}, "did you mean linear"),
        ({"timestep_respacing": "ten"}, "timestep_respacing"),
        ({"timestep_respacing": "10", "num_sampling_steps": 5}, "not beside timestep_respacing: 10"),
        ({"timestep_respacing": "2000"}, "2000 steps cannot be kept"),
        ({"num_sampling_steps": 2000}, "2000 sampling steps are more than there are"),
        ({"cfg_scale": float("nan")}, "cfg_scale"),
        ({"guidance_interval": [0.8, 0.2]}, "rising shares"),
        ({"guidance_rescale": 1.5}, "guidance_rescale"),
        ({"dynamic_guidance": 0.0}, "dynamic_guidance"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], text: str):
    with pytest.raises((UserError, vidgen.RecipeError), match=text):
        build(**options)
