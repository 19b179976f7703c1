"""Cases of the rectified flow process: Open-Sora 1.2's RFLOW, RFlowScheduler and timestep_transform."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from analytic_model import AnalyticModel
from torch import Tensor
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen_rflow import RFlowOptions
from vidgen_rflow.path import add_noise, shift_timesteps
from vidgen_rflow.scheduler import RFlow, build

SIZES = ("height", "width", "num_frames")


def matches(reference: str, case: dict[str, Any]) -> bool:
    """Whether this file runs the case: it names a part of the rectified flow process."""
    part = reference.rsplit(",", 1)[-1].strip()
    return part.split(".")[0] in ("RFLOW", "RFlowScheduler", "timestep_transform")


def run(case: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> None:
    """Run one case. Raises: AssertionError, when a number differs or the case asks for something unknown."""
    part = case["reference"].rsplit(",", 1)[-1].strip()
    if "cases" in case:
        for entry in case["cases"]:
            _run_entry(entry, case.get("tolerance", 0.0))
    elif part == "timestep_transform":
        _run_transform(case, tensors)
    elif part.endswith("add_noise"):
        x_t = add_noise(tensors["in.x"], tensors["in.noise"], tensors["in.t"], _scheduler(case).num_timesteps)
        _check(case, tensors, {"x_t": x_t})
    elif part.endswith("training_losses"):
        _run_training(case, tensors)
    elif part.endswith("sample"):
        _run_sampling(case, tensors)
    else:
        raise AssertionError(f"no way to run {part}")


class RecordedDraws:
    """Draws that return recorded numbers, whatever the address."""

    def __init__(self, batch: int, timestep: Tensor | None = None, steps: Tensor | None = None) -> None:
        self.batch = batch
        self.timestep = timestep
        self.steps = steps

    def __len__(self) -> int:
        return self.batch

    def normal(self, purpose: str, shape: Sequence[int], *, device: object = "cpu", step: int = 0) -> Tensor:
        numbers = self.steps[step] if purpose == "step" else self.timestep
        assert numbers.shape == (self.batch, *shape)
        return numbers

    def uniform(self, purpose: str, shape: Sequence[int] = (), *, device: object = "cpu", step: int = 0) -> Tensor:
        assert self.timestep.is_floating_point()
        return self.timestep

    def integers(
        self, purpose: str, high: int, shape: Sequence[int] = (), *, device: object = "cpu", step: int = 0
    ) -> Tensor:
        assert not self.timestep.is_floating_point()
        return self.timestep


class ConsumedDraws:
    """Draws taken one after another from a single generator, as the reference project takes them."""

    def __init__(self, batch: int, seed: int) -> None:
        self.batch = batch
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self.batch

    def normal(self, purpose: str, shape: Sequence[int], *, device: object = "cpu", step: int = 0) -> Tensor:
        return torch.randn((self.batch, *shape), generator=self.generator)

    def uniform(self, purpose: str, shape: Sequence[int] = (), *, device: object = "cpu", step: int = 0) -> Tensor:
        return torch.rand((self.batch, *shape), generator=self.generator)

    def integers(
        self, purpose: str, high: int, shape: Sequence[int] = (), *, device: object = "cpu", step: int = 0
    ) -> Tensor:
        return torch.randint(high, (self.batch, *shape), generator=self.generator)


def _run_transform(case: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    call = dict(case.get("call", {}))
    sizes = [tensors[f"in.{name}"] for name in SIZES]
    _check(case, tensors, {"new_t": shift_timesteps(tensors["in.t"], *sizes, **call)})


def _run_training(case: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    call = _call(case, tensors)
    x = tensors["in.x_start"]
    model = AnalyticModel(len(x))
    draws = RecordedDraws(len(x), timestep=tensors["in.draws"]) if "in.draws" in tensors else None
    t = tensors.get("in.t")
    losses = _scheduler(case).training_losses(
        model,
        x,
        _conditioning(tensors, "y"),
        draws=draws,
        mask=call.pop("mask", tensors.get("in.mask")),
        noise=tensors["in.noise"],
        t=t,
        sizes=_sizes(tensors),
        weights=call.pop("weights", tensors.get("in.weights")),
    )
    assert not call, f"unknown arguments: {sorted(call)}"
    _check(case, tensors, {"loss": losses["loss"], "model_timestep": model.timesteps[0]})


def _run_sampling(case: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    call = _call(case, tensors)
    z = tensors["in.z"]
    model = AnalyticModel(len(z))
    samples = _scheduler(case).sample(
        model,
        z,
        _conditioning(tensors, "y"),
        _conditioning(tensors, "y_null"),
        call.pop("guidance_scale", None),
        draws=RecordedDraws(len(z), steps=tensors["in.noises"]) if "in.noises" in tensors else None,
        mask=call.pop("mask", tensors.get("in.mask")),
        sizes=_sizes(tensors),
    )
    assert not call, f"unknown arguments: {sorted(call)}"
    made = {"samples": samples, "model_timesteps": torch.stack(model.timesteps)}
    if model.masks:
        made["x_masks"] = torch.stack(model.masks)
    _check(case, tensors, made)


def _run_entry(entry: dict[str, Any], tolerance: float) -> None:
    if "result" in entry:
        _run_validation(entry)
    elif "quantiles" in entry:
        _run_statistics(entry, tolerance)
    elif "torch_seed" in entry:
        _run_seeded(entry, tolerance)
    else:
        sizes = [torch.tensor(entry[name]) for name in SIZES]
        _close("new_t", shift_timesteps(torch.tensor(entry["t"]), *sizes), entry["float32_new_t"], tolerance)


def _run_validation(entry: dict[str, Any]) -> None:
    try:
        _scheduler(entry)
        result = "ok"
    except (UserError, ValueError):
        result = "refused"
    assert (result == "ok") == (entry["result"] == "ok"), f"{entry['constructor']}: {result}"


def _run_statistics(entry: dict[str, Any], tolerance: float) -> None:
    count = 200_000
    sizes = _uniform_sizes(entry, count)
    t = _scheduler(entry).draw_timesteps(ConsumedDraws(count, seed=5), sizes).double() / 1000
    _close("mean", t.mean(), entry["mean"], tolerance)
    _close("std", t.std(), entry["std"], tolerance)
    levels = torch.tensor(entry["quantile_levels"], dtype=torch.float64)
    _close("quantiles", torch.quantile(t, levels), entry["quantiles"], tolerance)
    assert t.min() >= entry["min_at_least"]
    assert t.max() <= entry["max_at_most"]


def _run_seeded(entry: dict[str, Any], tolerance: float) -> None:
    batch = entry["batch"]
    model = _Recorder()
    sizes = _uniform_sizes(entry, batch)
    _scheduler(entry).training_losses(
        model,
        torch.zeros(batch, 2, 1, 1, 1),
        {},
        draws=ConsumedDraws(batch, entry["torch_seed"]),
        sizes=None if sizes is None else dict(zip(SIZES, sizes, strict=True)),
    )
    _close("t", model.t, entry["t"], tolerance)
    _close("x_t", model.x.flatten(1), entry["x_t_for_zero_data"], tolerance)


class _Recorder:
    """A model that predicts zero and keeps its input."""

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        self.x, self.t = x, t
        return torch.zeros_like(x)


def _scheduler(case: dict[str, Any]) -> RFlow:
    return build(RFlowOptions(**case.get("constructor", {})), Context())


def _call(case: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The case's arguments, tensors in the place of their names; nothing at all where it names none."""
    call = case.get("call", {})
    return {key: tensors[value] if isinstance(value, str) else value for key, value in call.items()}


def _conditioning(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor] | None:
    if f"in.{name}" in tensors:
        return {"y": tensors[f"in.{name}"]}
    return {} if name == "y" else None


def _sizes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensors[f"in.{name}"] for name in SIZES if f"in.{name}" in tensors}


def _uniform_sizes(entry: dict[str, Any], count: int) -> tuple[Tensor, Tensor, Tensor] | None:
    if not entry["height_width_frames"]:
        return None
    height, width, frames = (torch.full((count,), float(number)) for number in entry["height_width_frames"])
    return height, width, frames


def _check(case: dict[str, Any], tensors: dict[str, Tensor], made: Mapping[str, Tensor]) -> None:
    wanted = {key.removeprefix("out."): value for key, value in tensors.items() if key.startswith("out.")}
    assert wanted, "the case expects nothing"
    for name, value in wanted.items():
        tolerance = case["tolerance"]
        _close(name, made[name], value, tolerance[name] if isinstance(tolerance, dict) else tolerance)


def _close(name: str, made: Tensor, wanted: Any, tolerance: float) -> None:
    wanted = torch.as_tensor(wanted)
    assert made.is_floating_point() == wanted.is_floating_point(), f"{name}: {made.dtype}, wanted {wanted.dtype}"
    torch.testing.assert_close(
        made.double(), wanted.double(), rtol=0, atol=tolerance, equal_nan=True, msg=lambda text: f"{name}: {text}"
    )
