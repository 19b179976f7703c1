"""The process as a whole: its loss, its sampler, and the mistakes it refuses."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen.rng import Draws
from vidgen_rflow import RFlowOptions
from vidgen_rflow.scheduler import build

SHAPE = (3, 2, 5, 1, 2)
SIZES = {"height": torch.full((3,), 480.0), "width": torch.full((3,), 854.0), "num_frames": torch.full((3,), 51.0)}


def make(**options):
    return build(RFlowOptions(**options), Context())


def draws(*samples):
    return Draws(7, [(0, sample) for sample in samples])


def wavy(x, t, x_mask=None, y=None):
    """A model whose answer depends on everything it is given; its second half is to be ignored."""
    out = torch.sin(x + t.view(-1, 1, 1, 1, 1) / 300)
    if x_mask is not None:
        out = out * (1 + 0.5 * x_mask[:, None, :, None, None])
    if y is not None:
        out = out + y.view(-1, 1, 1, 1, 1)
    return torch.cat([out, torch.full_like(out, torch.nan)], dim=1)


def gaussian_velocity(mean, std):
    """E[x_0 - noise | x_t] for data of independent normal numbers (arXiv 2209.03003, equation 2)."""

    def velocity(x, t):
        u = t.double().view(-1, 1, 1, 1, 1) / 1000
        centre = (1 - u) * mean
        slope = ((1 - u) * std**2 - u) / ((1 - u) ** 2 * std**2 + u**2)
        return mean + slope * (x - centre)

    return velocity


def gaussian_error(steps, **options):
    z = torch.linspace(-2, 2, 30, dtype=torch.float64).view(SHAPE[0], 2, 5, 1, 1)
    made = make(**options).sample(gaussian_velocity(0.7, 1.6), z, {}, steps=steps, sizes=SIZES)
    return (made - (0.7 + 1.6 * z)).abs().max()


@pytest.mark.parametrize("transform", [False, True])
def test_the_sampler_converges_to_the_exact_flow_at_first_order(transform):
    """Between normal distributions the flow is z -> mean + std z; twice the steps halve the error."""
    coarse, fine = (gaussian_error(steps, use_timestep_transform=transform) for steps in (200, 400))
    assert 1.9 < coarse / fine < 2.1
    assert fine < 0.02


def test_a_single_point_is_reached_in_any_number_of_steps():
    """All paths to one point are straight, so that Euler steps are exact."""
    target = torch.randn(SHAPE, dtype=torch.float64)

    def velocity(x, t):
        return (target - x) / (t.double().view(-1, 1, 1, 1, 1) / 1000)

    for steps in (1, 3, 7):
        made = make().sample(velocity, torch.randn(SHAPE, dtype=torch.float64), {}, steps=steps)
        torch.testing.assert_close(made, target, rtol=0, atol=1e-6)


def test_the_loss_is_the_mean_squared_error_of_the_velocity():
    x, noise = torch.randn(SHAPE), torch.randn(SHAPE)
    t = torch.tensor([0.0, 400.0, 1000.0])
    loss = make().training_losses(wavy, x, {}, noise=noise, t=t)["loss"]
    u = t.view(-1, 1, 1, 1, 1) / 1000
    expected = (wavy((1 - u) * x + u * noise, t)[:, :2] - (x - noise)).square().flatten(1).mean(dim=1)
    torch.testing.assert_close(loss, expected)


def test_the_right_answer_costs_nothing():
    x, noise = torch.randn(SHAPE), torch.randn(SHAPE)
    loss = make().training_losses(lambda x_t, t: x - noise, x, {}, noise=noise, t=torch.full((3,), 300.0))["loss"]
    assert loss.tolist() == [0, 0, 0]


def test_masked_frames_reach_the_model_clean_and_cost_nothing():
    x, noise = torch.randn(SHAPE), torch.randn(SHAPE)
    mask = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 1], [1, 1, 1, 1, 1]]).bool()
    seen = {}

    def model(x_t, t, x_mask):
        seen.update(x_t=x_t, x_mask=x_mask)
        return torch.where(x_mask[:, None, :, None, None], x - noise + 2, 99.0)

    loss = make().training_losses(model, x, {}, noise=noise, t=torch.full((3,), 600.0), mask=mask)["loss"]
    torch.testing.assert_close(loss, torch.full((3,), 4.0))
    frames = seen["x_t"].transpose(1, 2)
    torch.testing.assert_close(frames[~mask], x.transpose(1, 2)[~mask], rtol=0, atol=0)
    assert (frames[mask] != x.transpose(1, 2)[mask]).all()
    assert seen["x_mask"] is mask


def test_a_sample_without_learned_frames_has_no_loss():
    mask = torch.tensor([[True] * 5, [False] * 5, [True] * 5])
    loss = make().training_losses(wavy, torch.randn(SHAPE), {}, draws=draws(0, 1, 2), mask=mask)["loss"]
    assert loss.isnan().tolist() == [False, True, False]


def test_weights_are_looked_up_by_whole_t():
    weights = torch.arange(1000.0)
    arguments = {"noise": torch.randn(SHAPE), "t": torch.tensor([0, 2, 999])}
    process, x = make(use_discrete_timesteps=True), torch.randn(SHAPE)
    plain = process.training_losses(wavy, x, {}, **arguments)["loss"]
    weighted = process.training_losses(wavy, x, {}, **arguments, weights=weights)["loss"]
    torch.testing.assert_close(weighted, plain * torch.tensor([0.0, 2.0, 999.0]))


@pytest.mark.parametrize(
    "options",
    [{}, {"use_discrete_timesteps": True}, {"sample_method": "logit-normal", "use_timestep_transform": True}],
    ids=["uniform", "discrete", "shifted logit-normal"],
)
def test_a_batch_loses_what_its_samples_lose_alone(options):
    x = torch.randn(SHAPE)
    process = make(**options)
    together = process.training_losses(wavy, x, {}, draws=draws(4, 9, 2), sizes=SIZES)["loss"]
    for row, sample in enumerate((4, 9, 2)):
        size = {name: numbers[row : row + 1] for name, numbers in SIZES.items()}
        alone = process.training_losses(wavy, x[row : row + 1], {}, draws=draws(sample), sizes=size)["loss"]
        torch.testing.assert_close(alone, together[row : row + 1], rtol=0, atol=0)


def test_a_batch_is_sampled_as_its_samples_are_alone():
    z, mask = torch.randn(SHAPE), torch.tensor([[0.0, 0.3, 1, 1, 1], [1, 1, 0.8, 0.5, 1], [1, 1, 1, 1, 0.999]])
    together = make().sample(wavy, z, {}, draws=draws(4, 9, 2), mask=mask)
    for row, sample in enumerate((4, 9, 2)):
        alone = make().sample(wavy, z[row : row + 1], {}, draws=draws(sample), mask=mask[row : row + 1])
        torch.testing.assert_close(alone, together[row : row + 1], rtol=0, atol=0)
    other = make().sample(wavy, z, {}, draws=draws(4, 9, 3), mask=mask)
    assert [bool((other[row] == together[row]).all()) for row in range(3)] == [True, True, False]


def test_discrete_times_are_whole_and_never_pure_noise():
    t = make(use_discrete_timesteps=True, num_timesteps=4).draw_timesteps(draws(*range(60)))
    assert sorted(set(t.tolist())) == [0, 1, 2, 3]


def test_loc_moves_and_scale_narrows_logit_normal_times():
    """A normal number n gives num_timesteps * sigmoid(loc + scale n)."""
    plain = make(sample_method="logit-normal").draw_timesteps(draws(*range(9)))
    moved = make(sample_method="logit-normal", loc=0.5, scale=0.25).draw_timesteps(draws(*range(9)))
    torch.testing.assert_close(torch.logit(moved / 1000), 0.5 + 0.25 * torch.logit(plain / 1000))


def test_sizes_may_come_with_the_conditioning_or_beside_it():
    """A model that takes them gets them; one that does not is left alone."""

    def sized(x, t, height, width, num_frames):
        return wavy(x, t)

    process, z = make(use_timestep_transform=True), torch.randn(SHAPE)
    torch.testing.assert_close(
        process.sample(sized, z, SIZES), process.sample(wavy, z, {}, sizes=SIZES), rtol=0, atol=0
    )
    assert (process.sample(wavy, z, {}, sizes=SIZES) != make().sample(wavy, z, {})).any()


def test_transform_scale_acts_in_training_only():
    z = torch.randn(SHAPE)
    plain, scaled = (make(use_timestep_transform=True, transform_scale=scale) for scale in (1.0, 3.0))
    torch.testing.assert_close(
        plain.sample(wavy, z, {}, sizes=SIZES), scaled.sample(wavy, z, {}, sizes=SIZES), rtol=0, atol=0
    )
    sizes = tuple(SIZES.values())
    assert (scaled.draw_timesteps(draws(0, 1, 2), sizes) > plain.draw_timesteps(draws(0, 1, 2), sizes)).all()


def test_guidance_goes_beyond_the_condition_by_its_scale():
    """The answer is linear in y, and y alone differs: after a whole unit of time z has moved by the guided y."""

    def model(x, t, y):
        return y.view(-1, 1, 1, 1, 1).expand_as(x)

    z, y, null = torch.randn(SHAPE), torch.tensor([1.0, 2.0, -3.0]), torch.tensor([0.5, 0.0, 1.0])
    moved = make(cfg_scale=2.5).sample(model, z, {"y": y}, {"y": null}) - z
    torch.testing.assert_close(moved[:, 0, 0, 0, 0], null + 2.5 * (y - null), rtol=0, atol=1e-5)
    moved = make(cfg_scale=2.5).sample(model, z, {"y": y}, {"y": null}, 0.0) - z
    torch.testing.assert_close(moved[:, 0, 0, 0, 0], null, rtol=0, atol=1e-5)


def test_a_mask_of_ones_changes_nothing_and_needs_no_draws():
    z = torch.randn(SHAPE)

    def deaf(x, t, x_mask=None):
        return wavy(x, t)

    masked = make().sample(deaf, z, {}, mask=torch.ones(3, 5))
    torch.testing.assert_close(masked, make().sample(deaf, z, {}), rtol=0, atol=0)


def test_kept_frames_come_back_bit_for_bit():
    z, mask = torch.randn(SHAPE), torch.tensor([[0, 1, 1, 0, 1], [1, 1, 1, 1, 0], [0, 0, 0, 0, 0.0]])
    made = make().sample(wavy, z, {}, mask=mask).transpose(1, 2)
    kept = mask == 0
    assert torch.equal(made[kept], z.transpose(1, 2)[kept])
    assert (made[~kept] != z.transpose(1, 2)[~kept]).any(dim=1).all()


def test_the_model_works_in_the_latents_dtype_and_small_steps_are_not_lost():
    """A hundred steps of 0.001 vanish next to 1 when bfloat16 adds them up."""
    seen = set()

    def model(x, t):
        seen.add(x.dtype)
        return torch.full_like(x, 0.1)

    made = make().sample(model, torch.ones(SHAPE, dtype=torch.bfloat16), {}, steps=100)
    assert seen == {torch.bfloat16}
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made.float(), torch.full(SHAPE, 1.1), rtol=0, atol=5e-3)


class ReadsOfTheDevice(TorchDispatchMode):
    """Counts the places where the host would wait for the device."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return func(*args, **(kwargs or {}))


def test_the_sampler_never_waits_for_the_device_between_steps():
    counts = []
    for steps in (2, 11):
        with ReadsOfTheDevice() as reads:
            make(use_timestep_transform=True).sample(
                wavy, torch.randn(SHAPE), {}, steps=steps, sizes=SIZES, draws=draws(0, 1, 2), mask=torch.rand(3, 5)
            )
        counts.append(reads.count)
    assert counts[0] == counts[1] > 0


def test_progress_is_told_after_every_step():
    told = []
    make().sample(wavy, torch.randn(SHAPE), {}, steps=3, progress=lambda i, n: told.append((i, n)))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"steps": 0}, "0 sampling steps"),
        ({"guidance": float("nan")}, "guidance scale of nan"),
        ({"mask": torch.ones(3, 4)}, r"\(3, 4\), but the latents need \(3, 5\)"),
        ({"mask": torch.full((3, 5), 1.5)}, "must lie in 0..1"),
        ({"mask": torch.full((3, 5), torch.nan)}, "must lie in 0..1"),
        ({"mask": torch.full((3, 5), 0.5)}, "pass draws"),
        ({"mask": torch.full((3, 5), 0.5), "draws": draws(0, 1)}, "for 2 samples, but the batch has 3"),
    ],
    ids=["no steps", "NaN guidance", "mask shape", "mask range", "mask NaN", "no draws", "too few draws"],
)
def test_the_sampler_refuses_what_it_cannot_use(arguments, text):
    with pytest.raises(UserError, match=text):
        make().sample(wavy, torch.randn(SHAPE), {}, **arguments)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"t": torch.tensor([0.0, 500.0, 1001.0])}, r"0\.\.1000 .* given \[0.0, 500.0, 1001.0\]"),
        ({"t": torch.tensor([0.0, torch.nan, 1.0])}, r"0\.\.1000"),
        ({"t": torch.tensor([0.0, 500.0])}, r"\(2,\), but the batch needs \(3,\)"),
        ({"mask": torch.ones(2, 5, dtype=torch.bool)}, r"\(2, 5\), but the latents need \(3, 5\)"),
        ({"mask": torch.ones(3, 5)}, "needs booleans"),
        ({"noise": torch.randn(3, 2, 5, 1, 1)}, r"but the latents have \(3, 2, 5, 1, 2\)"),
        ({"weights": torch.ones(1000)}, "draw whole numbers"),
        ({"weights": torch.ones(7)}, r"needs \(1000,\)"),
        ({"draws": None}, "pass draws"),
    ],
    ids=["t range", "t NaN", "t shape", "mask shape", "mask dtype", "noise", "weights", "weights shape", "draws"],
)
def test_training_refuses_what_it_cannot_use(arguments, text):
    with pytest.raises(UserError, match=text):
        make().training_losses(wavy, torch.randn(SHAPE), {}, **{"draws": draws(0, 1, 2), **arguments})


def test_the_transform_asks_for_the_sizes_it_misses():
    process = make(use_timestep_transform=True)
    some = {"height": SIZES["height"]}
    with pytest.raises(UserError, match="needs the clips' width, num_frames"):
        process.training_losses(wavy, torch.randn(SHAPE), {}, draws=draws(0, 1, 2), sizes=some)
    with pytest.raises(UserError, match="needs the clips' height, width, num_frames"):
        process.sample(wavy, torch.randn(SHAPE), {})
    with pytest.raises(UserError, match=r"width has shape \(2,\), but the batch needs \(3,\)"):
        process.sample(wavy, torch.randn(SHAPE), {}, sizes={**SIZES, "width": torch.ones(2)})


def test_clips_too_short_for_the_transform_are_refused():
    short = {**SIZES, "num_frames": torch.full((3,), 16.0)}
    with pytest.raises(UserError, match="17 frames or more"):
        make(use_timestep_transform=True).sample(wavy, torch.randn(SHAPE), {}, sizes=short)
    with pytest.raises(UserError, match="num_frames 16"):
        build(RFlowOptions(use_timestep_transform=True), Context(num_frames=16))
    build(RFlowOptions(use_timestep_transform=True), Context(num_frames=1))


def test_contradicting_options_are_refused():
    with pytest.raises(UserError, match="set sample_method: uniform or use_discrete_timesteps: false"):
        make(sample_method="logit-normal", use_discrete_timesteps=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_sampling_steps", 0),
        ("num_timesteps", 0),
        ("cfg_scale", float("nan")),
        ("scale", 0.0),
        ("loc", float("inf")),
    ],
)
def test_options_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        RFlowOptions(**{name: value})


def test_steps_are_those_of_diffusers_flow_matching():
    """Its network predicts noise - data, ours data - noise; its times are shares, ours thousandths."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    theirs = FlowMatchEulerDiscreteScheduler(shift=1.0)
    theirs.set_timesteps(sigmas=[1 - i / 7 for i in range(7)])
    x = z = torch.linspace(-2, 2, 60).view(SHAPE)
    for t in theirs.timesteps:
        x = theirs.step(-wavy(x, t.expand(3))[:, :2], t, x, return_dict=False)[0]
    torch.testing.assert_close(make().sample(wavy, z, {}, steps=7), x, rtol=1e-5, atol=1e-5)
