"""What recipes may say of a class, and how each mistake is told."""

import pytest
import torch
import vidgen
from vidgen.errors import RecipeError, UserError
from vidgen.interfaces import Context
from vidgen.rng import Draws
from vidgen_diffusers import DiffusersOptions
from vidgen_diffusers.scheduler import build

pytestmark = pytest.mark.filterwarnings("ignore:__array", "ignore::RuntimeWarning:diffusers")

FLOW = "FlowMatchEulerDiscreteScheduler"
DPM = "DPMSolverMultistepScheduler"

ZERO_SNR = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}


def make(name, config=None, **options):
    return build(name, DiffusersOptions(config=config or {}, **options), Context())


@pytest.mark.parametrize(
    ("name", "config", "text"),
    [
        ("DDIMScheduler", {"beta_strat": 0.1}, "has no 'beta_strat'; did you mean beta_start.* it has beta_end, "),
        ("DDIMScheduler", {"zzz": 1}, "config: DDIMScheduler has no 'zzz'; it has beta_end, .* trained_betas."),
        ("DDIMScheduler", {"mu": 1.0}, "has no 'mu'"),
        ("DDIMScheduler", {"beta_schedule": "cubic"}, r"does not take config: .*'cubic'.* It says: cubic is not impl"),
        ("DDIMScheduler", {"beta_start": "low"}, "DDIMScheduler does not take config: .*'low'"),
        ("DDIMScheduler", {"timestep_spacing": "wide"}, "does not take 50 sampling steps with config: .* wide is not"),
        ("DDIMScheduler", {"prediction_type": "noise"}, "prediction_type: noise here: set it to epsilon, sample or v"),
        ("DDIMScheduler", {"prediction_type": "flow_prediction"}, "goes with use_flow_sigmas: true"),
        ("DDIMScheduler", ZERO_SNR, "give no finite numbers: change config .epsilon, for one"),
        ("EulerAncestralDiscreteScheduler", {"prediction_type": "sample"}, "It says: prediction_type not implemented"),
        ("EulerDiscreteScheduler", {"timestep_type": "continuous"}, "only as discrete here: the model would be told"),
        ("EulerDiscreteScheduler", {"use_karras_sigmas": True, "use_exponential_sigmas": True}, "It says: Only one of"),
        ("DDPMScheduler", {"variance_type": "learned_range"}, "only as fixed_small, .* iddpm"),
        (DPM, {"use_flow_sigmas": True}, "use_flow_sigmas: true goes with prediction_type: flow_prediction, not eps"),
        (DPM, {"solver_type": "cubic"}, "does not take config"),
        (FLOW, {"use_dynamic_shifting": True}, "It says: `mu` must be passed"),
        (FLOW, {"invert_sigmas": True}, "only as False here"),
        ("FlowMatchLCMScheduler", {"scale_factors": [1, 2]}, "latents keep their size"),
        ("EDMEulerScheduler", {"prediction_type": "sample"}, "has no prediction_type: sample: set it to epsilon or v_"),
        ("EDMEulerScheduler", {"sigma_schedule": "even"}, "EDMEulerScheduler does not take config"),
    ],
)
def test_a_config_that_the_class_does_not_take_is_refused(name, config, text):
    with pytest.raises(UserError, match=text):
        make(name, config)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("DDIMScheduler", {"flow_target": "flow"}, "flow_target: flow plays no role for DDIMScheduler: leave it out"),
        ("DDIMScheduler", {"sample_method": "logit-normal"}, "sample_method: logit-normal plays no role"),
        (FLOW, {"snr_gamma": 5.0}, "snr_gamma: 5.0 plays no role for FlowMatchEulerDiscreteScheduler"),
        (FLOW, {"noise_offset": 0.1}, "noise_offset: 0.1 plays no role"),
        ("IPNDMScheduler", {"loss_weighting": "cosmap"}, "loss_weighting: cosmap plays no role for IPNDMScheduler"),
        ("EDMEulerScheduler", {"scale": 2.0}, "scale: 2.0 plays no role"),
        ("DDIMScheduler", {"num_sampling_steps": 2000}, "does not take 2000 sampling steps"),
        ("DDIMScheduler", {"snr_gamma": 5.0, "config": {"prediction_type": "sample"}}, "no weights for .* sample"),
        ("DDIMScheduler", {"snr_gamma": 5.0, "config": {"rescale_betas_zero_snr": True}}, "SNR of 0: leave it out or"),
    ],
)
def test_options_that_contradict_the_class_are_refused(name, options, text):
    with pytest.raises(UserError, match=text):
        build(name, DiffusersOptions(**options), Context())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_sampling_steps", 0),
        ("cfg_scale", float("nan")),
        ("snr_gamma", 0.0),
        ("noise_offset", float("inf")),
        ("loc", float("nan")),
        ("scale", 0.0),
    ],
)
def test_options_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        DiffusersOptions(**{name: value})


def test_options_of_another_kind_are_refused_with_what_there_is():
    with pytest.raises(RecipeError, match="loss_weighting"):
        vidgen.build("scheduler", f"diffusers/{FLOW}", loss_weighting="cubic")
    with pytest.raises(RecipeError, match="config"):
        vidgen.build("scheduler", f"diffusers/{FLOW}", config=[1])


def test_latents_are_not_clipped_unless_config_says_so():
    z = torch.full((1, 1, 1, 1, 1), 3.0)
    made = [
        make("DDIMScheduler", {"prediction_type": "sample", **config}).sample(lambda x, t: 0 * x + 3, z, {}, steps=4)
        for config in ({}, {"clip_sample": True})
    ]
    assert [round(one.item(), 4) for one in made] == [3, 1]


@pytest.mark.parametrize(
    ("name", "config"),
    [(FLOW, {}), (DPM, {"use_flow_sigmas": True, "prediction_type": "flow_prediction"})],
    ids=["flow matching", "solver"],
)
def test_timesteps_are_shifted_by_mu(name, config):
    """exp(mu) / (exp(mu) + 1 / s - 1): half of the noise becomes three quarters at mu = ln 3."""
    told = {}
    for mu in (0.0, 1.0986123):
        times = told.setdefault(mu, [])
        shifted = make(name, {**config, "use_dynamic_shifting": True, "mu": mu})
        shifted.sample(
            lambda x, t, times=times: times.append(t[0].item()) or x, torch.randn(1, 1, 1, 1, 1), {}, steps=9
        )
    share = [t / 1000 for t in told[0.0]]
    assert [t / 1000 for t in told[1.0986123]] == pytest.approx([3 * s / (3 * s + 1 - s) for s in share], abs=0.002)


def test_a_run_leaves_nothing_behind_for_the_next():
    ours, z = make("UniPCMultistepScheduler"), torch.randn(2, 1, 2, 2, 1)
    first, other, again = (ours.sample(lambda x, t: x.sin(), z, {}, steps=steps) for steps in (6, 9, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_it_is_built_under_any_default_device():
    """A dry run builds under meta."""
    with torch.device("meta"):
        ours = make("EulerAncestralDiscreteScheduler")
    made = ours.sample(lambda x, t: x, torch.randn(1, 1, 1, 1, 1), {}, steps=3, draws=Draws(0, [(0,)]))
    assert made.device.type == "cpu"
