"""Every class samples as the library does alone, agrees with its own training, and keeps given frames."""

import json
from functools import cache

import diffusers
import pytest
import torch
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen.rng import Draws, torch_generator
from vidgen_diffusers import NAMES, DiffusersOptions
from vidgen_diffusers.levels import Levels, by_flow
from vidgen_diffusers.scheduler import build

pytestmark = pytest.mark.filterwarnings("ignore:__array", "ignore::RuntimeWarning:diffusers")

SHAPE = (3, 2, 5, 1, 2)
FLOWING = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
MORE = {
    "DDIMScheduler": {
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
    },
    "DDPMScheduler": {"prediction_type": "sample"},
    "EulerDiscreteScheduler": {"prediction_type": "v_prediction", "use_karras_sigmas": True},
    "DPMSolverMultistepScheduler": {"algorithm_type": "sde-dpmsolver++", "final_sigmas_type": "sigma_min"},
    "DPMSolverSinglestepScheduler": {"solver_order": 3, "lower_order_final": True},
    "UniPCMultistepScheduler": {**FLOWING, "flow_shift": 3.0},
    "DEISMultistepScheduler": FLOWING,
    "SASolverScheduler": FLOWING,
    "FlowMatchEulerDiscreteScheduler": {"stochastic_sampling": True, "shift": 3.0},
    "EDMEulerScheduler": {"prediction_type": "v_prediction", "sigma_schedule": "exponential"},
    "HeunDiscreteScheduler": {"prediction_type": "v_prediction"},
    "PNDMScheduler": {"skip_prk_steps": True},
}
CASES = [*((name, {}) for name in NAMES), *MORE.items()]
CASE_IDS = [f"{name}{'*' * bool(config)}" for name, config in CASES]


def make(name, config=None, **options):
    return built(name, json.dumps({"config": config or {}, **options}))


@cache
def built(name, options):
    """Kept, because two of the classes take long to build; their sampling leaves nothing behind."""
    return build(name, DiffusersOptions(**json.loads(options)), Context())


def draws(*samples):
    return Draws(7, [(0, sample) for sample in samples])


def noise(*samples, shape=SHAPE[1:]):
    return draws(*samples).normal("z", shape)


def wavy(x, t, x_mask=None, y=None):
    """A model whose answer depends on everything it is given; its second half is to be ignored."""
    out = torch.sin(x + t.view(-1, 1, 1, 1, 1) / 300)
    if x_mask is not None:
        out = out * (1 + 0.5 * x_mask[:, None, :, None, None])
    if y is not None:
        out = out + y.view(-1, 1, 1, 1, 1)
    return torch.cat([out, torch.full_like(out, torch.nan)], dim=1)


def plain_loop(name, config, z, steps, sign):
    """As in the library's own documentation."""
    offered = getattr(diffusers, name)
    silent = {"clip_sample": False} if hasattr(offered().config, "clip_sample") else {}
    scheduler = offered(**{**silent, **config})
    scheduler.set_timesteps(steps)
    x = z * scheduler.init_noise_sigma if hasattr(scheduler, "init_noise_sigma") else z
    for i, t in enumerate(scheduler.timesteps):
        shown = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        output = sign * wavy(shown, t.float().expand(3))[:, :2]
        generator = [torch_generator(7, "step", i, 0, sample) for sample in range(3)]
        noisy = {"generator": generator} if "generator" in scheduler.step.__code__.co_varnames else {}
        x = scheduler.step(output, t, x, return_dict=False, **noisy)[0]
    return x


LOOPED = [(name, config) for name, config in CASES if name not in ("DDPMWuerstchenScheduler", "MiniMaxH3Scheduler")]


@pytest.mark.parametrize(("name", "config"), LOOPED, ids=[f"{name}{'*' * bool(config)}" for name, config in LOOPED])
def test_samples_are_those_of_a_plain_loop(name, config):
    ours = make(name, config)
    sign = -1 if ours.prediction_type == "velocity" else 1
    z = noise(0, 1, 2)
    made = ours.sample(wavy, z, {}, draws=draws(0, 1, 2), steps=7)
    torch.testing.assert_close(made, plain_loop(name, config, z, 7, sign), rtol=1e-6, atol=1e-6)
    if sign < 0:
        flow = make(name, config, flow_target="flow").sample(wavy, z, {}, draws=draws(0, 1, 2), steps=7)
        torch.testing.assert_close(flow, plain_loop(name, config, z, 7, 1), rtol=1e-6, atol=1e-6)


METHODS = {
    **dict.fromkeys(("CogVideoXDDIM", "DDIM", "DDPM", "DPMSolverMultistep", "EulerDiscrete"), True),
    **dict.fromkeys(("DEISMultistep", "HeunDiscrete", "KDPM2AncestralDiscrete", "PNDM"), False),
}
"""Methods of Open-Sora-Plan's sampling that can be told how steps are spaced -> whether their betas can be rescaled."""
SPACED = [
    (f"{name}Scheduler", {**spacing, **({"rescale_betas_zero_snr": zero_snr} if rescales else {})}, steps)
    for name, rescales in METHODS.items()
    for zero_snr in ((True, False) if rescales else (False,))
    for spacing in (
        {"prediction_type": "v_prediction", "timestep_spacing": "trailing" if zero_snr else "leading"},
        {
            "prediction_type": "v_prediction" if zero_snr else "epsilon",
            "timestep_spacing": "trailing" if zero_snr else "leading",
            "beta_schedule": "scaled_linear",
            "beta_start": 0.00085,
            "beta_end": 0.012,
        },
    )
    for steps in ((4,) if name == "PNDM" else (1, 4))
]


@pytest.mark.parametrize(("name", "config", "steps"), SPACED)
def test_open_sora_plans_settings_are_those_of_a_plain_loop_for_an_image(name, config, steps):
    z = noise(0, 1, 2, shape=(2, 1, 3, 2))
    made = make(name, config).sample(wavy, z, {}, draws=draws(0, 1, 2), steps=steps)
    torch.testing.assert_close(made, plain_loop(name, config, z, steps, 1), rtol=1e-6, atol=1e-6)


def test_times_of_minimax_rise_with_the_data():
    """x0 = x + (1 - t) v with v = data - noise; one step is all the way."""
    point, told = torch.randn(SHAPE), []

    def model(x, t):
        told.append(t)
        return (point - x) / (1 - t.view(-1, 1, 1, 1, 1))

    ours = make("MiniMaxH3Scheduler", {"shift": 1.0})
    torch.testing.assert_close(ours.sample(model, noise(0, 1, 2), {}, steps=4), point, rtol=0, atol=1e-5)
    assert [t[0].item() for t in told] == [0, 0.25, 0.5, 0.75]


def test_wuerstchens_steps_get_a_time_for_each_sample():
    theirs, z = diffusers.DDPMWuerstchenScheduler(), noise(0, 1, 2)
    theirs.set_timesteps(4)
    x = z
    for i, t in enumerate(theirs.timesteps[:-1]):
        generator = [torch_generator(7, "step", i, 0, sample) for sample in range(3)]
        x = theirs.step(wavy(x, t.expand(3))[:, :2], t.expand(3), x, generator, return_dict=False)[0]
    made = make("DDPMWuerstchenScheduler").sample(wavy, z, {}, draws=draws(0, 1, 2), steps=4)
    torch.testing.assert_close(made, x, rtol=0, atol=1e-6)


def levels_told(ours, t):
    """alpha and sigma of what a model is shown at its time t, from training alone."""
    if ours.prediction_type in ("epsilon", "sample", "v_prediction") and hasattr(ours.family.losses, "alphas_cumprod"):
        table = ours.family.losses.alphas_cumprod.double()
        sigmas = ((1 - table) / table.clamp(min=2**-24)).sqrt().log()
        below = t.double().floor().long().clamp(max=len(table) - 2)
        sigma = torch.lerp(sigmas[below], sigmas[below + 1], t.double() - below).exp()
        return 1 / (sigma**2 + 1).sqrt(), sigma / (sigma**2 + 1).sqrt()
    return ours.family.losses.level(t.double())


def knowing(ours, point):
    """What training on a single point leads to: the point is the data behind everything."""

    def model(x, t, x_mask=None):
        alpha, sigma = (level.view(-1, 1, 1, 1, 1) for level in levels_told(ours, t))
        return ours.family.target(point.double(), (x.double() - alpha * point) / sigma, alpha, sigma).to(x.dtype)

    return model


@pytest.mark.parametrize(("name", "config"), CASES, ids=CASE_IDS)
def test_a_model_as_training_wants_it_is_sampled_to_its_data(name, config):
    """What is left at the end is the lowest level of noise, which some keep, and what PNDM extrapolates."""
    ours, point = make(name, config), torch.linspace(-2, 2, 60).view(SHAPE)
    made = ours.sample(knowing(ours, point), noise(0, 1, 2), {}, draws=draws(0, 1, 2), steps=20)
    assert (made - point).abs().max() < 0.2


@pytest.mark.parametrize(("name", "config"), CASES, ids=CASE_IDS)
def test_noise_is_drawn_by_address_and_only_where_it_is_needed(name, config):
    ours, made = make(name, config), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        made.append(ours.sample(wavy, noise(0, 1, 2), {}, draws=draws(0, 1, 2), steps=5))
    assert torch.equal(*made)
    if ours.stochastic:
        with pytest.raises(UserError, match=f"random numbers are needed for {name}'s steps"):
            ours.sample(wavy, noise(0, 1, 2), {}, steps=5)
        other = ours.sample(wavy, noise(0, 1, 2), {}, draws=draws(0, 1, 3), steps=5)
        assert [torch.equal(other[row], made[0][row]) for row in range(3)] == [True, True, False]
    else:
        torch.manual_seed(3)
        assert torch.equal(ours.sample(wavy, noise(0, 1, 2), {}, steps=5), made[0])


@pytest.mark.parametrize(("name", "config"), CASES, ids=CASE_IDS)
def test_given_frames_stay_on_their_path(name, config):
    """Kept ones come back bit for bit; one that joins is shown as its own noise would have left it there."""
    ours, z, seen = make(name, config), noise(0, 1, 2), []
    mask = torch.tensor([[1.0, 0.0, 0.8, 1.0, 0.0], [0.8, 1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0, 0.0]])

    def model(x, t, x_mask):
        seen.append((x, t, x_mask))
        return wavy(x, t, x_mask)

    made = ours.sample(model, z, {}, draws=draws(0, 1, 2), mask=mask, steps=7)
    kept = mask == 0
    assert torch.equal(made.transpose(1, 2)[kept], z.transpose(1, 2)[kept])
    assert made.isfinite().all()
    for x, _, x_mask in seen:
        assert torch.equal(x.transpose(1, 2)[~x_mask], z.transpose(1, 2)[~x_mask])
    joined = next(i for i, (_, _, x_mask) in enumerate(seen) if x_mask[0, 2])
    assert 0 < joined < len(seen)
    x, t, x_mask = seen[joined]
    assert x_mask[1, 0]
    alpha, sigma = levels_told(ours, t[:1])
    own = draws(0).normal("edited", SHAPE[1:])[0, :, 2]
    torch.testing.assert_close(x[0, :, 2].double(), alpha * z[0, :, 2] + sigma * own, rtol=0, atol=5e-3)


def test_a_mask_of_ones_changes_nothing_and_needs_no_draws():
    ours, z = make("EulerDiscreteScheduler"), noise(0, 1, 2)

    def deaf(x, t, x_mask=None):
        return wavy(x, t)

    assert torch.equal(ours.sample(deaf, z, {}, mask=torch.ones(3, 5)), ours.sample(deaf, z, {}))


def test_solvers_that_look_back_find_the_true_past_of_a_frame_that_joins():
    """With a perfect model a frame that joins late arrives where one that was there from the start does."""
    ours, point = make("UniPCMultistepScheduler"), torch.linspace(-2, 2, 60).view(SHAPE)
    mask = torch.tensor([[1.0, 0.7, 0.3, 1.0, 1.0]]).repeat(3, 1)
    z = torch.where(mask[:, None, :, None, None] == 1, noise(0, 1, 2), point)
    made = ours.sample(knowing(ours, point), z, {}, draws=draws(0, 1, 2), mask=mask, steps=10)
    torch.testing.assert_close(made, point, rtol=0, atol=1e-3)


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "PNDMScheduler"])
def test_progress_counts_steps_and_not_predictions(name, steps):
    told = []
    made = make(name).sample(
        wavy, noise(0, 1, 2), {}, draws=draws(0, 1, 2), steps=steps, progress=lambda *at: told.append(at)
    )
    assert told == [(i + 1, steps) for i in range(steps)]
    assert made.shape == SHAPE


def test_a_step_of_heun_is_done_with_its_second_prediction():
    events = []

    def model(x, t):
        events.append("predict")
        return wavy(x, t)

    make("HeunDiscreteScheduler").sample(model, noise(0), {}, steps=3, progress=lambda i, n: events.append(i))
    assert events == ["predict", "predict", 1, "predict", "predict", 2, "predict", 3]


def test_the_model_works_in_the_latents_dtype_and_is_told_the_time_of_every_sample():
    seen = set()

    def model(x, t):
        seen.add((x.dtype, t.dtype, t.shape))
        return wavy(x, t)

    for name in ("DDIMScheduler", "FlowMapEulerDiscreteScheduler", "KDPM2DiscreteScheduler"):
        made = make(name).sample(model, noise(0, 1, 2).bfloat16(), {}, steps=3)
        assert made.dtype == torch.bfloat16
    assert seen == {(torch.bfloat16, torch.float32, (3,))}


def test_shares_run_from_noise_to_data():
    """Guidance within an interval is half the work outside of it; noise falls through shares of all kinds of time."""
    for name, config in CASES:
        share = make(name, config)._begin(20, torch.device("cpu"))[1].share
        assert 0.85 < share[0] <= 1
        assert 0 <= share[-1] < 0.4  # of MiniMaxH3Scheduler, whose shift is 12
        assert (share[1:] <= share[:-1] + 1e-6).all()


def test_guidance_acts_within_its_interval():
    calls = []

    def model(x, t, y):
        calls.append(len(x))
        return wavy(x, t, y=y)

    y = torch.ones(3)
    options = {"guidance_interval": [0.3, 0.7], "cfg_scale": 3.0}
    make("FlowMatchEulerDiscreteScheduler", **options).sample(model, noise(0, 1, 2), {"y": y}, {"y": 0 * y}, steps=10)
    assert calls == [3] * 3 + [6] * 4 + [3] * 3  # 1.0, 0.889, 0.778 | 0.667 .. 0.334 | 0.223 ..


def test_levels_must_fall_and_be_numbers():
    assert by_flow(torch.tensor([1.0, 0.5, 0.5, 0.0])).fall
    assert not by_flow(torch.tensor([0.5, 0.6])).fall
    assert not by_flow(torch.tensor([1.0, torch.nan])).fall
    assert not by_flow(torch.tensor([])).fall
    rising = torch.tensor([4096.0, 4300.0, 1.0], dtype=torch.float64)
    one = torch.ones_like(rising)
    assert not Levels(signal=one, noise=rising, scale=one, share=one).fall


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"steps": 0}, "0 sampling steps"),
        ({"steps": 1001}, "DDIMScheduler does not take 1001 sampling steps .* cannot be larger .* num_sampling_steps"),
        ({"guidance": float("nan")}, "guidance scale of nan"),
        ({"mask": torch.ones(3, 4)}, r"\(3, 4\), but the latents need \(3, 5\)"),
        ({"mask": torch.full((3, 5), 1.5)}, "must lie in 0..1"),
        ({"mask": torch.full((3, 5), 0.5), "draws": None}, "for edited frames"),
        ({"mask": torch.full((3, 5), 0.5), "draws": draws(0, 1)}, "for 2 samples, but the batch has 3"),
    ],
    ids=["no steps", "steps", "NaN guidance", "mask shape", "mask range", "draws", "few draws"],
)
def test_the_sampler_refuses_what_it_cannot_use(arguments, text):
    with pytest.raises(UserError, match=text):
        make("DDIMScheduler").sample(wavy, noise(0, 1, 2), {}, **{"draws": draws(0, 1, 2), **arguments})


@pytest.mark.parametrize(
    ("name", "config", "steps", "text"),
    [
        ("DDIMScheduler", {"timestep_spacing": "trailing"}, 61, r"from t = 999 to -1, but there are 0\.\.999"),
        ("DDIMScheduler", {"steps_offset": 30}, 50, r"from t = 1010 to 30, but"),
        ("EulerAncestralDiscreteScheduler", {"rescale_betas_zero_snr": True}, 900, "noise does not fall from each"),
        ("LCMScheduler", {}, 51, "LCMScheduler does not take 51 sampling steps"),
        ("PNDMScheduler", {}, 3, "PNDMScheduler does not take 3 sampling steps"),
    ],
    ids=["trailing", "offset", "zero SNR", "few original steps", "PNDM"],
)
def test_numbers_of_steps_that_lead_nowhere_are_refused(name, config, steps, text):
    options = {"num_sampling_steps": 20}
    with pytest.raises(UserError, match=text):
        make(name, config, **options).sample(wavy, noise(0, 1, 2), {}, draws=draws(0, 1, 2), steps=steps)
