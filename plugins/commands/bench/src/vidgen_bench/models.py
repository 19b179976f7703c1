"""The transformers: against diffusers' classes with the same weights, and STDiT3 against a plain reading.

Every pair gets the same weights and inputs; a pair whose results differ is refused. Sizes are small enough for a
laptop and large enough for matrix products to dominate, as they do at full size.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn
from vidgen import build

from vidgen_bench.comparison import Alternatives, Comparison, peak_megabytes, seconds
from vidgen_bench.linear import linear
from vidgen_bench.loading import loading
from vidgen_bench.plain_stdit3 import PlainSTDiT3

SIZE = {"hidden_size": 384, "depth": 6, "num_heads": 6}
CLASSES = 10
CAPTIONS = {"caption_channels": 1024, "model_max_length": 120}
EAGER, COMPILED = 1.0, 1.15


@frozen
class Pair:
    """Two modules with the same weights, and how each is called to the same result; or, not `same`, two that do the
    same work on other weights."""

    ours: Any
    theirs: nn.Module
    call_ours: Callable[[Any], Tensor]
    call_theirs: Callable[[Any], Tensor]
    same: bool = True


def comparisons() -> Iterator[Comparison]:
    """All of them, in the order of the documentation."""
    for name, pair in (("DiT", dit), ("PixArt", pixart), ("Latte", latte)):
        yield from against(name, "diffusers", pair, eager=EAGER, compiled=COMPILED)
    plain = "plain reading"
    yield from against("STDiT3", plain, partial(stdit3, masked=False), eager=1.0, compiled=1.2)
    yield from against("STDiT3 with x_mask", plain, partial(stdit3, masked=True), eager=1.1, compiled=1.2)
    yield Comparison(
        name="STDiT3 memory, forward+backward, 1x4096 tokens",
        against=plain,
        goal=2.0,
        unit="MB",
        prepare=memory_of_stdit3,
        measure=peak_megabytes,
    )
    yield from linear()
    yield from loading()


def against(name: str, other: str, make: Callable[[], Pair], *, eager: float, compiled: float) -> Iterator[Comparison]:
    """Forward, and forward with backward; as written, and with our blocks compiled."""
    for how, goal in (("", eager), (", compiled blocks", compiled)):
        for what, run in (("forward", forward), ("forward+backward", backward)):
            yield Comparison(
                name=f"{name} {what}{how}",
                against=other,
                goal=goal,
                prepare=partial(ready, make, run, compiled=bool(how)),
                measure=seconds,
                warm_up=2,
            )


def ready(make: Callable[[], Pair], run: Callable[..., object], *, compiled: bool) -> Alternatives:
    """A pair to be called."""
    pair = make()
    if compiled:
        for block in pair.ours.repeated_blocks():
            block.compile()
    return Alternatives(
        ours=partial(run, pair.ours, pair.call_ours),
        theirs=partial(run, pair.theirs, pair.call_theirs),
        difference=(lambda: _apart(pair)) if pair.same else None,
    )


def forward(module: nn.Module, call: Callable[[Any], Tensor]) -> Tensor:
    """Without gradients, as in sampling."""
    with torch.no_grad():
        return call(module)


def backward(module: nn.Module, call: Callable[[Any], Tensor]) -> None:
    """A training step's share of the model."""
    module.zero_grad(set_to_none=True)
    call(module).pow(2).mean().backward()


def dit() -> Pair:
    """Class-conditional images, 4 of 32x32 latents."""
    from diffusers import DiTTransformer2DModel

    ours = moved(
        build("model", "DiT", input_size=(1, 32, 32), condition=f"label_{CLASSES}", no_temporal_pos_emb=True, **SIZE)
    )
    theirs: Any = DiTTransformer2DModel(
        num_attention_heads=SIZE["num_heads"],
        attention_head_dim=SIZE["hidden_size"] // SIZE["num_heads"],
        in_channels=4,
        out_channels=8,
        num_layers=SIZE["depth"],
        sample_size=32,
        num_embeds_ada_norm=CLASSES,
        norm_eps=1e-6,
    )
    theirs.load_state_dict(ours.state_in("diffusers"))
    for block in theirs.transformer_blocks:  # as the weights were trained; diffusers spaces frequencies by 1/127
        block.norm1.emb.time_proj.downscale_freq_shift = 0
    x, t, labels = normal(4, 4, 32, 32), torch.tensor([3.0, 250, 500, 999]), torch.tensor([0, 3, 7, 9])
    return Pair(
        ours,
        theirs.eval(),
        lambda model: model(x[:, :, None], t, y=labels)[:, :, 0],
        lambda model: model(x, timestep=t, class_labels=labels).sample,
    )


def pixart() -> Pair:
    """Images with captions of 20 to 120 tokens, 4 of 32x32 latents."""
    from diffusers import PixArtTransformer2DModel

    options = {"input_size": (1, 32, 32), "no_temporal_pos_emb": True, **CAPTIONS, **SIZE}
    ours = moved(build("model", "PixArt", **options))
    theirs: Any = PixArtTransformer2DModel(
        num_attention_heads=SIZE["num_heads"],
        attention_head_dim=SIZE["hidden_size"] // SIZE["num_heads"],
        in_channels=4,
        out_channels=8,
        num_layers=SIZE["depth"],
        cross_attention_dim=SIZE["hidden_size"],
        sample_size=32,
        caption_channels=CAPTIONS["caption_channels"],
        interpolation_scale=1,
        use_additional_conditions=False,
    )
    theirs.load_state_dict(ours.state_in("diffusers"))
    x, t, y = normal(4, 4, 32, 32), torch.tensor([3.0, 250, 500, 999]), normal(4, 120, 1024)
    mask = (torch.arange(120) < torch.tensor([[20], [97], [120], [60]])).long()
    sizes: dict[str, None] = {"resolution": None, "aspect_ratio": None}
    return Pair(
        ours,
        theirs.eval(),
        lambda model: model(x[:, :, None], t, y=y, mask=mask)[:, :, 0],
        lambda model: (
            model(x, timestep=t, encoder_hidden_states=y, encoder_attention_mask=mask, added_cond_kwargs=sizes).sample
        ),
    )


def latte() -> Pair:
    """8 frames of 32x32 latents. diffusers has the text-to-video Latte alone, another network (captions by cross
    attention, one modulation for all blocks): without the cross attention it has the same layers for tokens, at the
    same width, depth and length, but its weights and results cannot be ours."""
    from diffusers import LatteTransformer3DModel

    ours = moved(build("model", "Latte", input_size=(8, 32, 32), condition=f"label_{CLASSES}", **SIZE))
    theirs: Any = LatteTransformer3DModel(
        num_attention_heads=SIZE["num_heads"],
        attention_head_dim=SIZE["hidden_size"] // SIZE["num_heads"],
        in_channels=4,
        out_channels=8,
        num_layers=SIZE["depth"] // 2,  # pairs
        cross_attention_dim=None,
        attention_bias=True,
        sample_size=32,
        patch_size=2,
        activation_fn="gelu-approximate",
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        caption_channels=8,
        video_length=8,
    )
    x, t, labels, caption = normal(1, 4, 8, 32, 32), torch.tensor([250.0]), torch.tensor([3]), normal(1, 1, 8)
    return Pair(
        ours,
        theirs.eval(),
        lambda model: model(x, t, y=labels),
        lambda model: model(x, timestep=t, encoder_hidden_states=caption).sample,
        same=False,
    )


def stdit3(*, masked: bool) -> Pair:
    """8 frames of 32x32 latents, batch 2, captions of 20 and 97 tokens out of 120."""
    size = {"hidden_size": 576, "num_heads": 8, "depth": 4}
    given = stdit3_inputs(frames=8, side=32, lengths=[20, 97])
    if masked:
        given["x_mask"] = torch.arange(8)[None] >= torch.tensor([[2], [0]])
    return stdit3_pair(size, given)


def memory_of_stdit3() -> Alternatives:
    """One frame of 128x128 latents: 4,096 tokens."""
    pair = stdit3_pair(
        {"hidden_size": 576, "num_heads": 8, "depth": 2}, stdit3_inputs(frames=1, side=128, lengths=[97])
    )
    return Alternatives(
        ours=partial(backward, pair.ours, pair.call_ours), theirs=partial(backward, pair.theirs, pair.call_theirs)
    )


def stdit3_pair(size: Mapping[str, int], given: Mapping[str, Tensor]) -> Pair:
    """STDiT3 and its plain reading."""
    ours = moved(build("model", "STDiT3", **CAPTIONS, **size))
    theirs = PlainSTDiT3(
        width=size["hidden_size"],
        heads=size["num_heads"],
        depth=size["depth"],
        channels=4,
        caption=CAPTIONS["caption_channels"],
        length=CAPTIONS["model_max_length"],
    )
    theirs.load_state_dict(ours.state_dict())
    call = partial(_call, given=given)
    return Pair(ours, theirs.eval(), call, call)


def stdit3_inputs(*, frames: int, side: int, lengths: list[int]) -> dict[str, Tensor]:
    """Noise, captions of such lengths, and sizes in pixels."""
    clips = len(lengths)
    return {
        "x": normal(clips, 4, frames, side, side),
        "timestep": torch.linspace(100, 900, clips),
        "y": normal(clips, 120, 1024),
        "mask": (torch.arange(120) < torch.tensor(lengths)[:, None]).long(),
        "fps": torch.full((clips,), 24.0),
        "height": torch.full((clips,), 8.0 * side),
        "width": torch.full((clips,), 8.0 * side),
    }


def moved(model: Any) -> Any:
    """Every weight off its start value: a new transformer returns zeros, and zeros hide differences."""
    torch.manual_seed(0)
    with torch.no_grad():
        for value in model.parameters():
            if value.requires_grad:
                value.add_(torch.randn_like(value), alpha=0.02)
    return deepcopy(model).eval()


def normal(*shape: int) -> Tensor:
    """The same numbers for the same shape."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def _call(model: Any, *, given: Mapping[str, Tensor]) -> Tensor:
    return model(**given)


def _apart(pair: Pair) -> float:
    ours, theirs = forward(pair.ours, pair.call_ours), forward(pair.theirs, pair.call_theirs)
    return float((ours - theirs).abs().max())
