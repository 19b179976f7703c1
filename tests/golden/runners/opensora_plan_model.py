"""Cases of Open-Sora-Plan's transformers: one call, with gradients or without; listings; whole sampling loops with the
ancestral Euler sampler, or another one of diffusers that draws no noise."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import vidgen_opensora_plan
from comparing import close, inputs, outputs
from torch import Tensor
from vidgen.interfaces import Context
from vidgen_diffusers import DiffusersOptions
from vidgen_diffusers.scheduler import DiffusersScheduler
from vidgen_diffusers.scheduler import build as build_of_diffusers
from vidgen_euler_ancestral import EulerAncestralOptions
from vidgen_euler_ancestral.scheduler import EulerAncestral
from vidgen_euler_ancestral.scheduler import build as build_process
from vidgen_opensora_plan.inpaint import OpenSoraInpaint
from vidgen_opensora_plan.inpaint import build as build_inpaint
from vidgen_opensora_plan.t2v import OpenSoraT2V
from vidgen_opensora_plan.t2v import build as build_t2v
from weight_rule import check_listing, fill

PROJECT = "PKU-YuanGroup/Open-Sora-Plan"
FAMILIES = ("OpenSoraT2V_v1_3", "OpenSoraInpaint_v1_3")
LOOP = "OpenSoraPipeline denoising loop"
OWN_CLASS = "EulerAncestralDiscreteScheduler"
WITHOUT_EFFECT = ("sample_size_h", "sample_size_w", "sample_size_t", "sample_size")
OPTIONS = {component.name: component.options for component in vidgen_opensora_plan.vidgen_models()}

Model = OpenSoraT2V | OpenSoraInpaint


def matches(reference: str, case: dict[str, Any]) -> bool:
    """Whether the case's reference is one of the transformers, or the loop around one."""
    return reference.startswith(PROJECT) and (LOOP in reference or _name(reference).split("-")[0] in FAMILIES)


def run(case: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> None:
    """Run one case. Raises: AssertionError, when a number or name differs."""
    if not tensors:
        _run_listing(case)
    elif LOOP in case["reference"]:
        _check(case, tensors, _sampled(case, tensors))
    else:
        _check(case, tensors, _called(case, tensors))


def _name(reference: str) -> str:
    """`.. v1.3.0 OpenSoraT2V_v1_3-2B/122` -> `OpenSoraT2V_v1_3-2B/122`."""
    return reference.rpartition(" ")[2]


def _run_listing(case: dict[str, Any]) -> None:
    with torch.device("meta"):
        model = _built(_name(case["reference"]), case["constructor"])
    check_listing(model, case["state_dict"])
    assert sum(value.numel() for value in model.parameters()) == case["parameters"]
    assert sum(value.numel() for value in model.buffers()) == case["buffer_elements"]


def _called(case: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    given = inputs(tensors)
    model = _built(_name(case["reference"]), case["constructor"])
    fill(model, case["state_dict"], case["kept"])
    model.train(case["mode"] == "train")
    made = {"out": _predicted(model, given)}
    if "w" in given:
        made["loss"] = (made["out"] * given["w"]).mean()
        made["loss"].backward()
    slopes = {
        name: model.get_parameter(name.removeprefix("grad.")).grad for name in outputs(tensors) if "grad." in name
    }
    return made | {name: slope for name, slope in slopes.items() if slope is not None}


def _predicted(model: Model, given: dict[str, Tensor]) -> Tensor:
    """The reference leaves out rows and columns that fill no patch; all else is equal."""
    side = model.side
    x, valid = (
        value[..., : value.shape[-2] // side * side, : value.shape[-1] // side * side]
        for value in (given["hidden_states"], given["attention_mask"])
    )
    common = {
        "timestep": given["timestep"],
        "y": given["encoder_hidden_states"],
        "mask": given["encoder_attention_mask"].flatten(1),
        "attention_mask": valid,
    }
    if isinstance(model, OpenSoraT2V):
        return model(x, **common)
    noisy, shown, to_make = x.split([model.latent_channels, model.latent_channels, model.frames], dim=1)
    return model(noisy, masked_video=shown, video_mask=to_make, **common)


def _sampled(case: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    given, call = inputs(tensors), case["call"]
    model = _built("OpenSoraT2V_v1_3", case["constructor"]["transformer"]).eval()
    fill(model, case["state_dict"], case["kept"])
    process = _process(case)
    watched = _Watched(model)
    latents = process.sample(
        watched,
        given["latents"],
        *(
            {"y": given[f"{kind}prompt_embeds"], "mask": given[f"{kind}prompt_attention_mask"]}
            for kind in ("", "negative_")
        ),
        max(1.0, call["guidance_scale"]),  # the reference guides where it is above 1
        draws=_StepNoise(given["step_noise"]) if "step_noise" in given else None,
    )
    made = {"latents": latents}
    if len(watched.inputs) > 1:
        second = watched.inputs[1][: len(latents)]  # with guidance, there are two of each
        made["latents_after_first_step"] = second / _scale_of_second_input(process)
    return made


def _process(case: dict[str, Any]) -> EulerAncestral | DiffusersScheduler:
    call, config = case["call"], case["constructor"]["scheduler"]
    given = {"num_sampling_steps": call["num_inference_steps"], "guidance_rescale": call["guidance_rescale"]}
    named = re.search(r"diffusers (\w+)", case["reference"])
    assert named, "the case names no scheduler"
    if named[1] == OWN_CLASS:
        return build_process(EulerAncestralOptions(**config, **given), Context())
    flow = {"flow_target": "flow"} if named[1].startswith("FlowMatch") else {}
    return build_of_diffusers(named[1], DiffusersOptions(config=config, **flow, **given), Context())


def _scale_of_second_input(process: EulerAncestral | DiffusersScheduler) -> float:
    """Between the state after the first step and what the model is shown of it."""
    steps = process.num_sampling_steps
    if isinstance(process, EulerAncestral):
        return (process.course(steps).sigmas[1] ** 2 + 1) ** -0.5
    if not process.family.scales:
        return 1.0
    return process.family.levels(process.library.begin(steps, torch.device("cpu"))).scale[1].item()


class _StepNoise:
    """Draws that return the recorded noise of each step, (steps, B, C, T, H, W)."""

    def __init__(self, noise: Tensor) -> None:
        self.noise = noise

    def __len__(self) -> int:
        return self.noise.shape[1]

    def normal(self, purpose: str, shape: Sequence[int], *, device: object = "cpu", step: int = 0) -> Tensor:
        assert purpose == "step" and self.noise.shape[2:] == tuple(shape)
        return self.noise[step]


class _Watched:
    """A model that keeps what it is asked."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.inputs: list[Tensor] = []

    def __call__(self, x: Tensor, t: Tensor, **conditioning: Tensor) -> Tensor:
        self.inputs.append(x)
        return self.model(x, t, **conditioning)


def _built(name: str, constructor: dict[str, Any]) -> Model:
    given = {key: value for key, value in constructor.items() if key not in WITHOUT_EFFECT}
    options = OPTIONS[name](**given)
    return (build_inpaint if "Inpaint" in name else build_t2v)(options, Context())


def _check(case: dict[str, Any], tensors: dict[str, Tensor], made: dict[str, Tensor]) -> None:
    tolerances = case.get("tolerance_per_output", {})
    for name, wanted in outputs(tensors).items():
        assert name in made, f"no way to make {name}"
        close(name, made[name], wanted, tolerances.get(name, case["tolerance"]))
