"""Cases of denoising diffusion in whole steps: Open-Sora's IDDPM, SpeeDiffusion and the functions underneath."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from analytic_model import AnalyticModel
from attrs import evolve
from torch import Tensor
from vidgen import UserError
from vidgen.guidance.denoiser import guide
from vidgen_diffusion.betas import cosine_betas, spaced_betas
from vidgen_iddpm import IDDPMOptions
from vidgen_iddpm.descent import Descent
from vidgen_iddpm.frames import JoiningFrames
from vidgen_iddpm.gaussian import (
    Gaussian,
    add_noise,
    data_from_noise,
    noise_from_data,
    posterior,
)
from vidgen_iddpm.likelihood import discrete_log_likelihood, normal_cdf, normal_kl, normal_log_density
from vidgen_iddpm.respacing import kept_steps
from vidgen_iddpm.scheduler import IDDPM
from vidgen_iddpm.speed import SpeedIDDPM
from vidgen_iddpm.steps import Step, Steps

PARTS = ("IDDPM", "SpeeDiffusion", "get_beta_schedule", "space_timesteps", "forward_with_cfg", "normal_kl")
Tensors = Mapping[str, Tensor]


def matches(reference: str, case: dict[str, Any]) -> bool:
    """Whether this file runs the case: it names a part of the process, and weights play no role."""
    return _part(reference).split(".")[0] in PARTS and "state_dict" not in case


def run(case: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> None:
    """Run one case. Raises: AssertionError, when a number differs or the case asks for something unknown."""
    part = _part(case["reference"])
    if part == "get_beta_schedule":
        _run_betas(case)
    elif part == "space_timesteps":
        _run_respacing(case)
    else:
        assert part in MAKERS, f"no way to run {part}"
        _check(case, tensors, MAKERS[part](case, tensors))


class RecordedDraws:
    """Draws that return recorded numbers. steps: by purpose, in the order of visiting steps count - 1 .. 0."""

    def __init__(self, batch: int, **steps: Tensor) -> None:
        self.batch, self.steps = batch, steps

    def __len__(self) -> int:
        return self.batch

    def normal(self, purpose: str, shape: Sequence[int], *, device: object = "cpu", step: int = 0) -> Tensor:
        numbers = self.steps[purpose]
        numbers = numbers[len(numbers) - 1 - step]
        assert numbers.shape[1:] == (*shape,)
        return numbers[: self.batch]


class SpeedDraws:
    """The draws that lead to recorded steps: the first values as drawn, the rest the first ones again, mirrored."""

    def __init__(self, scheduler: SpeedIDDPM, drawn: Tensor, batch: int) -> None:
        self.batch, self.rest = batch, batch - len(drawn)
        up_to = scheduler.probabilities.cumsum(0)
        self.levels = (up_to - scheduler.probabilities / 2)[torch.cat([drawn, drawn])[:batch]]

    def __len__(self) -> int:
        return self.batch

    def uniform(self, purpose: str, shape: Sequence[int] = (), *, device: object = "cpu", step: int = 0) -> Tensor:
        return self.levels.float()

    def integers(
        self, purpose: str, high: int, shape: Sequence[int] = (), *, device: object = "cpu", step: int = 0
    ) -> Tensor:
        assert purpose == "mirror"
        return torch.tensor([0] * (self.batch - self.rest) + [1] * self.rest)


def _run_betas(case: dict[str, Any]) -> None:
    for entry in case.get("cases", []):
        made = spaced_betas(entry["name"], entry["beta_start"], entry["beta_end"], entry["steps"])
        _close(entry["name"], made, torch.tensor(entry["betas"], dtype=torch.float64), case["tolerance"])
    for entry in case.get("cosine", []):
        made = cosine_betas(entry["steps"], entry["max_beta"])
        _close("cosine", made, torch.tensor(entry["betas"], dtype=torch.float64), case["tolerance"])


def _run_respacing(case: dict[str, Any]) -> None:
    for entry in case["cases"]:
        spacing = entry["spacing"]
        spacing = spacing if isinstance(spacing, str) else ",".join(map(str, spacing))
        try:
            made: Any = kept_steps(entry["num_timesteps"], spacing)
        except UserError:
            made = {"error": "ValueError"}
        assert made == entry["result"], f"{entry['num_timesteps']}, {spacing!r}"


def _tables(case: dict[str, Any], tensors: Tensors) -> dict[str, Tensor]:
    process = _scheduler(case).process
    product = process.alphas_cumprod
    return {
        "betas": process.betas,
        "alphas_cumprod": product,
        "alphas_cumprod_prev": process.alphas_cumprod_prev,
        "alphas_cumprod_next": process.alphas_cumprod_next,
        "sqrt_alphas_cumprod": product.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - product).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - product).log(),
        "sqrt_recip_alphas_cumprod": product.rsqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / product - 1).sqrt(),
        "posterior_variance": process.posterior_variance,
        "posterior_log_variance_clipped": process.log_posterior_variance,
        "posterior_mean_coef1": process.posterior_data,
        "posterior_mean_coef2": process.posterior_x_t,
        "timestep_map": torch.tensor(process.timesteps),
    }


def _forward_process(case: dict[str, Any], tensors: Tensors) -> dict[str, Tensor]:
    x, noise, t = (tensors[f"in.{name}"] for name in ("x_start", "noise", "t"))
    level = _scheduler(case).process.level(t, x)
    x_t = add_noise(x, noise, level)
    behind = posterior(x, x_t, level)
    ones = torch.ones_like(x)
    return {
        "x_t": x_t,
        "q_mean": level.alpha * x,
        "q_variance": level.sigma.square() * ones,
        "q_log_variance": 2 * level.sigma.log() * ones,
        "posterior_mean": behind.mean,
        "posterior_variance": (behind.log_variance.exp() * (t > 0).view(-1, 1, 1, 1, 1)) * ones,
        "posterior_log_variance_clipped": behind.log_variance * ones,
        "xstart_from_eps": data_from_noise(x_t, noise, level),
        "eps_from_xstart": noise_from_data(x_t, x, level),
    }


def _moments(case: dict[str, Any], tensors: Tensors) -> dict[str, Tensor]:
    scheduler, x, t = _scheduler(case), tensors["in.x"], tensors["in.t"]
    times = torch.tensor(scheduler.process.timesteps)[t]
    out = AnalyticModel(len(x))(x, times, **_conditioning(tensors, "y"))
    p, data = scheduler.step_distribution(out, x, scheduler.process.level(t, x), clip=_clip(case))
    log_variance = p.log_variance.expand_as(x)
    return {"mean": p.mean, "variance": log_variance.exp(), "log_variance": log_variance, "pred_xstart": data}


def _one_step(steps_of: Callable[[IDDPM], list[Step]], case: dict[str, Any], tensors: Tensors) -> dict[str, Tensor]:
    """Each row at its own step, by itself."""
    scheduler, x, mask = _scheduler(case), tensors["in.x"], tensors.get("in.mask")
    process, made = scheduler.process, []
    for row, t in enumerate(tensors["in.t"].tolist()):
        model, one = AnalyticModel(1), slice(row, row + 1)
        recorded = {"step": tensors["in.noise"][None, one].expand(len(process), -1, -1, -1, -1, -1)}
        if "in.noise_cond" in tensors:
            recorded["given"] = tensors["in.noise_cond"][None, one].expand(len(process), -1, -1, -1, -1, -1)
        draws: Any = RecordedDraws(1, **recorded)
        frames = None if mask is None else JoiningFrames(mask[one], x[one], len(process), draws)
        seen = _Seen(guide(model, _conditioning(tensors, "y", one), None, 1.0, x.shape[1]))
        sample = Descent(seen, process, steps_of(scheduler), x[one], draws, frames).step(t, x[one])
        level = process.level(torch.tensor([t]), x)
        _, data = scheduler.step_distribution(seen.out, seen.x, level, clip=_clip(case))
        made.append({"sample": sample, "pred_xstart": data, "model_timestep": model.timesteps[0]})
        if model.masks:
            made[-1]["x_mask"] = model.masks[0]
    return {name: torch.cat([one[name] for one in made]) for name in made[0]}


class _Seen:
    """A denoiser that keeps what it was given and returned."""

    def __init__(self, denoiser: Any) -> None:
        self.denoiser = denoiser

    def __call__(self, x: Tensor, t: Tensor, x_mask: Tensor | None = None, step: int = 0) -> Tensor:
        self.x, self.out = x, self.denoiser(x, t, x_mask=x_mask, step=step)
        return self.out


def _ddim_step(case: dict[str, Any], tensors: Tensors) -> dict[str, Tensor]:
    return _one_step(lambda one: _steps(one).ddim(case["call"].get("eta", 0.0)), case, tensors)


def _reverse_step(case: dict[str, Any], tensors: Tensors) -> dict[str, Tensor]:
    return _one_step(lambda one: _steps(one).inversion(), case, tensors)


def _steps(scheduler: IDDPM) -> Steps:
    options = scheduler.options
    return Steps(scheduler.process, predict_xstart=options.predict_xstart, clip=options.clip_denoised)


def _ancestral_step(case: dict[str, Any], tensors: Tensors) -> dict[str, Tensor]:
    return _one_step(lambda one: one.steps_of(one.process), case, tensors)


def _loop(case: dict[str, Any], tensors: Tensors) -> dict[str, Tensor]:
    scheduler, x = _scheduler(case), tensors["in.x"]
    eta = case.get("call", {}).get("eta", 0.0)
    steps = _steps(scheduler).ddim(eta) if "ddim" in case["reference"] else scheduler.steps_of(scheduler.process)
    draws: Any = RecordedDraws(len(x), step=tensors["in.noises"]) if "in.noises" in tensors else None
    denoiser = guide(AnalyticModel(len(x)), _conditioning(tensors, "y"), None, 1.0, x.shape[1])
    descent, trajectory = Descent(denoiser, scheduler.process, steps, x, draws, None), [x]
    for i in reversed(range(len(steps))):
        trajectory.append(descent.step(i, trajectory[-1]))
    return {"sample": trajectory[-1], "trajectory": torch.stack(trajectory[1:])}


def _training(case: dict[str, Any], tensors: Tensors) -> dict[str, Tensor]:
    call = {key: tensors[value] if isinstance(value, str) else value for key, value in case.get("call", {}).items()}
    x = tensors["in.x_start"]
    model = AnalyticModel(len(x))
    losses = _scheduler(case).training_losses(
        model,
        x,
        _conditioning(tensors, "y"),
        mask=call.pop("mask", tensors.get("in.mask")),
        noise=tensors["in.noise"],
        t=tensors["in.t"],
        weights=call.pop("weights", tensors.get("in.weights")),
    )
    assert not call, f"unknown arguments: {sorted(call)}"
    return {**losses, "model_timestep": model.timesteps[0]}


def _bits_per_dim(case: dict[str, Any], tensors: Tensors) -> dict[str, Tensor]:
    x = tensors["in.x_start"]
    draws: Any = RecordedDraws(len(x), noise=tensors["in.noises"])
    return _scheduler(case).bits_per_dim(
        AnalyticModel(len(x)), x, _conditioning(tensors, "y"), draws, clip_denoised=_clip(case)
    )


def _sampling(case: dict[str, Any], tensors: Tensors) -> dict[str, Tensor]:
    z, mask, call = tensors["in.z"], tensors.get("in.mask"), dict(case.get("call", {}))
    assert call.pop("mask", "in.mask") == "in.mask" and not call, f"unknown arguments: {sorted(call)}"
    recorded = {"step": tensors["in.noises"]}
    if "in.noises_cond" in tensors:
        recorded["given"] = tensors["in.noises_cond"]
    draws: Any = RecordedDraws(len(z), **recorded)
    model = AnalyticModel(len(z))
    scheduler = IDDPM(IDDPMOptions(**case.get("constructor", {})))
    null = _conditioning(tensors, "y_null")
    samples = scheduler.sample(
        model, z, _conditioning(tensors, "y"), {"y": null["y_null"]} if null else None, draws=draws, mask=mask
    )
    made = {"samples": samples, "timesteps": torch.stack(model.timesteps)[:, 0]}
    return {**made, "x_masks": torch.stack(model.masks)} if model.masks else made


def _guidance(case: dict[str, Any], tensors: Tensors) -> dict[str, Tensor]:
    x, t, y = (tensors[f"in.{name}"] for name in ("x", "t", "y"))
    m, scale, model = len(x) // 2, float(tensors["in.scale"]), AnalyticModel(len(x))
    given = 3 if "v1.0.0" in case["reference"] else case.get("call", {}).get("cfg_channel")
    channels = x.shape[1] if given is None else given
    plain = model(torch.cat([x[:m], x[:m]]), t, y)
    head = guide(model, {"y": y[:m]}, {"y": y[m:]}, scale, channels)(x[:m], t[:m])[:, :channels]
    return {"out": torch.cat([torch.cat([head, head]), plain[:, channels:]], dim=1)}


def _gaussians(case: dict[str, Any], tensors: Tensors) -> dict[str, Tensor]:
    m1, lv1, m2, lv2, x = (tensors[f"in.{name}"] for name in ("m1", "lv1", "m2", "lv2", "x"))
    first, zero = Gaussian(m1, lv1), torch.zeros_like(m1)
    return {
        "normal_kl": normal_kl(first, Gaussian(m2, lv2)),
        "normal_kl_std": normal_kl(first, Gaussian(zero, zero)),
        "cdf": normal_cdf(m1),
        "disc_ll": discrete_log_likelihood(x, first),
        "cont_ll": normal_log_density(x, first),
    }


def _speed(case: dict[str, Any], tensors: Tensors) -> dict[str, Tensor]:
    scheduler, x = SpeedIDDPM(_options(case)), tensors["in.x_start"]
    draws: Any = SpeedDraws(scheduler, tensors["in.draws"], len(x))
    losses = scheduler.training_losses(
        AnalyticModel(len(x)), x, _conditioning(tensors, "y"), draws=draws, noise=tensors["in.noise"]
    )
    left = 1 - scheduler.process.alphas_cumprod
    return {
        "p": scheduler.probabilities,
        "snr": 1 / left - 1,
        "weights": scheduler.weights,
        "meaningful_steps": torch.tensor([scheduler.meaningful_steps]),
        "t": scheduler.draw_timesteps(draws),
        **{f"train_{name}": value for name, value in losses.items()},
    }


MAKERS: dict[str, Callable[[dict[str, Any], Tensors], dict[str, Tensor]]] = {
    "IDDPM": _tables,
    "IDDPM.q_sample": _forward_process,
    "IDDPM.p_mean_variance": _moments,
    "IDDPM.p_sample": _ancestral_step,
    "IDDPM.p_sample_loop": _loop,
    "IDDPM.p_sample_loop_progressive": _loop,
    "IDDPM.ddim_sample": _ddim_step,
    "IDDPM.ddim_reverse_sample": _reverse_step,
    "IDDPM.ddim_sample_loop": _loop,
    "IDDPM.ddim_sample_loop_progressive": _loop,
    "IDDPM.training_losses": _training,
    "IDDPM.calc_bpd_loop": _bits_per_dim,
    "IDDPM.sample": _sampling,
    "forward_with_cfg": _guidance,
    "normal_kl": _gaussians,
    "SpeeDiffusion": _speed,
}


def _part(reference: str) -> str:
    """The first name after project and version."""
    return [*reference.split(", "), "", ""][2].strip()


def _options(case: dict[str, Any]) -> IDDPMOptions:
    """The constructor as options. There, the number of sampling steps shortens the whole process."""
    known = dict(case.get("constructor", {}))
    steps = known.pop("num_sampling_steps", None)
    if steps is not None:
        known["timestep_respacing"] = str(steps)
    if isinstance(known.get("timestep_respacing"), list):
        known["timestep_respacing"] = ",".join(map(str, known["timestep_respacing"]))
    return evolve(IDDPMOptions(**known), clip_denoised=_clip(case))


def _scheduler(case: dict[str, Any]) -> IDDPM:
    return IDDPM(_options(case))


def _clip(case: dict[str, Any]) -> bool:
    """Predicted data are clamped unless the case says otherwise."""
    return bool(case.get("call", {}).get("clip_denoised", True))


def _conditioning(tensors: Tensors, name: str, rows: slice = slice(None)) -> dict[str, Tensor]:
    return {name: tensors[f"in.{name}"][rows]} if f"in.{name}" in tensors else {}


def _check(case: dict[str, Any], tensors: Tensors, made: Tensors) -> None:
    wanted = {key.removeprefix("out."): value for key, value in tensors.items() if key.startswith("out.")}
    assert wanted, "the case expects nothing"
    tolerance = {**case["tolerance"], **case.get("tolerance_exact_tables", {})}
    for name, value in wanted.items():
        assert name in made, f"no way to make {name}"
        _close(name, made[name], value, tolerance[name])


def _close(name: str, made: Tensor, wanted: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(
        made.double(),
        wanted.double(),
        rtol=0,
        atol=tolerance,
        equal_nan=True,
        msg=lambda text: f"{name}: {text}",
    )
