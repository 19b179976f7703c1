"""PixArt's forward pass: what it takes, gives and refuses."""

import copy
from collections.abc import Callable, Iterator

import attrs
import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen_pixart import KvCompression, PixArtOptions
from vidgen_pixart.model import PixArt, build

Make = Callable[..., PixArt]
Batch = dict[str, Tensor]
SQUARES = KvCompression(sampling="conv", scale_factor=2, kv_compress_layer=[1])
TINY = Context(latent_channels=3, text_width=7, text_length=4)


def test_output_has_twice_the_channels_with_a_variance_and_is_float32(lively: Make, batch: Batch) -> None:
    assert lively()(**batch).shape == (2, 6, 3, 4, 10)
    assert lively(pred_sigma=False)(**batch).shape == (2, 3, 3, 4, 10)
    half = lively().bfloat16()(**batch)
    assert half.dtype == torch.float32
    assert half.isfinite().all()


def test_a_batch_of_two_gives_what_single_clips_give(lively: Make, batch: Batch, sizes: Batch) -> None:
    model, given = lively("PixArtMS"), {**batch, **sizes}
    alone = [model(**{key: value[i : i + 1] for key, value in given.items()}) for i in (0, 1)]
    torch.testing.assert_close(model(**given), torch.cat(alone), rtol=0, atol=1e-5)


def test_every_frame_attends_to_every_other(lively: Make, batch: Batch) -> None:
    model = lively()
    changed = batch["x"].clone()
    changed[:, :, 2, 3, 9] += 1
    difference = (model(**{**batch, "x": changed}) - model(**batch)).abs()
    assert difference[:, :, 0].amin(dim=(1, 2, 3)).gt(0).all()


def test_frames_without_a_position_are_treated_alike(lively: Make, batch: Batch) -> None:
    """Equal frames stay equal without the temporal table, and differ with it."""
    still = {**batch, "x": batch["x"][:, :, :1].expand(-1, -1, 3, -1, -1)}
    out = lively(no_temporal_pos_emb=True)(**still)
    torch.testing.assert_close(out[:, :, 0], out[:, :, 2], rtol=0, atol=1e-5)
    out = lively()(**still)
    assert (out[:, :, 0] - out[:, :, 2]).abs().max() > 1e-3


def test_masked_caption_tokens_have_no_influence_in_any_form_of_mask(lively: Make, batch: Batch) -> None:
    model = lively()
    expected = model(**batch)
    changed = torch.where(batch["mask"][:, :, None] == 1, batch["y"], 100.0)
    torch.testing.assert_close(model(**{**batch, "y": changed}), expected, rtol=0, atol=1e-5)
    mask = batch["mask"]
    for form in (mask.bool(), mask.float(), mask.to(torch.uint8), 3 * mask, mask[:, None, None]):
        torch.testing.assert_close(model(**{**batch, "mask": form}), expected, rtol=0, atol=0)


def test_fewer_rows_of_masks_and_sizes_are_repeated(lively: Make, batch: Batch, sizes: Batch) -> None:
    """Row i of a guided batch uses row i modulo the number of rows: both halves get those of the real captions."""
    model = lively("PixArtMS")
    doubled = {key: torch.cat([value, value]) for key, value in {**batch, **sizes}.items()}
    fewer = {**doubled, "mask": batch["mask"], **sizes}
    torch.testing.assert_close(model(**fewer), model(**doubled), rtol=0, atol=1e-6)


def test_the_size_may_come_in_the_form_of_open_sora(lively: Make, batch: Batch, sizes: Batch) -> None:
    model = lively("PixArtMS")
    info = {"hw": torch.stack([sizes["height"], sizes["width"]], dim=1), "ar": sizes["ar"][:, None]}
    torch.testing.assert_close(model(**batch, data_info=info), model(**batch, **sizes), rtol=0, atol=0)


@pytest.mark.parametrize("number", ["height", "width", "ar"])
def test_each_number_of_the_size_has_its_own_influence(lively: Make, batch: Batch, sizes: Batch, number: str) -> None:
    model = lively("PixArtMS")
    other = {**sizes, number: sizes[number] * 1.5}
    assert (model(**batch, **other) - model(**batch, **sizes)).abs().max() > 1e-3


def test_an_encoded_caption_gives_the_same(lively: Make, batch: Batch) -> None:
    model = lively()
    conditioning = {"y": batch["y"], "mask": batch["mask"], "drop_caption": torch.tensor([False, True])}
    encoded = model.encode_text(conditioning)
    assert encoded.keys() == {"text", "mask"}
    expected = model(batch["x"], batch["timestep"], **conditioning)
    torch.testing.assert_close(model(batch["x"], batch["timestep"], **encoded), expected, rtol=0, atol=1e-6)


def test_dropped_captions_equal_the_null_conditioning(lively: Make, batch: Batch) -> None:
    model = lively()
    conditioning = {"y": batch["y"][:, :3], "mask": batch["mask"][:, :3]}
    null = model.null_conditioning(conditioning)
    assert torch.equal(null["y"][1], model.y_embedder.y_embedding[:3])
    assert null["mask"] is conditioning["mask"]
    dropped = model(batch["x"], batch["timestep"], **conditioning, drop_caption=torch.tensor([True, False]))
    mixed = torch.stack([null["y"][0], conditioning["y"][1]])
    expected = model(batch["x"], batch["timestep"], mixed, mask=conditioning["mask"])
    torch.testing.assert_close(dropped, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("rate", "same_as"), [(1.0, "null"), (0.0, "real")])
def test_captions_are_dropped_in_training_alone(lively: Make, batch: Batch, rate: float, same_as: str) -> None:
    model = lively(class_dropout_prob=rate)
    real = model(**batch)
    null = model(**{**batch, **model.null_conditioning({"y": batch["y"]})})
    assert (real - null).abs().max() > 1e-3
    torch.testing.assert_close(model.train()(**batch), {"null": null, "real": real}[same_as], rtol=0, atol=1e-6)


def test_stochastic_depth_grows_over_the_blocks_and_acts_in_training_alone(lively: Make, batch: Batch) -> None:
    model = lively(drop_path=0.9, depth=3)
    assert [block.drop_path.rate for block in model.blocks] == pytest.approx([0, 0.45, 0.9])
    torch.testing.assert_close(model(**batch), lively(depth=3)(**batch), rtol=0, atol=0)


def test_any_size_gives_what_a_model_of_that_size_gives(lively: Make, batch: Batch) -> None:
    """The positions of another size refer to the same square: here 3 patches, of the area 2 x 5."""
    model = lively("PixArt_Sigma", space_scale=0.5, time_scale=1.5)
    options = PixArtOptions(hidden_size=24, depth=2, num_heads=3, base_size=6, space_scale=0.5, time_scale=1.5)
    for size in ((1, 6, 4), (3, 4, 10), (5, 2, 12)):
        fixed = build(options, attrs.evolve(TINY, latent_size=size)).eval()
        fixed.load_state_dict({**model.state_dict(), **fixed.tables()})
        given = {**batch, "x": torch.randn(2, 3, *size)}
        torch.testing.assert_close(model(**given), fixed(**given), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": torch.zeros(2, 4, 3, 4, 10)}, r"latents of shape \(2, 4, 3, 4, 10\); it takes \(clips, 3, frames"),
        ({"x": torch.zeros(2, 3, 4, 10)}, r"latents of shape \(2, 3, 4, 10\)"),
        ({"x": torch.zeros(2, 3, 3, 10, 4)}, r"latents of \[3, 10, 4\] .* tables are for \[3, 4, 10\]"),
        ({"timestep": torch.zeros(3)}, r"timestep of shape \(3,\); it takes \(2,\)"),
        ({"y": torch.zeros(2, 4, 9)}, r"captions of shape \(2, 4, 9\) for 2 clips; it takes \(2, tokens, 7\)"),
        ({"mask": torch.ones(2, 3)}, r"caption mask of shape \(2, 3\) .* it takes \(2, 4\)"),
        ({"mask": torch.ones(3, 1, 1, 4)}, r"caption mask of shape \(3, 4\)"),
        ({"drop_caption": torch.ones(1, dtype=torch.bool)}, r"drop_caption of shape \(1,\); it takes \(2,\)"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(fresh: Make, batch: Batch, changed: Batch, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fresh()(**{**batch, **changed})


@pytest.mark.parametrize("size", [(3, 5, 10), (3, 4, 1), (3, 0, 4)])
def test_a_model_of_any_size_refuses_parts_of_patches(fresh: Make, batch: Batch, size: tuple[int, int, int]) -> None:
    with pytest.raises(UserError, match=rf"latents of \[{size[0]}, {size[1]}, {size[2]}\] .* patches of \[1, 2, 2\]"):
        fresh("PixArt_Sigma")(**{**batch, "x": torch.zeros(2, 3, *size)})


def test_a_model_that_is_told_sizes_asks_for_them(fresh: Make, batch: Batch, sizes: Batch) -> None:
    model = fresh("PixArtMS")
    with pytest.raises(UserError, match=r"no size of the clips: give height, width \(pixels\) and ar"):
        model(**batch)
    with pytest.raises(UserError, match=r"ar of shape \(3,\) for 2 clips; it takes \(2,\)"):
        model(**batch, **{**sizes, "ar": torch.ones(3)})


def test_a_model_that_is_not_told_sizes_ignores_them(lively: Make, batch: Batch, sizes: Batch) -> None:
    model = lively()
    assert torch.equal(model(**batch, **sizes), model(**batch))


def test_captions_longer_than_the_null_caption_are_taken_but_cannot_be_dropped(lively: Make, batch: Batch) -> None:
    model = lively()
    long = {**batch, "y": torch.randn(2, 6, 7), "mask": torch.ones(2, 6)}
    assert model(**long).isfinite().all()
    with pytest.raises(UserError, match="captions have 6 tokens, the model's null caption has 4"):
        model(**long, drop_caption=torch.tensor([True, False]))


@pytest.mark.parametrize("name", ["PixArt", "PixArt_Sigma"])
def test_checkpointed_blocks_give_the_same_gradients(lively: Make, batch: Batch, name: str) -> None:
    plain = lively(name, kv_compress_config=SQUARES)
    saving = copy.deepcopy(plain)
    for block in saving.repeated_blocks():
        inner = block.forward
        block.forward = lambda *args, inner=inner: checkpoint(inner, *args, use_reentrant=False)
    for model in (plain, saving):
        model(**batch).square().mean().backward()
    for (entry, one), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=0, atol=1e-6, msg=entry)


@pytest.mark.parametrize("compressed", [None, SQUARES])
def test_blocks_compile_into_one_graph_and_recompile_at_most_twice(
    lively: Make, batch: Batch, graphs: list[object], compressed: KvCompression | None
) -> None:
    model = lively("PixArt_Sigma", depth=2, kv_compress_config=compressed)
    others = [(1, 6, 4), (3, 8, 10), (2, 12, 4), (4, 6, 6), (3, 4, 10)]
    inputs = [{**batch, "x": torch.randn(2, 3, *size)} for size in others]
    expected = [model(**one) for one in inputs]
    block = model.repeated_blocks()[-1]
    block.compile(fullgraph=True, backend=counting(graphs))
    for one, wanted in zip(inputs, expected, strict=True):
        torch.testing.assert_close(model(**one), wanted, rtol=0, atol=1e-5)
    assert 1 <= len(graphs) <= 3


@pytest.fixture
def graphs() -> Iterator[list[object]]:
    torch._dynamo.reset()
    yield []
    torch._dynamo.reset()


def counting(graphs: list[object]) -> Callable[..., object]:
    def backend(graph: torch.fx.GraphModule, example: list[Tensor]) -> object:
        graphs.append(graph)
        return graph.forward

    return backend


@pytest.mark.parametrize("name", ["PixArt", "PixArtMS", "PixArt_Sigma"])
def test_a_forward_on_the_meta_device_reads_nothing_back(fresh: Make, batch: Batch, sizes: Batch, name: str) -> None:
    model = fresh(name, kv_compress_config=SQUARES).to("meta")
    given = {**batch, **sizes, "drop_caption": torch.tensor([True, False])}
    given["x"] = given["x"] if name == "PixArt" else torch.zeros(2, 3, 1, 8, 4)
    out = model(**{key: value.to("meta") for key, value in given.items()})
    assert out.shape == (2, 6, *given["x"].shape[2:])


def test_every_parameter_learns(lively: Make, batch: Batch, sizes: Batch) -> None:
    model = lively("PixArtMS", qk_norm=True, kv_compress_config=SQUARES)
    model(**batch, **sizes).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []
