"""Models, and the attention backends inside them.

A fresh transformer often returns zeros (adaLN-Zero), which would hide every fault: weights are moved first.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from vidgen.attention import Explicit, key_mask, segments
from vidgen.interfaces import Size3
from vidgen.rng import torch_generator
from vidgen.testing.declared import declares
from vidgen.testing.subject import ROWS, Subject, alike, devices, seeded, steady
from vidgen.testing.tiny import boxes, draws_of, tiny_clips, tiny_model_inputs

Inputs = tuple[Tensor, Tensor, dict[str, Tensor]]
SHOWN = ("masked_video", "video_mask")  # as large as x


def _predicts(subject: Subject) -> Iterator[str]:
    model, (x, t, conditioning) = _ready(subject)
    out = _run(model, (x, t, conditioning))
    sizes = [(len(x), factor * x.shape[1], *x.shape[2:]) for factor in (1, 2)]
    if tuple(out.shape) not in sizes or out.dtype != torch.float32:
        yield f"of x {tuple(x.shape)} it must predict {sizes[0]} or {sizes[1]} in float32, not {_shown(out)}"
    yield from steady("the prediction in eval()", lambda rows: _run(model, _inputs(subject, model, rows)))


def _heeds_its_conditioning(subject: Subject) -> Iterator[str]:
    model, (x, t, conditioning) = _ready(subject)
    model.train()
    out = _run(model, (x, t, conditioning))
    others = {"timestep": (x, t / 2, conditioning)}
    others |= {key: (x, t, {**conditioning, key: _other(value)}) for key, value in conditioning.items()}
    for key, inputs in others.items():
        if torch.equal(out, _run(model, inputs)):
            yield f"the prediction does not depend on `{key}`: use it, or leave it out of `conditioning`"


def _runs_in_bf16(subject: Subject) -> Iterator[str]:
    model, (x, t, conditioning) = _ready(subject)
    half = {key: value.bfloat16() if key == "y" else value for key, value in conditioning.items()}
    with torch.autocast("cpu", torch.bfloat16):
        out = _run(model, (x, t, conditioning))
    moved = _run(model.to(torch.bfloat16), (x.bfloat16(), t, half))
    if not (out.isfinite().all() and moved.isfinite().all()):
        yield "the prediction in bfloat16 is not finite"


def _follows_its_device(subject: Subject) -> Iterator[str]:
    model, (x, t, conditioning) = _ready(subject)
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if isinstance(value, Tensor):
                where = f"{name}.{key}".removeprefix(".")
                yield f"`{where}` is a plain tensor, which .to() leaves behind: register_buffer it"
    for device in devices():
        moved = {key: value.to(device) for key, value in conditioning.items()}
        out = _run(model.to(device), (x.to(device), t.to(device), moved))
        if out.device.type != device.type:
            yield f"on {device}, the prediction is on {out.device}"


def _keeps_its_state(subject: Subject) -> Iterator[str]:
    model, inputs = _ready(subject)
    twin = subject.build().state_dict()
    for name, value in subject.build().state_dict().items():
        if not torch.equal(value, twin[name]):
            yield f"`{name}` starts otherwise with the same seed: draw from torch's generator or at context.seed"
    other = subject.build(seed=5).eval()
    other.load_state_dict(model.state_dict(), strict=True)
    if not torch.equal(_run(other, inputs), _run(model, inputs)):
        yield "with the same state dict it predicts otherwise: keep what matters in parameters and buffers"


def _gives_a_null_caption(subject: Subject) -> Iterator[str]:
    model, (x, t, conditioning) = _ready(subject)
    null = model.null_conditioning(conditioning)
    if null is None:
        return
    if {key: value.shape for key, value in null.items()} != {key: value.shape for key, value in conditioning.items()}:
        yield "null_conditioning must return the keys and shapes it is given: guidance puts both in one batch"
    else:
        _run(model, (x, t, dict(null)))


def _encodes_text_once(subject: Subject) -> Iterator[str]:
    model, (x, t, conditioning) = _ready(subject)
    if not alike(_run(model, (x, t, conditioning)), _run(model, (x, t, dict(model.encode_text(conditioning)))), 1e-5):
        yield "with encode_text(conditioning) in place of the conditioning it must predict the same"


def _names_its_blocks(subject: Subject) -> Iterator[str]:
    model, inputs = _ready(subject)
    blocks, called = list(model.repeated_blocks()), set()
    if not blocks or not set(model.modules()).issuperset(blocks):
        yield "repeated_blocks must return submodules of the model, at least one"
    for block in blocks:
        block.register_forward_hook(lambda module, *_: called.add(module))
    _run(model, inputs)
    if len(called) != len(blocks):
        yield "repeated_blocks lists a block twice, or one that is not called as block(...), which checkpointing needs"


def _learns(subject: Subject) -> Iterator[str]:
    model, (x, t, conditioning) = _ready(subject)
    with seeded(1):
        out = model.train()(x, t, **conditioning)
    (out * torch.randn(out.shape, generator=torch_generator(0, "slope"))).sum().backward()
    slopes = {name: one.grad for name, one in model.named_parameters() if one.requires_grad}
    still = [name for name, slope in slopes.items() if slope is None or not slope.any()]
    if still or not slopes:
        yield f"no gradient reaches {', '.join(still) or 'any parameter'}: use them, or requires_grad_(False)"


def _leaves_padding_out(subject: Subject) -> Iterator[str]:
    model, inputs = _ready(subject)
    if "valid" not in model.conditioning:
        return
    clips = tiny_clips(subject.context)
    padded, otherwise = (_run(model, _padded(inputs, clips, behind)) for behind in (0.5, float("nan")))
    if padded.shape[2:] != inputs[0].shape[2:]:
        yield f"with `valid` it must predict latents as large as x, {tuple(inputs[0].shape)}, not {_shown(padded)}"
        return
    for row, size in enumerate(clips):
        own = (slice(row, row + 1), slice(None), *map(slice, size))
        if not alike(otherwise[own], padded[own]):
            yield f"with `valid`, what lies behind a clip matters: row {row}"
        if not alike(padded[own], _run(model, _padded(_cut(inputs, row, size), [size], 0.0))):
            yield f"with `valid`, a clip's prediction is another one padded than alone: row {row}"
    if not alike(padded[:1], _run(model, inputs)[:1]):
        yield "with `valid`, a clip without padding is predicted otherwise than without"


def _padded(inputs: Inputs, clips: Sequence[Size3], behind: float) -> Inputs:
    """Inputs of clips of such sizes, with the number `behind` where they have padding."""
    x, t, conditioning = inputs
    _, _, frames, rows, columns = x.shape
    valid = boxes(clips, (frames, rows, columns))
    shown = {key: torch.where(valid[:, None], conditioning[key], behind) for key in SHOWN if key in conditioning}
    return torch.where(valid[:, None], x, behind), t, {**conditioning, **shown, "valid": valid}


def _cut(inputs: Inputs, row: int, size: Size3) -> Inputs:
    """One row's inputs, its latents cut to a size."""
    x, t, conditioning = inputs
    one = {key: value[row : row + 1] for key, value in conditioning.items()}
    if "x_mask" in one:
        one["x_mask"] = one["x_mask"][:, : size[0]]
    inside = (slice(None), slice(None), *map(slice, size))
    one |= {key: one[key][inside] for key in SHOWN if key in one}
    return x[row : row + 1][inside], t[row : row + 1], one


def _attends(subject: Subject) -> Iterator[str]:
    device = devices()[-1]  # kernels for GPUs run in half precision there
    dtype, tolerance = (torch.float32, 1e-4) if device.type == "cpu" else (torch.bfloat16, 2e-2)
    draws = draws_of(ROWS)
    q, k, v = (draws.normal(name, (3, n, 8), device=device).to(dtype) for name, n in (("q", 5), ("k", 7), ("v", 7)))
    counting = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [0, 1, 0, 0, 1, 1, 0], [1, 0, 0, 0, 0, 0, 0]], device=device)
    for keys, words in ((None, "without a mask"), (key_mask(counting, 3), "with a mask")):
        out = subject.one(q, k, v, keys)
        if out.dtype != dtype or not alike(out, Explicit()(q, k, v, keys), tolerance):
            yield f"{words}, it must give softmax(q k^T / sqrt(E)) v, (3, 3, 5, 8) in {dtype}; got {_shown(out)}"
    yield from _attends_packed(subject, [part.transpose(1, 2) for part in (q, k, v)], tolerance)


def _attends_packed(subject: Subject, parts: Sequence[Tensor], tolerance: float) -> Iterator[str]:
    """parts: (B, N, K, E) queries, keys and values, of which sequences of several lengths are packed."""
    lengths = [(1, 5, 7), (1, 5, 2), (1, 4, 1)]
    q, k, v = (
        torch.cat([row[: one[place]] for row, one in zip(part, lengths, strict=True)])
        for part, place in zip(parts, (1, 2, 2), strict=True)
    )
    out = subject.one.packed(q, k, v, segments(lengths, q.device)).split([one[1] for one in lengths])
    for b, (_, queries, keys) in enumerate(lengths):
        own = [part[b, :n].transpose(0, 1)[None] for part, n in zip(parts, (queries, keys, keys), strict=True)]
        if not alike(out[b], Explicit()(own[0], own[1], own[2])[0].transpose(0, 1), tolerance):
            yield f"packed, sequence {b} must attend to its own keys alone"
    yield from _attends_packed_with_a_mask(subject, parts, tolerance)


def _attends_packed_with_a_mask(subject: Subject, parts: Sequence[Tensor], tolerance: float) -> Iterator[str]:
    mask = torch.tensor([[1, 0, 1, 1, 0, 0, 1], [0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 1, 1, 1, 1]], device=parts[0].device)
    lengths = [(2, 5, 7), (1, 3, 7)]
    q = torch.cat([parts[0][:2].flatten(0, 1), parts[0][2, :3]])
    k, v = (part.flatten(0, 1) for part in parts[1:])
    out = subject.one.packed(q, k, v, segments(lengths, q.device, mask))
    whole_q, whole_k, whole_v = (part.transpose(1, 2) for part in parts)
    whole = Explicit()(whole_q, whole_k, whole_v, key_mask(mask, 3)).transpose(1, 2).flatten(0, 1)
    if not alike(out, whole[: len(out)], tolerance):
        yield "packed with a mask, every sequence must attend to those of its own keys that count"


def _ready(subject: Subject) -> tuple[Any, Inputs]:
    """A model in eval mode with every parameter moved off its start value, and inputs for it."""
    model = subject.build().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch_generator(0, "moved", name))
    return model, _inputs(subject, model, ROWS)


def _inputs(subject: Subject, model: Any, rows: Sequence[int]) -> Inputs:
    return tiny_model_inputs(model, subject.context, rows)


def _run(model: Any, inputs: Inputs) -> Tensor:
    x, t, conditioning = inputs
    with torch.no_grad():
        return model(x, t, **conditioning)


def _other(value: Tensor) -> Tensor:
    """Other conditioning; of integers, a mask, with its first token."""
    if value.is_floating_point():
        return value + 1
    return ~value if value.dtype == torch.bool else (1 - value).index_fill(1, torch.tensor(0), 1)


def _shown(out: Tensor) -> str:
    return f"{tuple(out.shape)} in {out.dtype}"


MODEL = (
    declares,
    _predicts,
    _heeds_its_conditioning,
    _runs_in_bf16,
    _follows_its_device,
    _keeps_its_state,
    _gives_a_null_caption,
    _encodes_text_once,
    _names_its_blocks,
    _learns,
    _leaves_padding_out,
)
ATTENTION = (_attends,)
