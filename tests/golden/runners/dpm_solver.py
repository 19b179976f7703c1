"""Cases of DPM-Solver: Open-Sora's DPM_SOLVER, DPM_Solver and NoiseScheduleVP."""

from pathlib import Path
from typing import Any

import attrs
import torch
from analytic_model import AnalyticModel
from comparing import close, outputs
from torch import Tensor
from vidgen.interfaces import Context
from vidgen_dpm_solver import DPMSolverOptions
from vidgen_dpm_solver.plan import make_plan
from vidgen_dpm_solver.schedule import NoiseSchedule
from vidgen_dpm_solver.scheduler import DPMSolver, build

PARTS = ("DPM_SOLVER.sample", "DPM_Solver.sample", "DPM_Solver.get_time_steps", "NoiseScheduleVP")
KINDS = {"noise": "epsilon", "x_start": "sample", "v": "v_prediction", "score": "score"}
NAMES = {"cosine": "squaredcos_cap_v2"}
RENAMED = {"model_type": "prediction_type", "guidance_scale": "cfg_scale", "steps": "num_sampling_steps"}
GUIDED = "classifier-free"


def matches(reference: str, case: dict[str, Any]) -> bool:
    """Whether this file runs the case: it names a part of the solver."""
    return bool(_part(reference))


def run(case: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> None:
    """Run one case. Raises: AssertionError, when a number differs or the case asks for something unknown."""
    part = _part(case["reference"])
    if part.endswith("get_time_steps"):
        _run_grids(case)
    elif part == "NoiseScheduleVP":
        _check(case, tensors, _schedule_functions(_scheduler(case).schedule, tensors))
    else:
        _check(case, tensors, _sampled(case, tensors))


def _part(reference: str) -> str:
    """The first part of the solver that is named, or nothing."""
    return next((part for part in map(str.strip, reference.split(",")) if part in PARTS), "")


def _run_grids(case: dict[str, Any]) -> None:
    assert case["cases"]
    for entry in case["cases"]:
        noise = {key: entry[key] for key in ("schedule", "betas") if key in entry}
        schedule = _scheduler({"constructor": {**case.get("constructor", {}), **noise}}).schedule
        times = schedule.grid(entry["skip_type"], entry["steps"]).float()
        close(f"{entry['skip_type']} {entry['steps']}", times, torch.tensor(entry["times"]), case["tolerance"])


def _schedule_functions(schedule: NoiseSchedule, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    levels = schedule.levels(tensors["in.t"].double())
    made = {
        "log_alpha": schedule.log_alpha(tensors["in.t"].double()),
        "alpha": torch.tensor([level.alpha for level in levels]),
        "sigma": torch.tensor([level.sigma for level in levels]),
        "lam": schedule.half_log_snr(tensors["in.t"].double()),
        "inverse": schedule.time(tensors["in.lam"].double()),
    }
    return {name: value.float() for name, value in made.items()} | {"n_kept": torch.tensor([schedule.num_levels])}


def _sampled(case: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    scheduler, z = _scheduler(case), tensors["in.z"]
    model = Watched(len(z), 1000 / scheduler.schedule.num_timesteps)
    guided = case["constructor"].get("guidance_type", GUIDED) == GUIDED
    conditioning = ({"y": tensors["in.y"]}, {"y": tensors["in.y_null"]}) if guided else ({}, None)
    samples = scheduler.sample(model, z, *conditioning)
    plan = make_plan(scheduler.schedule, scheduler.options, scheduler.num_sampling_steps)
    states = [x for x, call in zip(model.states, plan, strict=True) if call.opens]
    first = 1 if scheduler.options.method == "singlestep" else 0  # whose recorded states begin after the first step
    return {
        "samples": samples,
        "trajectory": torch.stack([*states[first:], samples]),
        "model_timesteps": torch.stack([t[0] for t in model.seen.timesteps]),
        "model_batch": torch.tensor(model.seen.batches),
    }


class Watched:
    """The cases' model, told the time in thousandths of the whole as in the reference. Keeps the states of the first
    `batch` rows that it is shown."""

    def __init__(self, batch: int, scale: float) -> None:
        self.seen, self.scale = AnalyticModel(batch), scale
        self.states: list[Tensor] = []

    def __call__(self, x: Tensor, t: Tensor, **conditioning: Tensor) -> Tensor:
        self.states.append(x[: self.seen.batch])
        return self.seen(x, t * self.scale, **conditioning)


def _scheduler(case: dict[str, Any]) -> DPMSolver:
    """As the case's constructor and call have it. Raises: AssertionError, for what there is no option for."""
    given = {**case.get("constructor", {}), **case.get("call", {})}
    kind, *words = f"{given.pop('schedule', 'discrete')} {given.pop('betas', '')}".split()
    assert kind == "discrete", f"no way to make the noise schedule {kind!r}"
    name, number = words or ("linear", "1000")
    assert given.pop("guidance_type", GUIDED) in (GUIDED, "uncond")
    options = {RENAMED.get(key, key): value for key, value in given.items()}
    if "prediction_type" in options:
        options["prediction_type"] = KINDS[options["prediction_type"]]
    unknown = set(options) - {field.name for field in attrs.fields(DPMSolverOptions)}
    assert not unknown, f"no option for {sorted(unknown)}"
    noise = {"noise_schedule": NAMES.get(name, name), "diffusion_steps": int(number)}
    return build(DPMSolverOptions(**noise, **options), Context())


def _check(case: dict[str, Any], tensors: dict[str, Tensor], made: dict[str, Tensor]) -> None:
    for name, wanted in outputs(tensors).items():
        close(name, made[name], wanted, case["tolerance"][name])
