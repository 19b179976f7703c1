"""Clips of different sizes in one batch: every one must come out, and teach, as it does alone."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.utils.checkpoint import checkpoint
from vidgen import UserError
from vidgen.interfaces import Context

Make = Callable[..., nn.Module]
Batch = dict[str, Tensor]

SIZES = [(5, 6, 7), (1, 4, 14), (3, 5, 4)]
"""Latent (T, H, W) of three clips; rows and columns do not all divide into patches, the second is a still."""
PIXELS = {"height": [48.0, 32.0, 40.0], "width": [56.0, 112.0, 32.0], "num_frames": [17.0, 1.0, 9.0]}
NAMES = ("STDiT", "STDiT2", "STDiT3")

pytestmark = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def mixed() -> Batch:
    """Three clips, padded with garbage, with captions of 3, 1 and 4 tokens."""
    generator = torch.Generator().manual_seed(3)
    valid = torch.zeros(3, 5, 6, 14, dtype=torch.bool)
    for clip, size in enumerate(SIZES):
        valid[(clip, *map(slice, size))] = True
    x = torch.randn(3, 3, 5, 6, 14, generator=generator)
    numbers = {key: torch.tensor(value) for key, value in PIXELS.items()}
    return {
        "x": torch.where(valid[:, None], x, 7.0),
        "timestep": torch.tensor([12.5, 731.0, 300.0]),
        "y": torch.randn(3, 4, 7, generator=generator),
        "mask": torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0], [1, 1, 1, 1]]),
        "x_mask": torch.tensor([[1, 0, 1, 1, 0], [1, 0, 1, 0, 1], [0, 1, 1, 0, 0]]).bool(),
        "drop_caption": torch.tensor([False, False, True]),
        "valid": valid,
        "fps": torch.tensor([24.0, 120.0, 8.0]),
        "ar": numbers["height"] / numbers["width"],
        **numbers,
    }


@pytest.fixture
def model_of(enlivened: Make) -> Make:
    """Make a model of a name. size: the largest clips that STDiT has positions for."""

    def make(name: str, size: tuple[int, int, int] = (5, 6, 14), **options: object) -> nn.Module:
        context = Context(latent_channels=3, latent_size=size, text_width=7, text_length=4, seed=11)
        return enlivened(name, context=context, **options)

    return make


def told(model: nn.Module, batch: Batch) -> Batch:
    """Of the batch, what the model takes."""
    return {key: value for key, value in batch.items() if key in model.conditioning | {"x", "timestep"}}


def alone(batch: Batch, clip: int) -> Batch:
    """One clip without padding."""
    frames, rows, columns = SIZES[clip]
    one = {key: value[clip : clip + 1] for key, value in batch.items() if key != "valid"}
    one["x"] = one["x"][:, :, :frames, :rows, :columns]
    return {**one, "x_mask": one["x_mask"][:, :frames]} if "x_mask" in one else one


def single(name: str, model: nn.Module, model_of: Make, clip: int, **options: object) -> nn.Module:
    """The model for one clip alone: itself or, of STDiT, one for that size, up to whole patches, of equal weights."""
    if name != "STDiT":
        return model
    frames, rows, columns = SIZES[clip]
    other = model_of(name, (frames, rows + rows % 2, columns + columns % 2), **options)
    own = {key: value for key, value in model.state_dict().items() if not key.startswith("pos_embed")}
    other.load_state_dict(own, strict=False)
    return other


def to_whole_patches(batch: Batch) -> Batch:
    """STDiT takes no others: zeros stand in, as behind clips in a batch."""
    rows, columns = batch["x"].shape[3:]
    return {**batch, "x": nn.functional.pad(batch["x"], (0, columns % 2, 0, rows % 2))}


def separately(name: str, model: nn.Module, model_of: Make, batch: Batch, **options: object) -> list[Tensor]:
    """The prediction for each clip alone, and gradients of the mean of their mean squares into `model`."""
    outs = []
    for clip, (_, rows, columns) in enumerate(SIZES):
        one = single(name, model, model_of, clip, **options).train(model.training)
        out = one(**to_whole_patches(told(model, alone(batch, clip))))[..., :rows, :columns]
        (out.square().mean() / len(SIZES)).backward()
        if one is not model:
            for parameter, other in zip(model.parameters(), one.parameters(), strict=True):
                if other.grad is not None:
                    parameter.grad = other.grad + (0 if parameter.grad is None else parameter.grad)
        outs.append(out.detach())
    return outs


def mean_squares(out: Tensor) -> Tensor:
    """The mean over clips of the mean square without padding."""
    return torch.stack([out[(clip, slice(None), *map(slice, size))].square().mean() for clip, size in enumerate(SIZES)])


@pytest.mark.parametrize("without", [(), ("x_mask",), ("mask", "drop_caption")], ids=["all", "no x_mask", "no mask"])
def test_a_packed_batch_gives_what_single_clips_give(
    model_of: Make, mixed: Batch, name: str, without: tuple[str, ...]
) -> None:
    options = {} if name == "STDiT" else {"qk_norm": True}
    model = model_of(name, **options)
    batch = {key: value for key, value in mixed.items() if key not in without}
    expected = separately(name, model, model_of, batch, **options)
    slopes = {entry: parameter.grad for entry, parameter in model.named_parameters()}
    model.zero_grad()
    out = model(**told(model, batch))
    for clip, size in enumerate(SIZES):
        own = out[(slice(clip, clip + 1), slice(None), *map(slice, size))]
        torch.testing.assert_close(own, expected[clip], rtol=0, atol=1e-5)
    mean_squares(out).mean().backward()
    for entry, parameter in model.named_parameters():
        if slopes[entry] is not None:
            torch.testing.assert_close(parameter.grad, slopes[entry], rtol=1e-4, atol=1e-5, msg=entry)
    assert sum(slope is not None for slope in slopes.values()) > 20


def test_padding_has_no_influence_and_comes_out_as_zeros(model_of: Make, mixed: Batch, name: str) -> None:
    model = model_of(name)
    out = model(**told(model, mixed))
    other = {**mixed, "x": torch.where(mixed["valid"][:, None], mixed["x"], torch.nan)}
    assert torch.equal(model(**told(model, other)), out)
    assert not out[1, :, 1:].any() and not out[1, :, :, 4:].any() and not out[2, ..., 4:].any()


def test_a_batch_without_padding_gives_the_same_packed(
    model_of: Make, batch: Batch, sized_batch: Batch, name: str
) -> None:
    model = model_of(name, (5, 6, 14))
    given = told(model, batch if name == "STDiT" else sized_batch)
    valid = torch.ones(given["x"].shape[0], *given["x"].shape[2:], dtype=torch.bool)
    torch.testing.assert_close(model(**given, valid=valid), model(**given), rtol=0, atol=1e-5)


def test_a_smaller_batch_of_one_size_needs_no_valid(model_of: Make, mixed: Batch, name: str) -> None:
    """Of a mixture, some batches have clips of one size; STDiT takes those too, if smaller than its tables."""
    model = model_of(name)
    one = told(model, alone(mixed, 2))
    valid = torch.ones(1, *SIZES[2], dtype=torch.bool)
    torch.testing.assert_close(model(**one), model(**one, valid=valid), rtol=0, atol=1e-5)


def test_frames_in_pairs_are_packed_too(model_of: Make, mixed: Batch, name: str) -> None:
    model = model_of(name, (6, 6, 14), patch_size=(2, 2, 2))
    del mixed["x_mask"]
    x, valid = (nn.functional.pad(mixed[key].float(), (0, 0, 0, 0, 0, 1)) for key in ("x", "valid"))
    out = model(**told(model, {**mixed, "x": x, "valid": valid.bool()}))
    still = {**{key: value[1:2] for key, value in mixed.items()}, "x": mixed["x"][1:2, :, :1, :4]}
    still["valid"] = torch.ones(1, 1, 4, 14, dtype=torch.bool)
    torch.testing.assert_close(out[1:2, :, :1, :4], model(**told(model, still)), rtol=0, atol=1e-5)


def test_half_precision_is_near_and_finite(model_of: Make, mixed: Batch, name: str) -> None:
    mixed["timestep"] = torch.tensor([12.5, 728.0, 300.0])  # the same numbers in both
    model = model_of(name)
    exact = model(**told(model, mixed))
    with torch.autocast("cpu", torch.bfloat16):
        mixing = model(**told(model, mixed))
    mean_squares(mixing).mean().backward()
    half = model_of(name).bfloat16()(**told(model, mixed))
    for out in (mixing, half):
        assert out.dtype == torch.float32
        assert (out - exact).norm() < 0.05 * exact.norm()


def test_stochastic_depth_leaves_out_whole_clips(model_of: Make, mixed: Batch, name: str) -> None:
    """One draw for each clip and branch: nothing of it, or twice as much where half are left out."""
    model = model_of(name, drop_path=0.5).train()
    seen: list[Tensor] = []
    layer = model.repeated_blocks()[-1].drop_path
    factors = layer.factors
    layer.factors = lambda places: seen.append(factors(places)) or seen[-1]
    torch.manual_seed(1)
    for _ in range(4):
        model(**told(model, mixed))
    drawn = torch.stack(seen)
    assert drawn.shape[1:] == (3,)
    assert set(drawn.flatten().tolist()) == {0.0, 2.0}


def test_checkpointed_blocks_give_equal_gradients(model_of: Make, mixed: Batch, name: str) -> None:
    plain, saving = model_of(name), model_of(name)
    for block in saving.repeated_blocks():
        forward = block.forward
        block.forward = lambda *inputs, forward=forward: checkpoint(forward, *inputs, use_reentrant=False)
    for model in (plain, saving):
        mean_squares(model(**told(model, mixed))).mean().backward()
    for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            assert torch.equal(one.grad, other.grad)


def smaller(batch: Batch, frames: int, columns: int) -> Batch:
    """The batch cut to fewer frames and columns: another number of tokens of all clips."""
    x, valid = batch["x"][:, :, :frames, :, :columns], batch["valid"][:, :frames, :, :columns]
    return {**batch, "x": x, "valid": valid, "x_mask": batch["x_mask"][:, :frames]}


def test_compiled_blocks_serve_every_mixture_of_sizes(model_of: Make, mixed: Batch, name: str) -> None:
    """Not made anew for other lengths of sequences: those stay outside of what is compiled."""
    model, compiled = (model_of(name) for _ in range(2))
    torch.compiler.reset()
    counter = CompileCounter()
    for block in compiled.repeated_blocks():
        block.forward = torch.compile(block.forward, backend=counter)
    made = []
    for frames, columns in [(5, 14), (4, 13), (3, 12), (5, 9), (2, 6), (4, 11)]:
        given = told(model, smaller(mixed, frames, columns))
        torch.testing.assert_close(compiled(**given), model(**given), rtol=0, atol=1e-4)
        made.append(counter.frame_count)
    assert made[2] == made[-1]


def test_nothing_is_read_back_from_the_device(model_of: Make, mixed: Batch, name: str) -> None:
    """The meta device has no numbers to read; `valid` stays on the CPU."""
    model = model_of(name).to("meta")
    on_meta = {key: value if key == "valid" else value.to("meta") for key, value in mixed.items()}
    out = model(**told(model, on_meta))
    assert (out.shape, out.device.type) == ((3, 6, 5, 6, 14), "meta")


@pytest.mark.parametrize(
    ("hole", "message"),
    [((1, 0, 0, 0), "no box at the origin for clip 1"), ((2, slice(None)), "no box at the origin for clip 2")],
)
def test_a_valid_that_is_no_box_is_refused(
    model_of: Make, mixed: Batch, name: str, hole: tuple[int, ...], message: str
) -> None:
    model = model_of(name)
    mixed["valid"][hole] = False
    with pytest.raises(UserError, match=message):
        model(**told(model, mixed))


def test_a_valid_of_another_shape_is_refused(model_of: Make, mixed: Batch, name: str) -> None:
    model = model_of(name)
    with pytest.raises(UserError, match=r"valid of shape \(3, 5, 6, 7\); it takes \(3, 5, 6, 14\)"):
        model(**told(model, {**mixed, "valid": mixed["valid"][..., :7]}))
