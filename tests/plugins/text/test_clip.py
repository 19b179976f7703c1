"""One vector per caption, from CLIP's text encoder."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, CLIPConfig, CLIPModel, CLIPTextModel
from vidgen.errors import RunError, UserError
from vidgen.interfaces import Context
from vidgen.testing import assert_conforms
from vidgen_text import ClipOptions
from vidgen_text.clip import Clip, build

TEXTS = ["a bad cab", "", "ABLE", "a face be a bee a decade", "bag<|endoftext|>bag"]


def make(folder: Path, **options) -> Clip:
    return build(ClipOptions(from_pretrained=str(folder), **{"model_max_length": 9, **options}), Context())


def equal(made, wanted, tolerance=0.0):
    torch.testing.assert_close(made, wanted, rtol=0, atol=tolerance)


def test_it_is_the_pooled_state_of_transformers(clip_folder):
    tokens = AutoTokenizer.from_pretrained(clip_folder)(
        TEXTS, padding="max_length", truncation=True, max_length=9, return_tensors="pt"
    )
    with torch.no_grad():
        wanted = CLIPTextModel.from_pretrained(clip_folder).eval()(tokens.input_ids).pooler_output
    encoder = make(clip_folder)
    made = encoder.encode(TEXTS)
    equal(made["y"], wanted[:, None], 1e-5)
    assert torch.equal(made["mask"], torch.ones(5, 1, dtype=torch.int64))
    assert (encoder.width, encoder.max_length) == (20, 1)


def test_what_follows_the_first_end_marker_is_not_seen(clip_folder):
    y = make(clip_folder).encode(["bag", "bag<|endoftext|>bad"])["y"]
    equal(y[0], y[1], 1e-5)


def test_groups_and_their_order_change_nothing(clip_folder):
    wanted = make(clip_folder).encode(TEXTS)["y"]
    equal(make(clip_folder, micro_batch_size=2).encode(TEXTS)["y"], wanted, 1e-5)
    equal(make(clip_folder, micro_batch_size=2, sort_by_length=False).encode(TEXTS)["y"], wanted, 1e-5)


def test_long_captions_keep_the_end_marker_last(clip_folder):
    assert make(clip_folder, model_max_length=4).tokens(["a bad cab"]) == [[24, 12, 1, 25]]
    assert make(clip_folder).tokens(["l" * 100_000])[0][-1] == 25


def test_the_text_half_of_a_whole_clip_is_found(clip_folder, tmp_path):
    """As published: every name under `text_model.`, beside the other half and the projections."""
    text = json.loads((clip_folder / "config.json").read_text())
    vision = {"hidden_size": 12, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    whole = CLIPModel(CLIPConfig(text_config=text, vision_config={**vision, "image_size": 8, "patch_size": 4}))
    whole.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    own = load_file(clip_folder / "model.safetensors")
    published = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in own.items()}
    assert published.keys() < state.keys()
    save_file({**state, **published}, tmp_path / "model.safetensors")
    for path in clip_folder.glob("tokenizer*"):
        shutil.copy(path, tmp_path)
    equal(make(tmp_path).encode(TEXTS)["y"], make(clip_folder).encode(TEXTS)["y"])


@pytest.mark.parametrize("after_use", ["cpu", "free"])
def test_released_weights_come_back(after_use, clip_folder):
    encoder = make(clip_folder, after_use=after_use)
    wanted = encoder.encode(TEXTS)["y"]
    encoder.release()
    equal(encoder.encode(TEXTS)["y"], wanted)


def test_the_kit_finds_nothing_wrong(clip_folder):
    for dtype in ("fp32", "int8"):
        assert_conforms("text_encoder", "clip", from_pretrained=str(clip_folder), model_max_length=7, dtype=dtype)


def test_more_tokens_than_places_are_refused(clip_folder):
    with pytest.raises(UserError, match=r"model_max_length: 10, but the encoder in .* has 9 places"):
        make(clip_folder, model_max_length=10)


def test_another_kind_of_model_is_told(clip_folder, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(UserError, match="is of a model of type 't5'; clip takes clip_text_model"):
        make(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(UserError, match="or clip with a text_config"):
        make(tmp_path)


def test_a_configuration_with_a_wrong_value_is_told(clip_folder, tmp_path):
    config = json.loads((clip_folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_attention_heads": 3}))
    with pytest.raises(RunError, match=r"config\.json is no configuration of clip_text_model"):
        make(tmp_path)
