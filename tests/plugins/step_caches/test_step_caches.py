"""Step caches on real models and samplers: exact where they are told to be, as much left out as they say, no trace."""

import re
from collections.abc import Mapping
from contextlib import nullcontext
from fnmatch import fnmatch
from typing import Any

import attrs
import pytest
import torch
import vidgen
from lively import enliven
from torch import Tensor, nn
from vidgen.registry import Registry
from vidgen.rng import Draws
from vidgen.testing import tiny_context, tiny_model_inputs
from vidgen_step_caches.distance import change

STEPS = 8
BROADCAST, DISTANCE = "pyramid-attention-broadcast", "timestep-distance"
SMALL: dict[str, dict[str, Any]] = {
    **{name: {"hidden_size": 24, "depth": 2, "num_heads": 2} for name in ("STDiT", "STDiT2", "STDiT3", "DiT", "Latte")},
    "PixArt": {"hidden_size": 24, "depth": 2, "num_heads": 2},
}
AT_WORK: dict[str, dict[str, Any]] = {
    BROADCAST: {"between": [0.0, 1.0]},
    DISTANCE: {"threshold": 1e9, "max_skipped": 2},
}
EXACT: list[tuple[str, dict[str, Any]]] = [
    (BROADCAST, {"every": {"*.attn": 1, "*.attn_temp": 1, "*.cross_attn": 1}, "between": [0.0, 1.0]}),
    (BROADCAST, {"between": [0.5, 0.5]}),
    (DISTANCE, {"threshold": 0.0}),
    (DISTANCE, {"threshold": 1e9, "max_skipped": 0}),
    (DISTANCE, {"threshold": 0.0, "measure": "tokens"}),
]


def made(name: str) -> nn.Module:
    registry = Registry.discover()
    context = attrs.evolve(tiny_context(), registry=registry)
    component = registry.find("model", name)
    built = registry.build(vidgen.component.Selection("model", component, component.options(**SMALL[name])), context)
    return enliven(built).eval()


class Sampling:
    """A small model, sampled with and without a cache."""

    def __init__(self, name: str = "STDiT", scheduler: str = "rflow", **options: Any) -> None:
        self.model: Any = made(name)
        self.scheduler = vidgen.build("scheduler", scheduler, num_sampling_steps=STEPS, **options)
        x, _, self.conditioning = tiny_model_inputs(self.model)
        self.conditioning.pop("drop_caption", None)
        self.conditioning.pop("x_mask", None)
        self.z = x

    def clips(self, cache: Any = None, rows: slice = slice(None), mask: Tensor | None = None) -> Tensor:
        context = nullcontext() if cache is None else cache.applied(self.model, STEPS)
        conditioning = {key: value[rows] for key, value in self.conditioning.items()}
        null = self.model.null_conditioning(conditioning)
        draws = Draws(1, [(i,) for i in range(3)[rows]])
        with torch.inference_mode(), context as step_done:
            return self.scheduler.sample(
                self.model, self.z[rows], conditioning, null, 3.0, draws=draws, mask=mask, progress=step_done
            )


class Counted:
    """How often modules whose names fit a pattern are worked out."""

    def __init__(self, model: nn.Module, pattern: str) -> None:
        self.calls = 0
        for name, module in model.named_modules():
            if fnmatch(name, pattern):
                module.register_forward_hook(self._count)

    def _count(self, *_: Any) -> None:
        self.calls += 1


def replaced_in(model: nn.Module) -> list[str]:
    """Modules with methods of their own."""
    return [
        name for name, one in model.named_modules() if any(callable(vars(one).get(m)) for m in ("forward", "packed"))
    ]


def build(name: str, options: Mapping[str, Any]) -> Any:
    return vidgen.build("step_cache", name, **options)


@pytest.mark.parametrize(("name", "options"), EXACT)
@pytest.mark.parametrize("model", ["STDiT", "STDiT3"])
def test_a_cache_that_uses_nothing_again_is_exact_bit_for_bit(model: str, name: str, options: dict[str, Any]):
    sampling = Sampling(model)
    assert torch.equal(sampling.clips(build(name, options)), sampling.clips())


@pytest.mark.parametrize("model", SMALL)
@pytest.mark.parametrize("name", AT_WORK)
def test_every_model_is_sampled_with_less_work_and_left_as_it_was(model: str, name: str):
    sampling = Sampling(model)
    exact, state = sampling.clips(), {key: value.clone() for key, value in sampling.model.state_dict().items()}
    counted = Counted(sampling.model, "*.qkv")
    cached = sampling.clips(build(name, AT_WORK[name]))
    saved = counted.calls
    counted.calls = 0
    assert torch.equal(sampling.clips(), exact)
    assert saved < counted.calls
    assert cached.isfinite().all() and not torch.equal(cached, exact)
    assert not replaced_in(sampling.model)
    assert all(torch.equal(value, state[key]) for key, value in sampling.model.state_dict().items())


def test_blocks_are_left_out_between_the_first_and_the_last_step_at_most_so_often():
    sampling = Sampling()
    counted = Counted(sampling.model, "blocks.*.mlp")
    sampling.clips(build(DISTANCE, {"threshold": 1e9, "max_skipped": 2}))
    assert counted.calls == 2 * len([0, 3, 6, 7])  # of 8 steps; 2 blocks


def test_changes_add_up_to_the_threshold():
    """Of 0.1 a step, three fit below 0.35; then all is worked out and the sum begins anew."""
    sampling = Sampling()
    counted = Counted(sampling.model, "blocks.*.mlp")
    sampling.clips(build(DISTANCE, {"threshold": 0.35, "max_skipped": 9, "polynomial": [0.0, 0.1]}))
    assert counted.calls == 2 * len([0, 4, 7])


@pytest.mark.parametrize(
    ("between", "every", "times"),
    [((0.0, 1.0), 3, len([0, 3, 6])), ((0.25, 0.75), 2, len([0, 1, 2, 4, 6, 7])), ((0.25, 0.75), 9, 5)],
)
def test_outputs_are_used_for_so_many_steps_between_two_shares(between, every, times):
    sampling = Sampling()
    counted, others = Counted(sampling.model, "*.attn_temp.qkv"), Counted(sampling.model, "*.cross_attn.q_linear")
    sampling.clips(build(BROADCAST, {"every": {"*.attn_temp": every}, "between": list(between)}))
    assert counted.calls == 2 * times
    assert others.calls == 2 * STEPS


def test_the_first_pattern_that_fits_counts():
    sampling = Sampling("STDiT3")
    counted = Counted(sampling.model, "*.attn.qkv")
    every = {"temporal_blocks.*.attn": 8, "*.attn": 1}
    sampling.clips(build(BROADCAST, {"every": every, "between": [0.0, 1.0]}))
    assert counted.calls == 2 * (1 + STEPS)


def test_rows_are_broadcast_by_themselves():
    sampling, cache = Sampling(), build(BROADCAST, AT_WORK[BROADCAST])
    torch.testing.assert_close(sampling.clips(cache, slice(1, 2)), sampling.clips(cache)[1:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", AT_WORK)
def test_halves_in_turn_give_what_they_give_in_one_batch(name: str):
    together, in_turn = Sampling(), Sampling(guidance_in_turn=True)
    clips = [one.clips(build(name, AT_WORK[name])) for one in (together, in_turn)]
    torch.testing.assert_close(clips[0], clips[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", AT_WORK)
def test_guidance_may_act_in_some_steps_alone(name: str):
    """Rows double in the middle: there the first step is worked out anew."""
    sampling = Sampling(guidance_interval=[0.3, 0.7])
    counted = Counted(sampling.model, "*.qkv")
    clips = sampling.clips(build(name, AT_WORK[name]))
    fewer = counted.calls
    counted.calls = 0
    assert clips.shape == sampling.clips().shape and clips.isfinite().all()
    assert fewer < counted.calls


@pytest.mark.parametrize("scheduler", ["iddpm", "dpm-solver", "euler-ancestral", "diffusers/HeunDiscreteScheduler"])
@pytest.mark.parametrize("name", AT_WORK)
def test_every_sampler_tells_its_steps_also_one_with_several_calls_a_step(name: str, scheduler: str):
    sampling = Sampling(scheduler=scheduler)
    counted = Counted(sampling.model, "*.attn.qkv")
    exact = sampling.clips()
    all_of_it, counted.calls = counted.calls, 0
    assert sampling.clips(build(name, AT_WORK[name])).isfinite().all()
    assert counted.calls < all_of_it
    assert torch.equal(sampling.clips(build(DISTANCE, {"threshold": 0.0})), exact)


@pytest.mark.parametrize("model", ["STDiT", "STDiT3"])
@pytest.mark.parametrize("name", AT_WORK)
def test_given_frames_are_kept(model: str, name: str):
    sampling = Sampling(model)
    mask = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.5, 1.0]])
    clips = sampling.clips(build(name, AT_WORK[name]), mask=mask)
    assert torch.equal(clips[0, :, 0], sampling.z[0, :, 0])
    assert not torch.equal(clips[2, :, 0], sampling.z[2, :, 0])
    exact = build(DISTANCE, {"threshold": 0.0})
    assert torch.equal(sampling.clips(exact, mask=mask), sampling.clips(mask=mask))


def test_clips_smaller_than_the_tables_are_broadcast_too():
    """STDiT packs them: layers are called by another method."""
    sampling = Sampling()
    sampling.z = sampling.z[:, :, :, :3]
    counted = Counted(sampling.model, "*.qkv")
    sampling.clips(build(BROADCAST, {"every": {"*.attn": 8}, "between": [0.0, 1.0]}))
    assert counted.calls == 2 * (1 + STEPS)  # attn; attn_temp in every step
    assert not replaced_in(sampling.model)


@pytest.mark.parametrize("name", AT_WORK)
def test_an_error_on_the_way_leaves_the_model_as_it_was(name: str):
    sampling = Sampling()
    block = sampling.model.blocks[0]
    block.forward = own = block.forward
    with pytest.raises(KeyboardInterrupt), build(name, AT_WORK[name]).applied(sampling.model, STEPS):
        raise KeyboardInterrupt
    assert vars(block)["forward"] is own
    assert not sampling.model._forward_pre_hooks
    assert not any("forward" in vars(one) for one in block.children())


class Adding(nn.Module):
    """A block that adds as much to its tokens in every step."""

    def forward(self, h: Tensor, t: Tensor) -> Tensor:
        return h + 3


class Chain(nn.Module):
    """Blocks of that kind, between which something else happens."""

    def __init__(self, last: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Adding(), last])

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return self.blocks[1](self.blocks[0](x, t) + 1, t)

    def repeated_blocks(self) -> list[nn.Module]:
        return list(self.blocks)


def test_what_the_blocks_added_last_is_added_to_new_tokens():
    model, y = Chain(Adding()), torch.zeros(2)
    with build(DISTANCE, {"threshold": 1e9}).applied(model, 5) as step_done:
        for step in range(3):
            x = torch.full((2, 3), float(step))
            assert torch.equal(model(x, torch.ones(2), y=y), x + 7)
            step_done(step + 1, 5)


def test_blocks_that_change_the_shape_are_refused():
    model = Chain(nn.Flatten(0))
    model.blocks[1].forward = lambda h, t: h[:, :1]
    with (
        build(DISTANCE, {}).applied(model, 5),
        pytest.raises(vidgen.UserError, match=r"of \(2, 3\) these give \(2, 1\)"),
    ):
        model(torch.ones(2, 3), torch.ones(2), y=torch.ones(2))


def test_blocks_without_vectors_of_time_are_refused_where_these_are_measured():
    model = Chain(Adding())
    with (
        build(DISTANCE, {}).applied(model, 5),
        pytest.raises(vidgen.UserError, match="measure: time needs blocks that are given vectors of time"),
    ):
        model(torch.ones(2, 3), torch.ones(2, dtype=torch.int64), y=torch.ones(2))


def test_a_model_without_such_names_is_told_what_it_has():
    with (
        pytest.raises(vidgen.UserError, match=r"no module of STDiT is called \*\.atn; it has such as blocks\.0\.attn,"),
        build(BROADCAST, {"every": {"*.atn": 2}}).applied(made("STDiT"), STEPS),
    ):
        pass


def test_compiled_blocks_are_refused_where_layers_are_replaced():
    model: Any = made("STDiT")
    model.blocks[0].forward = torch.compile(model.blocks[0].forward, backend="eager")
    with pytest.raises(vidgen.UserError, match="set compile: false"), build(BROADCAST, {}).applied(model, STEPS):
        pass


def test_the_change_is_the_largest_of_all_tensors_and_infinite_where_frames_begin_to_be_given():
    one, other = torch.ones(2, 3), torch.full((4,), 2.0)
    assert change([one * 1.5, other * 0.9], [one, other], None, None) == pytest.approx(0.5)
    given = torch.tensor([[True, False]])
    assert change([one], [one], given, given.clone()) == 0
    assert change([one], [one], given, ~given) == float("inf")
    assert change([one], [one], given, None) == float("inf")
    assert change([one], [one[:1]], None, None) == float("inf")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        (BROADCAST, {"every": {"*.attn": 0}}, "'every' must give each pattern a whole number, 1 or more"),
        (BROADCAST, {"every": {}}, "'every' must give each pattern"),
        (BROADCAST, {"between": [0.6, 0.4]}, "'between' must be two rising shares"),
        (DISTANCE, {"threshold": -0.1}, "'threshold' must be >= 0"),
        (DISTANCE, {"polynomial": []}, "'polynomial' must be one finite number or more"),
    ],
)
def test_options_that_make_no_sense_are_refused(name: str, options: dict[str, Any], said: str):
    with pytest.raises(vidgen.RecipeError, match=re.escape(said)):
        build(name, options)
