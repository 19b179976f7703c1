"""What STDiT2 and STDiT3 have in common: clips of every size, told of their size and frame rate."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.utils.checkpoint import checkpoint
from vidgen import UserError

Make = Callable[..., nn.Module]
Batch = dict[str, Tensor]
pytestmark = pytest.mark.parametrize("name", ["STDiT2", "STDiT3"])


def test_output_has_the_size_of_the_clip_and_is_float32(enlivened: Make, sized_batch: Batch, name: str) -> None:
    assert enlivened(name)(**sized_batch).shape == (2, 6, 5, 7, 9)
    assert enlivened(name, pred_sigma=False)(**sized_batch).shape == (2, 3, 5, 7, 9)
    half = enlivened(name).bfloat16()(**sized_batch)
    assert half.dtype == torch.float32
    assert half.isfinite().all()


def test_bfloat16_stays_near_float32(enlivened: Make, sized_batch: Batch, name: str) -> None:
    sized_batch["timestep"] = torch.tensor([12.5, 728.0])  # the same number in both
    exact = enlivened(name)(**sized_batch)
    assert (enlivened(name).bfloat16()(**sized_batch) - exact).norm() < 0.05 * exact.norm()


def test_a_batch_of_two_gives_what_single_clips_give(enlivened: Make, sized_batch: Batch, name: str) -> None:
    model = enlivened(name, qk_norm=True)
    together = model(**sized_batch)
    alone = [model(**{k: v[i : i + 1] for k, v in sized_batch.items()}) for i in (0, 1)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-4)


def test_clips_are_as_if_zeros_lay_behind_their_last_row_and_column(
    enlivened: Make, sized_batch: Batch, name: str
) -> None:
    model = enlivened(name)
    padded = {**sized_batch, "x": nn.functional.pad(sized_batch["x"], (0, 1, 0, 1))}
    assert torch.equal(model(**padded)[..., :7, :9], model(**sized_batch))


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 4, 6), (4, 2, 3)])
def test_any_size_will_do_also_with_frames_in_pairs(
    enlivened: Make, sized_batch: Batch, name: str, size: tuple[int, int, int]
) -> None:
    others = {key: value for key, value in sized_batch.items() if key not in ("x", "x_mask")}
    out = enlivened(name, patch_size=(2, 2, 2))(torch.ones(2, 3, *size), **others)
    assert out.shape == (2, 6, *size)
    assert out.isfinite().all()


def test_an_x_mask_that_is_true_everywhere_changes_nothing(enlivened: Make, sized_batch: Batch, name: str) -> None:
    model = enlivened(name)
    masked = model(**{**sized_batch, "x_mask": torch.ones(2, 5, dtype=torch.bool)})
    del sized_batch["x_mask"]
    torch.testing.assert_close(masked, model(**sized_batch), rtol=0, atol=1e-5)


def test_given_frames_feel_the_timestep_in_the_first_final_modulation_alone(
    enlivened: Make, sized_batch: Batch, name: str
) -> None:
    model = enlivened(name)
    seen: list[Tensor] = []
    model.repeated_blocks()[-1].register_forward_hook(lambda module, args, out: seen.append(out))
    given = {**sized_batch, "x_mask": torch.zeros(2, 5, dtype=torch.bool)}
    outs = [model(**{**given, "timestep": torch.tensor(times)}) for times in ([3.0, 4.0], [500.0, 900.0])]
    assert torch.equal(*seen)
    assert not torch.equal(*outs)


def test_mask_rows_and_numbers_are_repeated_for_guidance(enlivened: Make, sized_batch: Batch, name: str) -> None:
    model = enlivened(name)
    doubled = {key: torch.cat([value, value]) for key, value in sized_batch.items()}
    few = {key: sized_batch[key] for key in ("mask", "fps", "height", "width", "num_frames", "ar")}
    torch.testing.assert_close(model(**{**doubled, **few}), model(**doubled), rtol=0, atol=1e-6)


def test_positions_follow_the_first_clip(enlivened: Make, sized_batch: Batch, name: str) -> None:
    """In STDiT2 height and width are conditions as well, so that only those of STDiT3's second clip are idle."""
    model = enlivened(name)
    expected = model(**sized_batch)
    other_last = model(**{**sized_batch, "height": torch.tensor([56.0, 300.0])})
    other_first = model(**{**sized_batch, "height": torch.tensor([300.0, 56.0])})
    assert torch.equal(other_last[0], expected[0])
    assert not torch.equal(other_first[1], expected[1])
    assert torch.equal(other_last[1], expected[1]) == (name == "STDiT3")


def test_encoded_text_gives_the_same(enlivened: Make, sized_batch: Batch, name: str) -> None:
    model = enlivened(name)
    x, timestep = sized_batch.pop("x"), sized_batch.pop("timestep")
    encoded = model.encode_text({**sized_batch, "drop_caption": torch.tensor([False, True])})
    assert encoded.keys() == {*sized_batch, "text"} - {"y"}
    expected = model(x, timestep, **sized_batch, drop_caption=torch.tensor([False, True]))
    torch.testing.assert_close(model(x, timestep, **encoded), expected, rtol=0, atol=1e-6)


def test_dropped_captions_equal_the_null_conditioning(enlivened: Make, sized_batch: Batch, name: str) -> None:
    model = enlivened(name, class_dropout_prob=1.0)
    null = model(**model.null_conditioning(sized_batch))
    dropped = model(**sized_batch, drop_caption=torch.tensor([True, True]))
    torch.testing.assert_close(dropped, null, rtol=0, atol=1e-6)
    assert (model(**sized_batch) - null).abs().max() > 1e-3
    torch.testing.assert_close(model.train()(**sized_batch), null, rtol=0, atol=1e-6)


def test_checkpointed_blocks_give_equal_gradients(enlivened: Make, sized_batch: Batch, name: str) -> None:
    def gradients(model: nn.Module) -> dict[str, Tensor | None]:
        model(**sized_batch).square().mean().backward()
        return {name: parameter.grad for name, parameter in model.named_parameters()}

    plain, saving = enlivened(name, qk_norm=True), enlivened(name, qk_norm=True)
    for block in saving.repeated_blocks():
        forward = block.forward
        block.forward = lambda *inputs, forward=forward: checkpoint(forward, *inputs, use_reentrant=False)
    expected = gradients(plain)
    for entry, gradient in gradients(saving).items():
        if entry != "rope.freqs":
            torch.testing.assert_close(gradient, expected[entry], rtol=0, atol=0)


def test_every_parameter_but_the_rotary_frequencies_learns(enlivened: Make, sized_batch: Batch, name: str) -> None:
    model = enlivened(name, qk_norm=True)
    model(**sized_batch).square().mean().backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert still == ["rope.freqs"]


def test_blocks_compile_into_one_graph_each_and_seldom_again(enlivened: Make, sized_batch: Batch, name: str) -> None:
    model, compiled = (enlivened(name, depth=1) for _ in range(2))
    torch.compiler.reset()
    counters = {type(block): CompileCounter() for block in compiled.repeated_blocks()}
    for block in compiled.repeated_blocks():
        block.compile(fullgraph=True, backend=counters[type(block)])
    for frames, rows, columns in [(5, 7, 9), (4, 7, 9), (3, 12, 5), (5, 9, 16), (2, 6, 4)]:
        clips = {**sized_batch, "x": torch.ones(2, 3, frames, rows, columns)}
        clips["x_mask"] = sized_batch["x_mask"][:, :frames]
        torch.testing.assert_close(compiled(**clips), model(**clips), rtol=0, atol=1e-4)
    assert max(counter.frame_count for counter in counters.values()) <= 3


def test_nothing_is_read_back_from_the_device(enlivened: Make, sized_batch: Batch, name: str) -> None:
    """The meta device has no numbers to read."""
    model = enlivened(name, qk_norm=True).to("meta")
    on_meta = {key: value.to("meta") for key, value in sized_batch.items()}
    out = model(**on_meta, drop_caption=torch.ones(2, dtype=torch.bool, device="meta"))
    assert (out.shape, out.device.type) == ((2, 6, 5, 7, 9), "meta")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": torch.zeros(2, 4, 5, 6, 14)}, r"latents of shape \(2, 4, 5, 6, 14\); it takes \(clips, 3, frames"),
        ({"x": torch.zeros(2, 3, 5, 6)}, r"latents of shape \(2, 3, 5, 6\)"),
        ({"x": torch.zeros(2, 3, 5, 0, 6)}, r"latents of shape \(2, 3, 5, 0, 6\); it takes 1 or more"),
        ({"timestep": torch.zeros(3)}, r"timestep of shape \(3,\); it takes \(2,\)"),
        ({"y": torch.zeros(2, 4, 9)}, r"captions of shape \(2, 4, 9\) for 2 clips; it takes \(2, tokens, 7\)"),
        ({"mask": torch.ones(2, 3)}, r"caption mask of shape \(2, 3\) .* it takes \(2, 4\)"),
        ({"x_mask": torch.ones(2, 4, dtype=torch.bool)}, r"x_mask of shape \(2, 4\); it takes \(2, 5\)"),
        ({"drop_caption": torch.ones(1, dtype=torch.bool)}, r"drop_caption of shape \(1,\); it takes \(2,\)"),
        ({"fps": None}, "the model got no fps; it takes one number for each of the 2 clips"),
        ({"width": torch.ones(3)}, r"width of shape \(3,\); it takes \(2,\), or fewer that divide 2"),
        ({"height": torch.ones(0)}, r"height of shape \(0,\)"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    build: Make, sized_batch: Batch, name: str, changed: Batch, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build(name)(**{**sized_batch, **changed})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 27, "num_heads": 3}, "hidden_size is 27; it has to be a multiple of (4|12) "),
        ({"num_heads": 5}, "hidden_size is 24; .* of num_heads, 5"),
        ({"num_heads": 8}, "heads of width 3, which has to be even"),
        ({"patch_size": (1, 0, 2)}, r"patch_size is \[1, 0, 2\]; every number has to be 1 or more"),
        ({"in_channels": 4}, "in_channels is 4, but the autoencoder gives 3"),
    ],
)
def test_options_that_contradict_are_refused(build: Make, name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(name, **options)
