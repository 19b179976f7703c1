"""The form of the cases of DiT, Latte and PixArt: one model call, plain or guided, with or without gradients, or the
label or caption embedder alone; and listings of full-size models.

Letters: B rows of a batch, m = B / 2 rows of a guided one.
"""

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatch
from typing import Any

import torch
from attrs import frozen
from comparing import close, inputs, outputs
from torch import Tensor, nn
from vidgen.guidance.denoiser import guide
from vidgen.weights import Converted
from weight_rule import Entry, values

KEPT_TOLERANCE = 1e-6
DTYPES = {
    **dict.fromkeys(("None", "fp32", "float", "float32"), torch.float32),
    **dict.fromkeys(("fp16", "half", "float16"), torch.float16),
    **dict.fromkeys(("bf16", "bfloat16"), torch.bfloat16),
}


def unchanged(value: Any) -> Any:
    """For references whose form is vidgen's own."""
    return value


@frozen(kw_only=True)
class Subject:
    """A model with the weights of a case, and how its reference differs in form.

    state: its entries by the reference's names. guided: how many channels the reference's own guided forward guides.
    embed: the label or caption embedder, (y, drop (B,) bool) -> vectors, where there is one.
    inward: the reference's x to (B, C, T, H, W). outward: the prediction, (B, C, T, H, W), to the reference's form.
    keywords: what the reference is handed besides x and t, by its names, to keywords of the model.
    """

    model: nn.Module
    state: Mapping[str, Tensor]
    guided: int
    embed: Callable[[Tensor, Tensor], Tensor] | None = None
    inward: Callable[[Tensor], Tensor] = unchanged
    outward: Callable[[Tensor], Tensor] = unchanged
    keywords: Callable[[dict[str, Tensor]], dict[str, Tensor]] = unchanged


def run_call(case: dict[str, Any], tensors: dict[str, Tensor], subject: Subject) -> None:
    """Run a case that calls a model. Raises: AssertionError, when a number differs."""
    check_kept(tensors, subject.state)
    given, wanted = inputs(tensors), outputs(tensors)
    subject.model.eval()
    if "force_drop_ids" in given:
        assert subject.embed is not None, "the case runs an embedder, the model has none"
        subject.model.train(case["call"].get("train", False))
        made = {"emb": subject.embed(given["y"], given["force_drop_ids"] == 1)}
    else:
        slope = given.pop("w", None)
        made = {"y": predict(case, given, subject)}
        if slope is not None:
            made["loss"] = (made["y"] * slope).mean()
            made["loss"].backward()
    check_wanted(case, made | gradients(subject.model, wanted), wanted)


def predict(case: dict[str, Any], given: dict[str, Tensor], subject: Subject) -> Tensor:
    """The prediction in the reference's form, guided where the case says so. given: `x`, `t` and conditioning."""
    x, t = subject.inward(given["x"]), given["t"]
    conditioning = subject.keywords({name: value for name, value in given.items() if name not in ("x", "t")})
    if "cfg_scale" not in case["call"]:
        return subject.outward(subject.model(x, t, **conditioning))
    return subject.outward(guided(case, subject, x, t, conditioning))


def guided(case: dict[str, Any], subject: Subject, x: Tensor, t: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
    """The guided forward of x (B, C, T, H, W), whose rows behind m are ignored: both halves of the prediction."""
    m, scale = len(x) // 2, case["call"]["cfg_scale"]
    plain = subject.model(torch.cat([x[:m], x[:m]]), t, **conditioning)
    channels = guided_channels(case, plain.shape[1], subject.guided)
    if torch.equal(t[:m], t[m:]):
        real, null = ({key: half(value, i, len(x)) for key, value in conditioning.items()} for i in (0, 1))
        head = guide(subject.model, real, null, scale, channels)(x[:m], t[:m])[:, :channels]
    else:
        e, e_null = plain[:, :channels].chunk(2)
        head = e_null + scale * (e - e_null)
    return torch.cat([torch.cat([head, head]), plain[:, channels:]], dim=1)


def guided_channels(case: dict[str, Any], out_channels: int, own: int) -> int:
    """The sampler's rule where the case runs the sampler's function, else `own`, the model's."""
    if "iddpm" not in case["reference"] and "cfg_channel" not in case["call"]:
        return own
    given = case["call"].get("cfg_channel")
    return out_channels // 2 if given is None else int(given)


def half(value: Tensor, i: int, rows: int) -> Tensor:
    """Half i, 0 or 1, of a value of `rows` rows; one of fewer rows holds for both halves."""
    return value.chunk(2)[i] if len(value) == rows else value


def gradients(model: nn.Module, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those that the case expects, in its shapes: an image model's patch weight has one axis less."""
    made = {}
    for name in (name for name in wanted if name.startswith("grad.")):
        slope = model.get_parameter(name.removeprefix("grad.")).grad
        assert slope is not None, f"{name}: no gradient"
        made[name] = slope.reshape(wanted[name].shape)
    return made


def check_wanted(case: dict[str, Any], made: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Compare within the case's tolerances. Raises: AssertionError."""
    tolerance = case["tolerance"]
    for name, value in wanted.items():
        assert name in made, f"no way to make {name}"
        close(name, made[name], value, tolerance.get("per_output", {}).get(name, tolerance["atol"]))


def check_kept(tensors: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Tables that are worked out, not loaded. Raises: AssertionError."""
    for name, value in tensors.items():
        if name.startswith("kept."):
            close(name, state[name.removeprefix("kept.")], value, KEPT_TOLERANCE)


def check_entries(state: Mapping[str, Tensor], expected: Iterable[Entry]) -> None:
    """The same names, shapes and types, in any order. Raises: AssertionError, naming the first others."""
    own = {name: [list(value.shape), str(value.dtype).removeprefix("torch.")] for name, value in state.items()}
    wanted = {name: [shape, dtype] for name, shape, dtype in expected}
    others = [(name, own.get(name), wanted.get(name)) for name in sorted(own | wanted)]
    assert own == wanted, f"entry, made, wanted: {[entry for entry in others if entry[1] != entry[2]][:5]}"


def check_listing(case: dict[str, Any], model: nn.Module) -> None:
    """A full-size model under its own names. Raises: AssertionError."""
    check_entries(model.state_dict(), case["state_dict"])
    assert sum(p.numel() for p in model.parameters()) == case["parameters"]
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == case["trainable"]
    assert sorted(name for name, _ in model.named_buffers()) == sorted(case["buffers"])


def check_other_listing(case: dict[str, Any], state: Mapping[str, Tensor], tables: Iterable[str]) -> None:
    """A full-size model under the names of a reference that keeps its tables as parameters that do not learn, or
    learns all there is. state: the entries; tables: names of the tables. Raises: AssertionError."""
    check_entries(state, case["state_dict"])
    inner = set(case["buffers"])
    assert inner <= set(state), f"buffers not made: {sorted(inner - set(state))}"
    parameters = sum(value.numel() for name, value in state.items() if name not in inner)
    assert parameters == case["parameters"]
    assert parameters - sum(state[name].numel() for name in set(tables) - inner) == case["trainable"]


def fill_from(case: dict[str, Any], model: nn.Module, state: Mapping[str, Tensor], convert: Any) -> None:
    """Fill a model through a conversion. state: its entries by the case's names, compared with the case's listing.
    convert: (state dict as published, own) -> Converted. Raises: AssertionError, when anything is missing or left."""
    check_entries(state, case["state_dict"])
    converted: Converted = convert(values(case["state_dict"], case["kept"]), model.state_dict())
    missing, unexpected = model.load_state_dict(
        {name: value for name, value in converted.state.items() if not any_fits(name, converted.dropped)}, strict=False
    )
    lacking = [name for name in missing if not any_fits(name, converted.fresh)]
    assert not lacking and not unexpected, f"not filled: {lacking[:5]}; without a place: {unexpected[:5]}"


def any_fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name fits one of the patterns."""
    return any(fnmatch(name, pattern) for pattern in patterns)


def video_options(case: dict[str, Any]) -> dict[str, Any]:
    """The constructor of a video-form case as options; `dtype` is left to `cast`. Raises: AssertionError, for a switch
    that has to be off."""
    given = dict(case["constructor"])
    assert not given.pop("enable_sequence_parallelism", False), "sequence parallelism is put on from outside"
    given.pop("dtype", None)
    if "enable_flashattn" in given:  # as Open-Sora 1.0 and 1.1 spell it
        given["enable_flash_attn"] = given.pop("enable_flashattn")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def cast(case: dict[str, Any], model: nn.Module) -> nn.Module:
    """The model in the dtype that the case's constructor names."""
    return model.to(DTYPES[str(case["constructor"].get("dtype")).removeprefix("torch.")])
