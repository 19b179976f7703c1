"""Weights from files into STDiT2 and STDiT3: own ones, earlier versions', image models', strangers'."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from vidgen import UserError

Make = Callable[..., nn.Module]
Batch = dict[str, Tensor]


def saved(state: dict[str, Tensor], folder: Path) -> str:
    """A file of it, whose name tells nothing."""
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "weights.safetensors")
    return str(folder / "weights.safetensors")


def image_state(model: nn.Module, *, caption_length: int) -> dict[str, Tensor]:
    """What an image model of the width and depth of an STDiT would have."""
    state = {name: value for name, value in model.state_dict().items() if ".attn_temp." not in name}
    state["x_embedder.proj.weight"] = state["x_embedder.proj.weight"][:, :, 0]
    state["y_embedder.y_embedding"] = torch.randn(caption_length, 7)
    del state["pos_embed_temporal"]
    return state


@pytest.mark.parametrize("name", ["STDiT2", "STDiT3"])
def test_own_weights_come_back(enlivened: Make, build: Make, sized_batch: Batch, tmp_path: Path, name: str) -> None:
    trained = enlivened(name, qk_norm=True)
    loaded = build(name, qk_norm=True, from_pretrained=saved(trained.state_dict(), tmp_path))
    torch.testing.assert_close(loaded(**sized_batch), trained(**sized_batch), rtol=0, atol=1e-5)
    assert not loaded.rope.freqs.requires_grad


def test_an_stdit_fills_all_of_stdit2_but_what_is_new(enlivened: Make, build: Make, tmp_path: Path) -> None:
    source, start = enlivened("STDiT").state_dict(), build("STDiT2", qk_norm=True).state_dict()
    state = build("STDiT2", qk_norm=True, from_pretrained=saved(source, tmp_path)).state_dict()
    for name, value in state.items():
        assert torch.equal(value, source.get(name, start[name])), name
    assert sum(name not in source for name in state) == 8 + 8 + 2 + 1 + 2 + 8  # 4 embedders, tables, rope, qk norms


def test_an_image_model_fills_stdit2_but_its_temporal_attention(enlivened: Make, build: Make, tmp_path: Path) -> None:
    source, start = image_state(enlivened("STDiT"), caption_length=4), build("STDiT2").state_dict()
    state = build("STDiT2", from_pretrained=saved(source, tmp_path)).state_dict()
    source["x_embedder.proj.weight"] = source["x_embedder.proj.weight"][:, :, None]
    for name, value in state.items():
        assert torch.equal(value, source.get(name, start[name])), name
    assert not state["blocks.1.attn_temp.proj.weight"].any()


@pytest.mark.parametrize(("length", "how"), [(2, "by repeating the last"), (4, None), (6, "by leaving out the last")])
def test_an_image_model_fills_the_spatial_half_of_stdit3(
    enlivened: Make,
    build: Make,
    sized_batch: Batch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    length: int,
    how: str | None,
) -> None:
    source, start = image_state(enlivened("STDiT"), caption_length=length), build("STDiT3").state_dict()
    with caplog.at_level(logging.INFO):
        model = build("STDiT3", from_pretrained=saved(source, tmp_path))
    assert "converted from PixArt-Sigma" in caplog.text
    assert (f"y_embedder.y_embedding: {length} tokens made 4 {how}" in caplog.text) == (how is not None)
    state = model.state_dict()
    assert torch.equal(state["spatial_blocks.1.mlp.fc1.weight"], source["blocks.1.mlp.fc1.weight"])
    assert torch.equal(state["x_embedder.proj.weight"][:, :, 0], source["x_embedder.proj.weight"])
    assert torch.equal(state["y_embedder.y_embedding"][:2], source["y_embedder.y_embedding"][:2])
    for name, value in state.items():
        if name.startswith(("temporal_blocks.", "fps_embedder.", "rope.")) or "_norm." in name:
            assert torch.equal(value, start[name]), name
    alone = {**sized_batch, "x": sized_batch["x"][:, :, 2:3], "x_mask": sized_batch["x_mask"][:, 2:3]}
    torch.testing.assert_close(model(**alone), model(**sized_batch)[:, :, 2:3], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("source", "target"),
    [("STDiT", "STDiT3"), ("STDiT2", "STDiT3"), ("STDiT3", "STDiT2"), ("STDiT3", "STDiT"), ("STDiT2", "STDiT")],
)
def test_weights_of_another_version_are_refused(build: Make, tmp_path: Path, source: str, target: str) -> None:
    path = saved(build(source).state_dict(), tmp_path)
    with pytest.raises(UserError, match=f"holds weights of another model than {target}:\n.*not in the (file|model)"):
        build(target, from_pretrained=path)


def test_an_stdit2_that_lost_its_temporal_tables_is_not_taken_for_an_stdit(build: Make, tmp_path: Path) -> None:
    state = {name: value for name, value in build("STDiT2").state_dict().items() if "table_temporal" not in name}
    with pytest.raises(UserError, match=r"not in the file \(2\): blocks\.0\.scale_shift_table_temporal"):
        build("STDiT2", from_pretrained=saved(state, tmp_path))


def test_a_config_beside_the_weights_fills_options_that_are_left_at_their_defaults(
    enlivened: Make, build: Make, sized_batch: Batch, tmp_path: Path
) -> None:
    trained = enlivened("STDiT2", qk_norm=True, input_sq_size=512)
    save_file(trained.state_dict(), tmp_path / "model.safetensors")
    config = {"qk_norm": True, "input_sq_size": 512, "model_max_length": 4, "model_type": "STDiT2"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = build("STDiT2", from_pretrained=str(tmp_path))
    torch.testing.assert_close(loaded(**sized_batch), trained(**sized_batch), rtol=0, atol=1e-5)
    smaller = build("STDiT2", from_pretrained=str(tmp_path), input_sq_size=64)
    assert (smaller(**sized_batch) - trained(**sized_batch)).abs().max() > 1e-3
