"""The process as a whole: its loss, its sampler, given frames, and the mistakes it refuses."""

from collections import Counter

import pytest
import torch
import vidgen
from torch.utils._python_dispatch import TorchDispatchMode
from vidgen.errors import RecipeError, UserError
from vidgen.interfaces import Context
from vidgen.rng import Draws
from vidgen_dpm_solver import DPMSolverOptions
from vidgen_dpm_solver.plan import make_plan
from vidgen_dpm_solver.scheduler import build
from vidgen_dpm_solver.thresholding import thresholded

SHAPE = (3, 2, 5, 1, 2)
ALGORITHMS = ("dpmsolver++", "dpmsolver")
MASK = torch.tensor([[0.0, 0.3, 1, 1, 1], [1, 1, 0.8, 0.5, 1], [1, 1, 1, 1, 0.999]])


def make(**options):
    return build(DPMSolverOptions(**options), Context())


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


def deaf(x, t, x_mask=None):
    """The same with and without a mask."""
    return wavy(x, t)


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_the_loss_is_the_mean_squared_error_of_the_prediction(kind):
    x, noise, t = torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor([0, 400, 999])
    loss = make(prediction_type=kind).training_losses(wavy, x, {}, noise=noise, t=t)["loss"]
    alphas = (1 - torch.linspace(0.0001, 0.02, 1000, dtype=torch.float64)).cumprod(0)
    alpha, sigma = (level[t].float().view(-1, 1, 1, 1, 1) for level in (alphas.sqrt(), (1 - alphas).sqrt()))
    wanted = {"epsilon": noise, "sample": x, "v_prediction": alpha * noise - sigma * x}[kind]
    error = wavy(alpha * x + sigma * noise, t)[:, :2] - wanted
    torch.testing.assert_close(loss, error.square().flatten(1).mean(dim=1))


def test_masked_frames_reach_the_model_clean_and_cost_nothing():
    x, noise = torch.randn(SHAPE), torch.randn(SHAPE)
    mask = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 1], [1, 1, 1, 1, 1]]).bool()
    seen = {}

    def model(x_t, t, x_mask):
        seen.update(x_t=x_t, x_mask=x_mask)
        return torch.where(x_mask[:, None, :, None, None], noise + 2, 99.0)

    loss = make().training_losses(model, x, {}, noise=noise, t=torch.tensor([5, 500, 999]), mask=mask)["loss"]
    torch.testing.assert_close(loss, torch.full((3,), 4.0))
    assert torch.equal(seen["x_t"].transpose(1, 2)[~mask], x.transpose(1, 2)[~mask])
    assert seen["x_mask"] is mask


def test_timesteps_of_training_are_drawn_from_all_of_them():
    seen = []

    def model(x, t):
        seen.extend(t.tolist())
        return x

    make(diffusion_steps=25).training_losses(model, torch.zeros(300, 1, 1, 1, 1), {}, draws=draws(*range(300)))
    assert sorted(set(seen)) == list(range(25))


def test_a_model_of_the_score_is_sampled_and_not_trained():
    process = make(prediction_type="score")
    assert process.prediction_type == "score"
    assert process.sample(deaf, torch.randn(SHAPE), {}).isfinite().all()
    with pytest.raises(UserError, match="prediction_type: epsilon, sample or v_prediction"):
        process.training_losses(deaf, torch.randn(SHAPE), {}, draws=draws(0, 1, 2))


def test_guidance_goes_beyond_the_condition_by_its_scale():
    """The model says what data there is: y. Guided data is the result of a last step to no noise."""

    def model(x, t, y):
        return y.view(-1, 1, 1, 1, 1).expand_as(x)

    y, null = torch.tensor([1.0, 2.0, -3.0]), torch.tensor([0.5, 0.0, 1.0])
    process = make(cfg_scale=2.5, prediction_type="sample", denoise_to_zero=True)
    made = process.sample(model, torch.randn(SHAPE), {"y": y}, {"y": null})
    torch.testing.assert_close(made[:, 0, 0, 0, 0], null + 2.5 * (y - null), rtol=0, atol=1e-5)
    made = process.sample(model, torch.randn(SHAPE), {"y": y}, {"y": null}, 0.0)
    torch.testing.assert_close(made[:, 0, 0, 0, 0], null, rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"method": "singlestep", "order": 3}], ids=["multistep", "singlestep"])
def test_guidance_by_time_counts_from_noise_to_data(options):
    """In the second half of the time alone, calls are doubled."""
    batches = []

    def model(x, t, y):
        batches.append((len(x), t[0].item() >= 499.5))
        return wavy(x, t, y=y)

    process = make(guidance_interval=(0.0, 0.5), **options)
    process.sample(model, torch.randn(SHAPE), {"y": torch.ones(3)}, {"y": torch.zeros(3)}, steps=8)
    assert len(batches) == 8
    assert {3 if early else 6 for _, early in batches} == {3, 6}
    assert all(size == (3 if early else 6) for size, early in batches)


@pytest.mark.parametrize("algorithm_type", ALGORITHMS)
@pytest.mark.parametrize("options", [{}, {"order": 3, "method": "singlestep"}], ids=["multistep", "singlestep"])
def test_a_batch_is_sampled_as_its_samples_are_alone(algorithm_type, options):
    z, process = torch.randn(SHAPE), make(algorithm_type=algorithm_type, **options)
    together = process.sample(wavy, z, {}, draws=draws(4, 9, 2), mask=MASK)
    for row, sample in enumerate((4, 9, 2)):
        alone = process.sample(wavy, z[row : row + 1], {}, draws=draws(sample), mask=MASK[row : row + 1])
        torch.testing.assert_close(alone, together[row : row + 1], rtol=0, atol=0)
    other = process.sample(wavy, z, {}, draws=draws(4, 9, 3), mask=MASK)
    assert [bool((other[row] == together[row]).all()) for row in range(3)] == [True, True, False]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"algorithm_type": "dpmsolver", "denoise_to_zero": True},
        {"prediction_type": "v_prediction", "thresholding": True},
        {"method": "singlestep", "order": 3, "algorithm_type": "dpmsolver", "prediction_type": "sample"},
    ],
    ids=str,
)
def test_a_mask_of_ones_changes_no_bit_and_needs_no_draws(options):
    z = torch.randn(SHAPE)
    masked = make(**options).sample(deaf, z, {}, mask=torch.ones(3, 5))
    assert torch.equal(masked, make(**options).sample(deaf, z, {}))


@pytest.mark.parametrize("algorithm_type", ALGORITHMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kept_frames_are_shown_clean_and_come_back_bit_for_bit(algorithm_type, dtype):
    z, mask = torch.randn(SHAPE).to(dtype), torch.tensor([[0, 1, 1, 0, 1], [1, 1, 1, 1, 0], [0, 0, 0, 0, 0.0]])
    kept, shown = mask == 0, []

    def model(x, t, x_mask):
        shown.append(x)
        assert torch.equal(x_mask, ~kept)
        return wavy(x, t)

    process = make(algorithm_type=algorithm_type, denoise_to_zero=True)
    made = process.sample(model, z, {}, mask=mask, steps=5).transpose(1, 2)
    assert len(shown) == 6
    for frames in (*(x.transpose(1, 2) for x in shown), made):
        assert torch.equal(frames[kept], z.transpose(1, 2)[kept])
    assert (made[~kept] != z.transpose(1, 2)[~kept]).any(dim=1).all()


@pytest.mark.parametrize("algorithm_type", ALGORITHMS)
@pytest.mark.parametrize("options", [{}, {"order": 3, "method": "singlestep"}], ids=["multistep", "singlestep"])
def test_an_edited_frame_joins_at_its_share_with_noise_of_that_level(algorithm_type, options):
    process, z = make(algorithm_type=algorithm_type, **options), torch.randn(SHAPE)
    mask, seen = torch.ones(3, 5), []
    mask[1, 2] = 0.6

    def model(x, t, x_mask):
        seen.append((x[1, :, 2], t[1].item(), x_mask[1, 2].item()))
        return wavy(x, t)

    process.sample(model, z, {}, mask=mask, draws=draws(0, 1, 2), steps=10)
    assert [active for _, _, active in seen] == [t <= 600 for _, t, _ in seen]
    assert all(torch.equal(x, z[1, :, 2]) for x, _, active in seen if not active)
    first = [active for _, _, active in seen].index(True)
    level = make_plan(process.schedule, process.options, 10)[first].level
    noise = draws(0, 1, 2).normal("edited", SHAPE[1:])[1, :, 2]
    torch.testing.assert_close(seen[first][0], level.alpha * z[1, :, 2] + level.sigma * noise, rtol=0, atol=1e-5)


def test_the_model_works_in_the_latents_dtype_and_the_state_in_float32_at_least():
    """40 equal answers in bfloat16 lead where one weighted sum of them leads in float64."""
    seen = set()

    def model(x, t):
        seen.add((x.dtype, t.dtype))
        return torch.full_like(x, 0.5)

    half, double = torch.full(SHAPE, 0.75, dtype=torch.bfloat16), torch.full(SHAPE, 0.75, dtype=torch.float64)
    made = make().sample(model, half, {}, steps=40)
    assert seen == {(torch.bfloat16, torch.float32)}
    assert made.dtype == torch.bfloat16
    exact = make().sample(model, double, {}, steps=40)
    assert exact.dtype == torch.float64
    torch.testing.assert_close(made, exact.bfloat16(), rtol=0, atol=0)


class Operations(TorchDispatchMode):
    """Counts all operations and, by `reads`, the places where the host would wait for the device."""

    WAITS = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero")

    def __init__(self):
        super().__init__()
        self.count, self.reads = Counter(), 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        self.count[name] += 1
        self.reads += name in self.WAITS
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({}, 16),
        ({"algorithm_type": "dpmsolver", "order": 3}, 16),
        ({"method": "singlestep", "order": 3}, 18),
        ({"thresholding": True}, 30),
        ({"mask": MASK}, 24),
        ({"mask": MASK, "algorithm_type": "dpmsolver"}, 28),
    ],
    ids=["default", "order 3", "singlestep", "thresholding", "mask", "mask, noise"],
)
def test_a_step_takes_few_operations_and_never_waits_for_the_device(options, most):
    """Guidance included, the model left out."""
    mask, options = options.get("mask"), {key: value for key, value in options.items() if key != "mask"}
    process, answer, y = make(**options), torch.randn(6, 4, *SHAPE[2:]), torch.ones(3)
    z = torch.randn(SHAPE)
    counts = []
    for steps in (15, 45):
        with Operations() as operations:
            process.sample(
                lambda x, t, y, x_mask=None: answer, z, {"y": y}, {"y": y}, mask=mask, draws=draws(0, 1, 2), steps=steps
            )
        counts.append(operations)
    assert (counts[1].count.total() - counts[0].count.total()) / 30 <= most
    assert counts[1].reads == counts[0].reads


def test_what_the_model_returned_and_was_given_stays_as_it_is():
    """A model may hand out one tensor for all its answers."""
    answer, z = torch.randn(SHAPE), torch.randn(SHAPE)
    before = answer.clone(), z.clone()
    for options in ({"algorithm_type": "dpmsolver"}, {"prediction_type": "sample"}):
        make(**options).sample(lambda x, t: answer, z, {})
    assert torch.equal(answer, before[0]) and torch.equal(z, before[1])


def test_earlier_values_do_not_change_with_the_tensor_that_the_model_reuses():
    buffer = torch.empty(SHAPE)

    def reusing(x, t):
        return buffer.copy_(deaf(x, t)[:, :2])

    z, process = torch.randn(SHAPE), make(algorithm_type="dpmsolver")
    assert torch.equal(process.sample(reusing, z, {}), process.sample(deaf, z, {}))


def test_thresholding_clips_at_the_quantile_of_each_sample():
    data = 3 * torch.randn(4, 2, 5, 3, 7)
    data[1] /= 100
    sizes = data.flatten(1).abs()
    bound = torch.quantile(sizes, 0.9, dim=1).clamp(min=1.5).view(-1, 1, 1, 1, 1)
    torch.testing.assert_close(thresholded(data, 0.9, 1.5), torch.maximum(torch.minimum(data, bound), -bound) / bound)
    largest = sizes.amax(dim=1).clamp(min=1e-9).view(-1, 1, 1, 1, 1)
    torch.testing.assert_close(thresholded(data, 1.0, 1e-9), data / largest)


@pytest.mark.parametrize("method", ["multistep", "singlestep"])
def test_thresholded_data_stays_within_bounds_and_given_frames_as_they_are(method):
    process = make(thresholding=True, denoise_to_zero=True, dynamic_thresholding_ratio=0.8, method=method)
    z, mask = 5 * torch.randn(SHAPE), torch.ones(3, 5)
    mask[:, 1] = 0
    made = process.sample(deaf, z, {}, mask=mask)
    assert torch.equal(made[:, :, 1], z[:, :, 1])
    assert made[:, :, 2:].abs().max() == 1
    assert make(denoise_to_zero=True, method=method).sample(deaf, z, {}).abs().max() > 1.1


@pytest.mark.parametrize("options", [{}, {"method": "singlestep", "order": 3}, {"denoise_to_zero": True}], ids=str)
def test_progress_is_told_after_every_counted_call(options):
    told, called = [], []

    def model(x, t):
        called.append(t)
        return x

    make(**options).sample(model, torch.randn(SHAPE), {}, steps=5, progress=lambda i, n: told.append((i, n)))
    assert told == [(i, 5) for i in range(1, 6)]
    assert len(called) == 5 + options.get("denoise_to_zero", False)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"steps": 0}, "0 sampling steps"),
        (
            {"steps": 1},
            "1 sampling steps are too few for method: multistep of order 2: give num_sampling_steps of 2 or",
        ),
        ({"guidance": float("nan")}, "guidance scale of nan"),
        ({"mask": torch.ones(3, 4)}, r"\(3, 4\), but the latents need \(3, 5\)"),
        ({"mask": torch.full((3, 5), 1.5)}, "must lie in 0..1"),
        ({"mask": torch.full((3, 5), torch.nan)}, "must lie in 0..1"),
        ({"mask": torch.full((3, 5), 0.5)}, "pass draws"),
        ({"mask": torch.full((3, 5), 0.5), "draws": draws(0, 1)}, "for 2 samples, but the batch has 3"),
    ],
    ids=["no steps", "few steps", "NaN guidance", "mask shape", "mask range", "mask NaN", "no draws", "too few draws"],
)
def test_the_sampler_refuses_what_it_cannot_use(arguments, text):
    with pytest.raises(UserError, match=text):
        make().sample(wavy, torch.randn(SHAPE), {}, **arguments)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"t": torch.tensor([0, 500, 1000])}, r"0\.\.999 .* given \[0, 500, 1000\]"),
        ({"t": torch.tensor([0.0, 500.0, 7.0])}, "give integers 0..999"),
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
        make().training_losses(deaf, torch.randn(SHAPE), {}, **{"draws": draws(0, 1, 2), **arguments})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"thresholding": True, "algorithm_type": "dpmsolver"}, "thresholding: not with algorithm_type: dpmsolver"),
        (
            {"num_sampling_steps": 2, "order": 3},
            "num_sampling_steps: 2 steps are too few for method: multistep of order 3",
        ),
        ({"order": 4}, "order: "),
        ({"noise_schedule": "cosine"}, "noise_schedule: expected .*squaredcos_cap_v2.* 'cosine'"),
        ({"prediction_type": "velocity"}, "prediction_type: .*'velocity'"),
        ({"algorithm_type": "sde-dpmsolver++"}, "algorithm_type: (.|\n)*did you mean dpmsolver"),
        ({"diffusion_steps": 1}, "diffusion_steps: "),
        ({"num_sampling_steps": 0}, "num_sampling_steps: "),
        ({"dynamic_thresholding_ratio": 0.0}, "dynamic_thresholding_ratio: "),
        ({"thresholding_max_val": 0.0}, "thresholding_max_val: "),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused_at_their_key(options, text):
    with pytest.raises(RecipeError, match=text):
        vidgen.build("scheduler", "dpm-solver", **options)


@pytest.mark.parametrize(("name", "steps"), [("linear", 19), ("const", 20), ("jsd", 2), ("warmup50", 2)])
def test_a_schedule_without_levels_of_noise_is_refused(name, steps):
    with pytest.raises(UserError, match=f"noise_schedule: {name} .* diffusion_steps: {steps}: give more steps"):
        make(noise_schedule=name, diffusion_steps=steps)


def test_singlestep_needs_no_more_steps_than_one():
    process = make(method="singlestep", order=3, num_sampling_steps=1)
    assert process.sample(deaf, torch.randn(SHAPE), {}).isfinite().all()


def test_a_misprint_of_open_sora_is_answered_with_the_name():
    with pytest.raises(RecipeError, match=r"'dmp-solver'(.|\n)*did you mean dpm-solver\?"):
        vidgen.build("scheduler", "dmp-solver")
