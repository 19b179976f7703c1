"""Cases of the STDiT models of Open-Sora: forward passes, gradients, conversions, listings of full sizes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import vidgen_stdit
from comparing import close, close_gradient, inputs, outputs
from torch import Tensor, nn
from vidgen.interfaces import Context
from vidgen.weights import Converted
from vidgen_stdit import stdit1, stdit2, stdit3, weights
from weight_rule import check_listing, fill, values

BUILD: dict[str, Callable[[Any, Context], nn.Module]] = {
    "STDiT": stdit1.build,
    "STDiT2": stdit2.build,
    "STDiT3": stdit3.build,
}
CONVERT: dict[str, Callable[..., Converted]] = {
    "STDiT": weights.to_stdit,
    "STDiT2": weights.to_stdit2,
    "STDiT3": weights.to_stdit3,
}
NOT_OF_THE_MODEL = {"w", "force_drop_ids"}


def matches(reference: str, case: dict[str, Any]) -> bool:
    """Whether the case's class is one of this family that vidgen has."""
    return reference.startswith("hpcaitech/Open-Sora") and _name(case) in BUILD


def run(case: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> None:
    """Run one case. Raises: AssertionError, when a number or name differs or the case asks for something unknown."""
    if "variant" in case:
        _run_listing(case)
        return
    model = _model(case)
    if "source_state_dict" in case:
        _load_converted(case, model)
    else:
        fill(model, case["state_dict"], case["kept"])
    model.train({"train": True, "eval": False}[case["mode"]])
    given, wanted = inputs(tensors), outputs(tensors)
    out = model(**_arguments(case, given))
    made = {"out": out}
    if "y_embedder" in wanted:
        made["y_embedder"] = _captions(model, given)
    if "w" in given:
        made["loss"] = (out * given["w"]).mean().reshape(1)
        made["loss"].backward()
    _compare(case, model, made, wanted)


def _compare(case: dict[str, Any], model: nn.Module, made: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    for name, value in wanted.items():
        if name.startswith("grad."):
            parameter = parameters[name.removeprefix("grad.")]
            close_gradient(name, parameter.grad, value, _fraction(case["tolerance_grad"]))
        else:
            assert name in made, f"no way to make {name}"
            close(name, made[name], value, case["tolerance"])


def _run_listing(case: dict[str, Any]) -> None:
    options = _component_options(case["variant"].split(" ")[0])  # "STDiT2-XL/2 (default switches)"
    with torch.device("meta"):
        model = BUILD[_name(case)](options(**_options(case)), Context(load_weights=False))
    check_listing(model, case["state_dict"])
    saved = model.state_dict().keys()
    assert sum(p.numel() for p in model.parameters()) == case["parameters"]
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == case["trainable"]
    buffers = {name: list(b.shape) for name, b in model.named_buffers() if name in saved}
    assert buffers == case["buffers_in_state_dict"]


def _model(case: dict[str, Any]) -> nn.Module:
    name = _name(case)
    return BUILD[name](_component_options(name)(**_options(case)), Context())


def _name(case: dict[str, Any]) -> str:
    return case["reference"].split()[-1]


def _component_options(name: str) -> Callable[..., Any]:
    return {component.name: component.options for component in vidgen_stdit.vidgen_models()}[name]


def _options(case: dict[str, Any]) -> dict[str, Any]:
    """The case's constructor arguments. STDiT2 had no `qk_norm_legacy` at tag v1.1.0, where that order was the rule."""
    older = {"qk_norm_legacy": True} if _name(case) == "STDiT2" and case["reference"].split()[1] == "v1.1.0" else {}
    return older | {key: tuple(v) if isinstance(v, list) else v for key, v in case["constructor"].items()}


def _load_converted(case: dict[str, Any], model: nn.Module) -> None:
    """Into the freshly made model, as the reference loads: what is missing stays, what is not known is dropped."""
    check_listing(model, case["state_dict"])
    converted = CONVERT[_name(case)](values(case["source_state_dict"]), model.state_dict())
    missing, unexpected = model.load_state_dict(converted.state, strict=False)
    for key, found in (("missing_after_load", missing), ("unexpected_after_load", unexpected)):
        strange = set(found) - set(case.get(key, found))
        assert not strange, f"{key}: {sorted(strange)}"


def _arguments(case: dict[str, Any], given: dict[str, Tensor]) -> dict[str, Any]:
    arguments: dict[str, Any] = {name: value for name, value in given.items() if name not in NOT_OF_THE_MODEL}
    for name, form in case.get("argument_forms", {}).items():
        arguments[name] = _in_form(arguments[name], form)
    return arguments | {name: value for name, value in case["call"].items() if value is not None}


def _in_form(value: Tensor, form: str) -> Any:
    if "list" in form:
        return value.tolist()
    assert form in ("int", "float", "bool"), f"unknown form of an argument: {form!r}"
    return value.item()


def _captions(model: nn.Module, given: dict[str, Tensor]) -> Tensor:
    training = model.training
    model.eval()
    captions = model.y_embedder(given["y"], given["force_drop_ids"] == 1)
    model.train(training)
    return captions


def _fraction(rule: str) -> float:
    """`... <= 1e-4 * max|reference gradient|` -> 1e-4."""
    found = re.search(r"([\d.]+e-?\d+|[\d.]+) \* max\|reference gradient\|", rule)
    assert found, f"no tolerance in {rule!r}"
    return float(found[1])
