"""Models: prediction, independence of samples, dtypes, devices, state, guidance, blocks, gradients.

A fresh transformer often returns zeros (adaLN-Zero), which would hide every fault: weights are moved first.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from vidgen.rng import torch_generator
from vidgen.testing.subject import Subject, alike, count, declared, devices, size3
from vidgen.testing.tiny import tiny_model_inputs

TAKEN = frozenset({"y", "mask", "x_mask", "drop_caption", "fps", "height", "width", "num_frames", "ar"})
Inputs = tuple[Tensor, Tensor, dict[str, Tensor]]


def declares(subject: Subject) -> Iterator[str]:
    """What the engine and other components read off it."""
    model = subject.one
    if not isinstance(model, nn.Module):
        yield f"the factory must return a torch.nn.Module, not {type(model).__name__}"
    yield from declared(model, "latent_channels", count, "the number of latent channels")
    yield from declared(model, "patch_size", size3, "a tuple of latent (frames, rows, columns) per token")
    yield from declared(model, "caption_dropout", lambda share: 0 <= share <= 1, "a share from 0 to 1")
    known = f"a frozenset out of {', '.join(sorted(TAKEN))}"
    yield from declared(model, "conditioning", lambda keys: isinstance(keys, frozenset) and keys <= TAKEN, known)


def predicts(subject: Subject) -> Iterator[str]:
    """Shape, dtype, repeatability, and samples that do not meet."""
    model, (x, t, conditioning) = _ready(subject)
    out = _run(model, (x, t, conditioning))
    sizes = [(len(x), factor * x.shape[1], *x.shape[2:]) for factor in (1, 2)]
    if tuple(out.shape) not in sizes:
        yield f"x of {tuple(x.shape)} must give a prediction of {sizes[0]} or {sizes[1]}, not {tuple(out.shape)}"
        return
    if out.dtype != torch.float32:
        yield f"the prediction must be float32, not {out.dtype}: end `forward` with .float()"
    if not out.isfinite().all():
        yield "the prediction is not finite"
    if not torch.equal(out, _run(model, (x, t, conditioning), seed=1)):
        yield "eval() gives another prediction the second time: draw nothing outside of training"
    alone = _run(model, (x[1:2], t[1:2], {key: value[1:2] for key, value in conditioning.items()}))
    if not alike(alone, out[1:2]):
        yield "a sample is predicted otherwise alone than in a batch: mix nothing across the first axis"


def heeds_its_conditioning(subject: Subject) -> Iterator[str]:
    """Everything asked for must matter."""
    model, (x, t, conditioning) = _ready(subject)
    model.train()
    out = _run(model, (x, t, conditioning))
    if torch.equal(out, _run(model, (x, t / 2, conditioning))):
        yield "the prediction does not depend on the timestep"
    for key, value in conditioning.items():
        other = ~value if value.dtype == torch.bool else 1 - value if key == "mask" else value + 1
        other = other.index_fill(1, torch.tensor(0), 1) if key == "mask" else other
        if torch.equal(out, _run(model, (x, t, {**conditioning, key: other}))):
            yield f"the prediction does not depend on `{key}`: use it, or leave it out of `conditioning`"


def runs_in_bf16(subject: Subject) -> Iterator[str]:
    """Under autocast, as in training, and with bfloat16 weights and inputs, as in sampling of large models."""
    model, (x, t, conditioning) = _ready(subject)
    with torch.autocast("cpu", torch.bfloat16):
        out = _run(model, (x, t, conditioning))
    half = {key: value.bfloat16() if key == "y" else value for key, value in conditioning.items()}
    moved = _run(model.to(torch.bfloat16), (x.bfloat16(), t, half))
    if not (out.isfinite().all() and moved.isfinite().all()):
        yield "the prediction in bfloat16 is not finite"


def follows_its_device(subject: Subject) -> Iterator[str]:
    """`.to(device)` must move everything; a dry run must allocate nothing."""
    model, (x, t, conditioning) = _ready(subject)
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if isinstance(value, Tensor):
                yield f"`{name}.{key}`".replace("`.", "`") + " is a plain tensor and stays behind: register_buffer it"
    for device in devices():
        inputs = (x.to(device), t.to(device), {key: value.to(device) for key, value in conditioning.items()})
        out = _run(model.to(device), inputs)
        if out.device.type != device.type:
            yield f"on {device} the prediction is on {out.device}"
    if any(not parameter.is_meta for parameter in subject.build(dry=True).parameters()):
        yield "built under torch.device('meta'), as a dry run does, it allocates memory: name no device in the factory"


def keeps_its_state(subject: Subject) -> Iterator[str]:
    """The state dict says all; the seed decides the start."""
    model, inputs = _ready(subject)
    twin, other = subject.build(), subject.build(seed=5)
    for name, value in subject.one.state_dict().items():
        if not torch.equal(value, twin.state_dict()[name]):
            yield f"`{name}` starts otherwise with the same seed: draw from torch's global generator or at context.seed"
    other.load_state_dict(model.state_dict(), strict=True)
    if not torch.equal(_run(other.eval(), inputs), _run(model, inputs)):
        yield "with another's state dict it predicts otherwise: keep what matters in parameters and buffers"


def gives_a_null_caption(subject: Subject) -> Iterator[str]:
    """Guidance joins both in one batch."""
    model, (x, t, conditioning) = _ready(subject)
    null = model.null_conditioning(conditioning)
    if null is None:
        return
    if {key: value.shape for key, value in null.items()} != {key: value.shape for key, value in conditioning.items()}:
        yield "null_conditioning must return the keys and shapes it is given"
    else:
        _run(model, (x, t, dict(null)))


def names_its_blocks(subject: Subject) -> Iterator[str]:
    """Blocks are checkpointed, compiled and sharded from outside, one by one."""
    model, inputs = _ready(subject)
    blocks, called = list(model.repeated_blocks()), set()
    inside = set(model.modules())
    if not blocks or not inside.issuperset(blocks):
        yield "repeated_blocks must return submodules of the model, at least one"
    for block in blocks:
        block.register_forward_hook(lambda module, *_: called.add(module))
    _run(model, inputs)
    if len(called) != len(blocks):
        yield "a block of repeated_blocks is not called in forward, or is listed twice: call blocks as block(...)"


def learns(subject: Subject) -> Iterator[str]:
    """Every trained parameter gets a gradient."""
    model, (x, t, conditioning) = _ready(subject)
    out = model.train()(x, t, **conditioning)
    (out * torch.randn(out.shape, generator=torch_generator(0, "slope"))).sum().backward()
    trained = [(name, one.grad) for name, one in model.named_parameters() if one.requires_grad]
    still = [name for name, slope in trained if slope is None or not slope.any()]
    if still or not trained:
        names = ", ".join(still) or "any parameter"
        yield f"no gradient reaches {names}: use them, or freeze them with requires_grad_(False)"


def _ready(subject: Subject) -> tuple[Any, Inputs]:
    """A model in eval mode with every parameter moved off its start value, and inputs for it."""
    model = subject.build().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch_generator(0, "moved", name))
    return model, tiny_model_inputs(model, subject.context)


def _run(model: Any, inputs: Inputs, seed: int = 0) -> Tensor:
    x, t, conditioning = inputs
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model(x, t, **conditioning)


CHECKS = (
    declares,
    predicts,
    heeds_its_conditioning,
    runs_in_bf16,
    follows_its_device,
    keeps_its_state,
    gives_a_null_caption,
    names_its_blocks,
    learns,
)
