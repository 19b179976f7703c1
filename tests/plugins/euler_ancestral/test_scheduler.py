"""The process as a whole: its loss, its sampler, and the mistakes it refuses."""

import pytest
import torch
import vidgen
from diffusers import EulerAncestralDiscreteScheduler
from torch.utils._python_dispatch import TorchDispatchMode
from vidgen.errors import RecipeError, UserError
from vidgen.interfaces import Context
from vidgen.rng import Draws, torch_generator
from vidgen.testing import assert_conforms
from vidgen_euler_ancestral import EulerAncestralOptions
from vidgen_euler_ancestral.scheduler import build

pytestmark = pytest.mark.filterwarnings("ignore:__array")

SHAPE = (3, 2, 5, 1, 2)
SETTINGS = {
    "v, zero SNR, trailing": {},
    "epsilon, leading": {"prediction_type": "epsilon", "rescale_betas_zero_snr": False},
    "v, Stable Diffusion 1.5": {
        "rescale_betas_zero_snr": False,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
    },
    "epsilon, linspace": {
        "prediction_type": "epsilon",
        "rescale_betas_zero_snr": False,
        "timestep_spacing": "linspace",
    },
}


def make(rank=0, num_ranks=1, **options):
    return build(EulerAncestralOptions(**options), Context(rank=rank, num_ranks=num_ranks))


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


def theirs(process):
    options = process.options
    return EulerAncestralDiscreteScheduler(
        beta_start=options.beta_start,
        beta_end=options.beta_end,
        beta_schedule=options.beta_schedule,
        prediction_type=options.prediction_type,
        timestep_spacing=process.spacing,
        rescale_betas_zero_snr=options.rescale_betas_zero_snr,
    )


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("steps", [2, 3, 7, 20])
def test_samples_are_those_of_diffusers_with_the_same_noise(setting, steps):
    process = make(**SETTINGS[setting])
    library, z = theirs(process), draws(0, 1, 2).normal("z", SHAPE[1:])
    library.set_timesteps(steps)
    x = z * library.init_noise_sigma
    for i, t in enumerate(library.timesteps):
        output = wavy(library.scale_model_input(x, t), t.expand(3))[:, :2]
        generators = [torch_generator(7, "step", i, 0, sample) for sample in range(3)]
        x = library.step(output, t, x, generator=generators, return_dict=False)[0]
    made = process.sample(wavy, z, {}, steps=steps, draws=draws(0, 1, 2))
    # theirs keeps x at the scale of its sigmas, where numbers are so far apart: at 4096, by 5e-4
    apart = torch.finfo(torch.float32).eps * float(library.init_noise_sigma)
    torch.testing.assert_close(made, x, rtol=1e-4, atol=max(1e-4 * x.abs().max().item(), apart))


def exact_model(process, mean, std):
    """What the best model predicts for independent normal data: it knows the mean and spread of x_t."""
    alphas = process.loss.alphas_cumprod.double()

    def model(x, t):
        share = alphas[t.long()].view(-1, 1, 1, 1, 1)
        alpha, sigma = share.sqrt(), (1 - share).sqrt()
        noise = sigma * (x.double() - alpha * mean) / (alpha**2 * std**2 + sigma**2)
        data = mean + alpha * std**2 * (x.double() - alpha * mean) / (alpha**2 * std**2 + sigma**2)
        kind = process.prediction_type
        return {"epsilon": noise, "sample": data, "v_prediction": alpha * noise - sigma * data}[kind].to(x.dtype)

    return model


@pytest.mark.parametrize("kind", ["v_prediction", "epsilon", "sample"])
def test_with_an_exact_model_samples_are_distributed_as_the_data(kind):
    process = make(prediction_type=kind, rescale_betas_zero_snr=kind != "epsilon", timestep_spacing="trailing")
    few = draws(0, 1)
    z = few.normal("z", (4, 5, 30, 30))
    made = process.sample(exact_model(process, 0.7, 1.6), z, {}, draws=few, steps=250)
    assert made.mean().item() == pytest.approx(0.7, abs=0.04)
    assert made.std().item() == pytest.approx(1.6, abs=0.04)


@pytest.mark.parametrize("steps", [1, 2, 11])
def test_data_of_a_single_point_are_reached_in_any_number_of_steps(steps):
    process, point = make(prediction_type="sample"), torch.randn(SHAPE)
    made = process.sample(lambda x, t: point, torch.randn(SHAPE), {}, steps=steps, draws=draws(0, 1, 2))
    torch.testing.assert_close(made, point, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["v_prediction", "epsilon", "sample"])
def test_the_right_answer_costs_nothing(kind):
    x, noise, t = torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor([0, 400, 999])
    process = make(prediction_type=kind)
    share = process.loss.alphas_cumprod[t].view(-1, 1, 1, 1, 1)
    right = {"epsilon": noise, "sample": x, "v_prediction": share.sqrt() * noise - (1 - share).sqrt() * x}[kind]
    seen = []

    def model(x_t, t):
        seen.append(x_t)
        return right

    loss = process.training_losses(model, x, {}, noise=noise, t=t)["loss"]
    assert loss.tolist() == [0, 0, 0]
    torch.testing.assert_close(seen[0], share.sqrt() * x + (1 - share).sqrt() * noise)
    assert torch.equal(seen[0][2], noise[2])  # t = 999 is noise alone


def off_by_one(kind, process, x, noise, t):
    share = process.loss.alphas_cumprod[t].view(-1, 1, 1, 1, 1)
    return (noise if kind == "epsilon" else share.sqrt() * noise - (1 - share).sqrt() * x) + 1


@pytest.mark.parametrize("kind", ["v_prediction", "epsilon"])
def test_errors_are_weighed_by_signal_and_noise(kind):
    """arXiv 2303.09556; SNR 5 is where 1 / 6 of the variance is noise."""
    process = make(prediction_type=kind, rescale_betas_zero_snr=kind == "v_prediction", snr_gamma=5.0)
    x, noise, t = torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor([0, 300, 999])
    right = off_by_one(kind, process, x, noise, t)
    loss = process.training_losses(lambda x_t, t: right, x, {}, noise=noise, t=t)["loss"]
    share = process.loss.alphas_cumprod[t].double()
    snr = share / (1 - share)
    capped = torch.minimum(snr, torch.tensor(5.0))
    expected = capped / snr if kind == "epsilon" else capped / (snr + 1)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-3, atol=1e-9)
    assert loss[0] == pytest.approx(5 / 9998, rel=0.001)  # beta_0 = 0.0001
    assert loss[2] == (0 if kind == "v_prediction" else 1)


def test_the_noise_offset_is_one_number_per_sample_and_channel():
    """The same in the model's input and in what it is to predict."""
    seen = []

    def model(x_t, t):
        seen.append(x_t)
        return torch.zeros_like(x_t)

    t = torch.full((3,), 999)
    for offset in (0.0, 0.5):
        make(noise_offset=offset).training_losses(model, torch.zeros(SHAPE), {}, draws=draws(0, 1, 2), t=t)
    added = (seen[1] - seen[0]) / 0.5
    torch.testing.assert_close(added, draws(0, 1, 2).normal("noise offset", (2, 1, 1, 1)).expand(SHAPE))


def test_what_is_no_padding_is_averaged_over_the_whole_batch():
    """The specification's sum(error * mask * weight) / sum(mask), the mask repeated over channels."""
    x, noise, t = torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor([3, 400, 900])
    valid = (torch.rand(3, 5, 1, 2) > 0.4).float()
    valid[0] = 0
    process = make(snr_gamma=5.0)
    loss = process.training_losses(wavy, x, {}, noise=noise, t=t, valid=valid)["loss"].mean()
    x_t = process.loss.add_noise(x, noise, t)
    error = (wavy(x_t, t)[:, :2] - process.loss.target(x, noise, t)).square()
    error = error * process.loss.weights(t).view(-1, 1, 1, 1, 1)
    repeated = valid[:, None].expand(SHAPE)
    torch.testing.assert_close(loss, (error * repeated).sum() / repeated.sum())


def test_masked_frames_reach_the_model_clean_and_cost_nothing():
    x, noise = torch.randn(SHAPE), torch.randn(SHAPE)
    mask = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 1], [1, 1, 1, 1, 1]]).bool()
    seen = {}

    def model(x_t, t, x_mask):
        seen.update(x_t=x_t, x_mask=x_mask)
        return torch.where(x_mask[:, None, :, None, None], x + 2, 99.0)

    process = make(prediction_type="sample")
    loss = process.training_losses(model, x, {}, noise=noise, t=torch.full((3,), 600), mask=mask)["loss"]
    torch.testing.assert_close(loss, torch.full((3,), 4.0))
    assert torch.equal(seen["x_t"].transpose(1, 2)[~mask], x.transpose(1, 2)[~mask])
    assert seen["x_mask"] is mask


def test_ranks_draw_from_their_shares():
    for rank in range(3):
        process = make(rank, 3, timestep_sampling="stratified")
        low, high = process.loss.bounds
        t = process.loss.draw_timesteps(draws(*range(200)))
        assert low <= t.min() < low + 20 and high - 20 < t.max() <= high
    t = make(2, 3).loss.draw_timesteps(draws(*range(200)))
    assert t.min() < 20 and t.max() > 979


def test_a_batch_is_trained_and_sampled_as_its_samples_are_alone():
    z, mask = torch.randn(SHAPE), torch.tensor([[0.0, 0.3, 1, 1, 1], [1, 1, 0.8, 0.5, 1], [1, 1, 1, 1, 0.999]])
    process = make(noise_offset=0.1)
    together = process.sample(wavy, z, {}, draws=draws(4, 9, 2), mask=mask, steps=5)
    loss = process.training_losses(wavy, z, {}, draws=draws(4, 9, 2))["loss"]
    for row, sample in enumerate((4, 9, 2)):
        one = slice(row, row + 1)
        alone = process.sample(wavy, z[one], {}, draws=draws(sample), mask=mask[one], steps=5)
        torch.testing.assert_close(alone, together[one], rtol=0, atol=0)
        torch.testing.assert_close(
            process.training_losses(wavy, z[one], {}, draws=draws(sample))["loss"], loss[one], rtol=0, atol=0
        )


def deaf(x, t, x_mask=None):
    return wavy(x, t)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_mask_of_ones_changes_nothing(setting):
    process, z = make(**SETTINGS[setting]), torch.randn(SHAPE)
    masked, plain = (
        process.sample(deaf, z, {}, draws=draws(0, 1, 2), mask=mask, steps=6) for mask in (torch.ones(3, 5), None)
    )
    torch.testing.assert_close(masked, plain, rtol=1e-3, atol=1e-3 * plain.abs().max().item())


def test_kept_frames_come_back_bit_for_bit_and_are_shown_clean():
    z, mask = torch.randn(SHAPE), torch.tensor([[0, 1, 1, 0, 1], [1, 1, 1, 1, 0], [0, 0, 0, 0, 0.0]])
    kept, seen = mask == 0, []

    def model(x, t, x_mask):
        seen.append((x.transpose(1, 2)[kept], x_mask))
        return wavy(x, t, x_mask)

    made = make().sample(model, z, {}, mask=mask, draws=draws(0, 1, 2), steps=4).transpose(1, 2)
    assert torch.equal(made[kept], z.transpose(1, 2)[kept])
    assert made.isfinite().all()
    assert (made[~kept] != z.transpose(1, 2)[~kept]).any(dim=1).all()
    for frames, x_mask in seen:
        assert torch.equal(frames, z.transpose(1, 2)[kept])
        assert torch.equal(x_mask, ~kept)


def test_edited_frames_join_at_their_share_as_their_noise_would_have_left_them():
    """With trailing spacing and 10 steps t is 999, 899, ..., 99; a half joins at 499 with the spread of that step."""
    z = torch.full((2, 2, 3, 40, 40), 0.3)
    mask, seen = torch.tensor([[1.0, 0.5, 0.0], [0.5, 1.0, 1.0]]), []

    def model(x, t, x_mask):
        seen.append((x[:, :, :2], x_mask))
        return wavy(x, t, x_mask)

    process = make()
    process.sample(model, z, {}, mask=mask, draws=draws(0, 1), steps=10)
    assert [bool(x_mask[0, 1]) for _, x_mask in seen] == [False] * 5 + [True] * 5
    assert torch.equal(seen[4][0][0, :, 1], z[0, :, 1])
    joined, share = seen[5][0][0, :, 1], process.loss.alphas_cumprod[499]
    assert (joined - share.sqrt() * 0.3).std().item() == pytest.approx((1 - share).sqrt().item(), rel=0.03)


def test_guidance_rescaling_follows_its_formula():
    """r * out * std(pos) / std(out) + (1 - r) * out over all but the batch, in one step to the data."""
    point, null = torch.randn(SHAPE), torch.randn(SHAPE)

    def model(x, t, y):
        return torch.where(
            y.view(-1, 1, 1, 1, 1) > 0, point.repeat(len(x) // 3, 1, 1, 1, 1), null.repeat(2, 1, 1, 1, 1)
        )

    process = make(prediction_type="sample", guidance_rescale=0.7, cfg_scale=3.0)
    made = process.sample(model, torch.randn(SHAPE), {"y": torch.ones(3)}, {"y": -torch.ones(3)}, steps=1)
    guided = null + 3 * (point - null)
    spread = [one.flatten(1).std(dim=1).view(-1, 1, 1, 1, 1) for one in (point, guided)]
    torch.testing.assert_close(made, 0.7 * guided * spread[0] / spread[1] + 0.3 * guided, rtol=1e-5, atol=1e-5)


def test_the_model_works_in_the_latents_dtype():
    seen = set()

    def model(x, t):
        seen.add((x.dtype, t.dtype))
        return wavy(x, t)

    made = make().sample(model, torch.randn(SHAPE).bfloat16(), {}, draws=draws(0, 1, 2), steps=3)
    assert seen == {(torch.bfloat16, torch.float32)}
    assert made.dtype == torch.bfloat16


class ReadsOfTheDevice(TorchDispatchMode):
    """Counts the places where the host would wait for the device."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return func(*args, **(kwargs or {}))


def test_the_sampler_never_waits_for_the_device_between_steps():
    process, counts = make(), []
    for steps in (2, 11):
        with ReadsOfTheDevice() as reads:
            process.sample(
                wavy, torch.randn(SHAPE), {}, steps=steps, draws=draws(0, 1, 2), mask=torch.full((3, 5), 0.5)
            )
        counts.append(reads.count)
    assert counts[0] == counts[1]


def test_progress_is_told_after_every_step():
    told = []
    make().sample(wavy, torch.randn(SHAPE), {}, steps=3, draws=draws(0, 1, 2), progress=lambda *at: told.append(at))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"prediction_type": "epsilon", "rescale_betas_zero_snr": False, "snr_gamma": 5.0, "noise_offset": 0.1},
        {"prediction_type": "sample", "timestep_spacing": "linspace", "timestep_sampling": "stratified"},
    ],
    ids=["published", "epsilon", "sample"],
)
def test_it_conforms(options):
    assert_conforms("scheduler", "euler-ancestral", **options)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"steps": 0}, "0 sampling steps"),
        ({"steps": 1001}, "give num_sampling_steps of 1 to 1000"),
        ({"steps": 286}, "as having 4096 times .* num_sampling_steps of 1 to 285"),
        ({"guidance": float("nan")}, "guidance scale of nan"),
        ({"mask": torch.ones(3, 4)}, r"\(3, 4\), but the latents need \(3, 5\)"),
        ({"mask": torch.full((3, 5), 1.5)}, "must lie in 0..1"),
        ({"draws": None}, "random numbers are needed for fresh noise: pass draws"),
        ({"draws": draws(0, 1)}, "for 2 samples, but the batch has 3"),
        ({"steps": 1, "draws": None, "mask": torch.full((3, 5), 0.5)}, "for edited frames"),
    ],
    ids=["no steps", "steps", "zero SNR", "NaN guidance", "mask shape", "mask range", "draws", "few draws", "edited"],
)
def test_the_sampler_refuses_what_it_cannot_use(arguments, text):
    with pytest.raises(UserError, match=text):
        make().sample(wavy, torch.randn(SHAPE), {}, **{"steps": 3, "draws": draws(0, 1, 2), **arguments})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"t": torch.tensor([0, 500, 1000])}, r"0\.\.999 .* given \[0, 500, 1000\]"),
        ({"t": torch.tensor([0.0, 1.0, 2.0])}, "whole steps: give integers 0..999"),
        ({"t": torch.tensor([0, 500])}, r"\(2,\), but the batch needs \(3,\)"),
        ({"mask": torch.ones(2, 5, dtype=torch.bool)}, r"\(2, 5\), but the latents need \(3, 5\)"),
        ({"mask": torch.ones(3, 5)}, "needs booleans"),
        ({"noise": torch.randn(3, 2, 5, 1, 1)}, r"but the latents have \(3, 2, 5, 1, 2\)"),
        ({"draws": None}, "pass draws"),
    ],
    ids=["t range", "t dtype", "t shape", "mask shape", "mask dtype", "noise", "draws"],
)
def test_training_refuses_what_it_cannot_use(arguments, text):
    with pytest.raises(UserError, match=text):
        make().training_losses(wavy, torch.randn(SHAPE), {}, **{"draws": draws(0, 1, 2), **arguments})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"snr_gamma": 5.0, "prediction_type": "sample"}, "snr_gamma: has no weights for prediction_type: sample"),
        ({"snr_gamma": 5.0, "prediction_type": "epsilon"}, "snr_gamma: .* last step has an SNR of 0"),
        ({"num_sampling_steps": 300}, "num_sampling_steps of 1 to 285"),
        ({"num_sampling_steps": 30, "num_train_timesteps": 20}, "num_sampling_steps of 1 to 20"),
        ({"timestep_spacing": "leading", "steps_offset": 11}, "steps_offset: 11 .* t = 1001, but .* ends at 999"),
        ({"beta_end": 0.5}, "betas from 0.0001 to 0.5 leave .* smaller beta_end"),
        ({"beta_start": 1e-9, "rescale_betas_zero_snr": False}, "beta_start of 1e-6 or more"),
    ],
    ids=["sample", "epsilon", "too many steps", "few timesteps", "offset", "no signal", "no noise"],
)
def test_contradicting_options_are_refused(options, text):
    with pytest.raises((RecipeError, UserError), match=text):
        vidgen.build("scheduler", "euler-ancestral", **options)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_sampling_steps", 0),
        ("num_train_timesteps", 1),
        ("cfg_scale", float("nan")),
        ("beta_start", 0.0),
        ("beta_end", 1.0),
        ("steps_offset", -1),
        ("snr_gamma", 0.0),
        ("noise_offset", float("inf")),
    ],
)
def test_options_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        EulerAncestralOptions(**{name: value})
