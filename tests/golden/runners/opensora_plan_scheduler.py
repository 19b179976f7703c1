"""Cases of Open-Sora-Plan's process: its schedule of noise, its sampler's steps, its loss, its ranks' timesteps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from comparing import close, outputs
from diffusers import DDPMScheduler
from torch import Tensor
from vidgen.interfaces import Context
from vidgen.rng import Draws
from vidgen_euler_ancestral import EulerAncestralOptions
from vidgen_euler_ancestral.scheduler import EulerAncestral, build

TABLES = "diffusers DDPMScheduler"
SAMPLER = "diffusers EulerAncestralDiscreteScheduler as configured"
LOSS = "loss with diffusers DDPMScheduler"
RANKS = "explicit_uniform_sampling"
SCALED_LINEAR = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
PER_STEP = 1e-5  # of the largest magnitude of a step, whose orders differ
LARGEST_NOISE = 4.0  # of as many normal numbers as a case has

Tensors = Mapping[str, Tensor]


def matches(reference: str, case: dict[str, Any]) -> bool:
    """Whether this file runs the case: it names a part of the process and no model."""
    return reference == TABLES or reference.startswith(SAMPLER) or reference.endswith((LOSS, RANKS))


def run(case: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> None:
    """Run one case. Raises: AssertionError, when a number differs or the case asks for something unknown."""
    reference = case["reference"]
    if reference.endswith(RANKS):
        for row in case["rows"]:
            _run_rank(row)
    elif reference == TABLES:
        _check_tables(case, outputs(tensors))
    elif reference.endswith(LOSS):
        _check(case, tensors, _loss(case, tensors))
    else:
        made = _steps(case, tensors)
        _check(case, tensors, made)
        _check_each_step(case, made, outputs(tensors))


class RecordedDraws:
    """Draws that return recorded numbers, by purpose."""

    def __init__(self, batch: int, numbers: Mapping[str, Tensor]) -> None:
        self.batch, self.numbers = batch, numbers

    def __len__(self) -> int:
        return self.batch

    def normal(self, purpose: str, shape: Sequence[int], *, device: object = "cpu", step: int = 0) -> Tensor:
        numbers = self.numbers[purpose]
        assert numbers.shape == (self.batch, *shape)
        return numbers


class Answer:
    """A model that gives what was recorded, and keeps what it is asked."""

    def __init__(self, answer: Tensor) -> None:
        self.answer = answer

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        self.x = x
        return self.answer


def _tables(case: dict[str, Any], wanted: Tensors) -> dict[str, Tensor]:
    made = {}
    for name in wanted:
        schedule, _, quantity = name.partition(".")
        zero_snr = schedule.endswith("_zero_snr")
        schedule = schedule.removesuffix("_zero_snr")
        changes = SCALED_LINEAR if schedule == "scaled_linear" else {"beta_schedule": schedule}
        process = _process({**case["constructor"], **changes, "rescale_betas_zero_snr": zero_snr})
        everything = torch.arange(process.options.num_train_timesteps)
        quantities = {
            "betas": process.betas,
            "alphas_cumprod": process.loss.alphas_cumprod,
            "snr": process.loss.snr(everything),
        }
        made[name] = quantities[quantity]
    return made


def _check_tables(case: dict[str, Any], wanted: Tensors) -> None:
    """As near to the record as the tolerance says; or, where square roots in float32 come out otherwise than they did
    where it was made (some libraries do not round them to the nearest), as near as the reference itself comes here."""
    made, tolerances = _tables(case, wanted), case["tolerance_per_output"]
    for name, recorded in wanted.items():
        theirs = (_their_table(case, name) - recorded).abs().max().item()
        close(name, made[name], recorded, max(tolerances[name], theirs))


def _their_table(case: dict[str, Any], name: str) -> Tensor:
    schedule, _, quantity = name.partition(".")
    zero_snr = schedule.endswith("_zero_snr")
    schedule = schedule.removesuffix("_zero_snr")
    changes = SCALED_LINEAR if schedule == "scaled_linear" else {"beta_schedule": schedule}
    theirs = DDPMScheduler(**{**case["constructor"], **changes, "rescale_betas_zero_snr": zero_snr})
    shares = theirs.alphas_cumprod
    return {"betas": theirs.betas, "alphas_cumprod": shares, "snr": shares / (1 - shares)}[quantity]


def _loss(case: dict[str, Any], tensors: Tensors) -> dict[str, Tensor]:
    process = _process({**case["constructor"], **case["call"]})
    x, t = tensors["in.latents"], tensors["in.timesteps"]
    draws = RecordedDraws(
        len(x), {"noise": tensors["in.noise"], "noise offset": tensors.get("in.offset_noise", torch.zeros(()))}
    )
    noise = process.loss.draw_noise(draws, x)
    model = Answer(_meant(process.prediction_type, tensors["in.model_pred"], noise))
    loss = process.training_losses(model, x, {}, draws=draws, t=t, valid=tensors.get("in.attention_mask"))["loss"]
    made = {"noisy": model.x, "target": process.loss.target(x, noise, t), "loss": loss.mean()}
    if process.options.snr_gamma is not None:
        made |= {"snr": process.loss.snr(t), "weights": process.loss.weights(t)}
    return made


def _meant(kind: str, predicted: Tensor, noise: Tensor) -> Tensor:
    """What a model of the reference says, in terms of ours: it takes the noise off a `sample` before it compares it
    with the data, that is, its models would predict the sum of both, which none of its samplers reads so; ours predict
    the data themselves."""
    return predicted - noise if kind == "sample" else predicted


def _steps(case: dict[str, Any], tensors: Tensors) -> dict[str, Tensor]:
    """The listed steps by themselves: the first from noise, others from data of size 0 plus recorded noise."""
    call = case["call"]
    course = _process(case["constructor"]).course(call["num_inference_steps"])
    ends = [*(step.alpha for step in course.steps), 1.0]
    made: dict[str, list[Tensor]] = {"scaled_input": [], "prev_sample": [], "pred_original_sample": []}
    before, sample = None, tensors["in.sample"] * course.initial
    for row, i in enumerate(call["steps"]):
        if before is not None and i != before + 1:
            sample = tensors["in.sample"] * course.sigmas[i]
        step, x = course.steps[i], sample * ends[i]
        output, noise = tensors["in.model_output"][row], tensors["in.noise"][row]
        sample = step.by_output(x, output, noise if step.of_noise else None) / ends[i + 1]
        made["scaled_input"].append(x)
        made["prev_sample"].append(sample)
        made["pred_original_sample"].append(step.data(x, output))
        before = i
    return {
        "timesteps": torch.tensor([step.time for step in course.steps]),
        "sigmas": torch.tensor(course.sigmas),
        "init_noise_sigma": torch.tensor(course.initial),
        **{name: torch.stack(rows) for name, rows in made.items()},
    }


def _run_rank(row: dict[str, Any]) -> None:
    options = {"num_train_timesteps": row["T"], "timestep_sampling": "stratified"}
    process = _process(options, Context(rank=row["rank"], num_ranks=row["n"]))
    assert list(process.loss.bounds) == row["bounds"]
    low, high = row["bounds"]
    drawn = process.loss.draw_timesteps(Draws(3, [(row["rank"], i) for i in range(row["bsz"])]))
    assert drawn.shape == (row["bsz"],)
    assert low <= drawn.min() and drawn.max() <= high
    assert all(low <= t <= high for t in row["timesteps"])


def _process(options: Mapping[str, Any], context: Context | None = None) -> EulerAncestral:
    return build(EulerAncestralOptions(**{**options, "num_sampling_steps": 1}), context or Context())


def _check(case: dict[str, Any], tensors: Tensors, made: Tensors) -> None:
    tolerances = case.get("tolerance_per_output", {})
    for name, wanted in outputs(dict(tensors)).items():
        close(name, made[name], wanted, tolerances.get(name, case["tolerance"]))


def _check_each_step(case: dict[str, Any], made: Tensors, wanted: Tensors) -> None:
    """Levels of noise whose square roots came out otherwise where the record was made (see `_check_tables`) move a step
    by as much times the noise."""
    moved = (made["sigmas"] - wanted["sigmas"]).abs() / (1 + wanted["sigmas"])
    for row, i in enumerate(case["call"]["steps"]):
        sample, recorded = made["prev_sample"][row], wanted["prev_sample"][row]
        allowed = PER_STEP * recorded.abs().max().item() + LARGEST_NOISE * (moved[i] + moved[i + 1]).item()
        close(f"prev_sample of step {i}", sample, recorded, allowed)
