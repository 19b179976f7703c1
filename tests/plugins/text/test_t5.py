"""A vector per token, from T5 and its relatives."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, MT5EncoderModel, T5EncoderModel, T5ForConditionalGeneration, UMT5EncoderModel
from vidgen.errors import RunError, UserError
from vidgen.interfaces import Context
from vidgen.testing import assert_conforms
from vidgen_text import T5Options
from vidgen_text.t5 import T5, build

TEXTS = [
    "the red car runs in the street at night",
    "",
    "a cat",
    "a slow dog sits on the red blue car in the street at night a cat sits",
    "unheard words",
]
LENGTHS = [10, 1, 3, 12, 3]


def make(folder: Path, **options) -> T5:
    return build(T5Options(from_pretrained=str(folder), **{"model_max_length": 12, **options}), Context())


def published(model_class, folder: Path, texts=TEXTS, length=12, **options):
    """What transformers makes of the texts, padded to the full length."""
    tokens = AutoTokenizer.from_pretrained(folder)(
        texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
    )
    model = model_class.from_pretrained(folder, **options).eval()
    with torch.no_grad():
        return model(tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state, tokens.attention_mask


def equal(made, wanted, tolerance=0.0):
    torch.testing.assert_close(made, wanted, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("family", "model_class"), [("t5", T5EncoderModel), ("mt5", MT5EncoderModel), ("umt5", UMT5EncoderModel)]
)
def test_every_family_is_that_of_transformers(family, model_class, write_t5):
    folder = write_t5(family)
    encoder = make(folder, padding="full")
    made, (y, mask) = encoder.encode(TEXTS), published(model_class, folder)
    equal(made["mask"], mask)
    equal(made["y"], y, 1e-5)
    assert (encoder.width, encoder.max_length) == (20, 12)


@pytest.mark.parametrize("activation", ["relu", "gated-silu"])
def test_other_activations_are_taken_from_the_configuration(activation, write_t5):
    folder = write_t5(feed_forward_proj=activation)
    equal(make(folder, padding="full").encode(TEXTS)["y"], published(T5EncoderModel, folder)[0], 1e-5)


def test_the_mask_counts_the_words_kept_and_the_end_marker(t5_folder):
    encoder = make(t5_folder)
    mask = encoder.encode(TEXTS)["mask"]
    assert mask.sum(dim=1).tolist() == LENGTHS
    assert mask.dtype == torch.int64
    assert encoder.tokens(["cat cat cat cat", ""]) == [[5, 5, 5, 5, 1], [1]]
    assert make(t5_folder, model_max_length=3).tokens(["cat dog cat dog"]) == [[5, 6, 1]]
    assert make(t5_folder, model_max_length=1).tokens(["cat dog"]) == [[1]]


def test_trimmed_padding_leaves_the_tokens_alone_and_the_rest_zero(t5_folder):
    full, trimmed = make(t5_folder, padding="full").encode(TEXTS), make(t5_folder).encode(TEXTS)
    tokens = full["mask"][..., None] == 1
    equal(trimmed["mask"], full["mask"])
    equal(trimmed["y"], full["y"].masked_fill(~tokens, 0), 1e-5)
    assert full["y"].masked_select(~tokens).abs().min() > 0


@pytest.mark.parametrize("padding", ["trimmed", "full"])
@pytest.mark.parametrize(("size", "sort"), [(None, False), (2, True), (2, False), (1, True)])
def test_groups_and_their_order_change_nothing(padding, size, sort, t5_folder):
    together = make(t5_folder, padding=padding).encode(TEXTS)
    encoder = make(t5_folder, padding=padding, micro_batch_size=size, sort_by_length=sort)
    for key, value in encoder.encode(TEXTS).items():
        equal(value, together[key], 1e-5)
        equal(torch.cat([encoder.encode([text])[key] for text in TEXTS]), together[key], 1e-5)


def test_no_text_makes_no_row(t5_folder):
    made = make(t5_folder).encode([])
    assert (made["y"].shape, made["mask"].shape) == ((0, 12, 20), (0, 12))


def test_fused_layers_are_equal_within_rounding(t5_folder):
    equal(make(t5_folder, shardformer=True).encode(TEXTS)["y"], make(t5_folder).encode(TEXTS)["y"], 1e-5)


def test_the_mode_of_training_drops_nothing_out(write_t5):
    folder = write_t5(dropout_rate=0.5)
    encoder = make(folder)
    equal(encoder.train().encode(TEXTS)["y"], encoder.eval().encode(TEXTS)["y"])


def test_what_runs_around_does_not_change_features(t5_folder):
    encoder = make(t5_folder)
    plain = encoder.encode(TEXTS)["y"]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        inside = encoder.encode(TEXTS)["y"]
    equal(inside, plain)
    assert not plain.requires_grad and not inside.is_inference()


def test_captions_are_cleaned_when_asked(t5_folder):
    dirty, clean = "The RED cat@home.com", "the red cat"
    assert make(t5_folder).tokens([dirty]) != make(t5_folder).tokens([clean])
    assert make(t5_folder, clean_caption=True).tokens([dirty]) == make(t5_folder).tokens([clean])


def test_of_a_whole_model_the_encoder_alone_is_loaded(t5_folder, tmp_path):
    """One stored table of tokens or two, a decoder or none: the encoder is the same."""
    whole = T5ForConditionalGeneration.from_pretrained(t5_folder)
    folder = copied(t5_folder, tmp_path / "whole")
    whole.save_pretrained(folder)
    state = load_file(folder / "model.safetensors")
    assert any(name.startswith("decoder.") for name in state)
    wanted = make(t5_folder).encode(TEXTS)["y"]
    equal(make(folder).encode(TEXTS)["y"], wanted)
    state["encoder.embed_tokens.weight"] = state.pop("shared.weight")
    save_file(state, folder / "model.safetensors")
    encoder = make(folder)
    equal(encoder.encode(TEXTS)["y"], wanted)
    assert not any("decoder" in name for name in encoder.state_dict())


def test_pickled_and_sharded_weights_are_read(t5_folder, tmp_path):
    folder = copied(t5_folder, tmp_path / "pickled")
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    wanted = make(t5_folder).encode(TEXTS)["y"]
    equal(make(folder).encode(TEXTS)["y"], wanted)
    T5EncoderModel.from_pretrained(t5_folder).save_pretrained(tmp_path / "shards", max_shard_size="10KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(t5_folder / name, tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 1
    equal(make(tmp_path / "shards").encode(TEXTS)["y"], wanted)


@pytest.mark.parametrize("after_use", ["keep", "cpu", "free"])
def test_released_weights_come_back(after_use, t5_folder):
    encoder = make(t5_folder, after_use=after_use)
    wanted = encoder.encode(TEXTS)["y"]
    encoder.release()
    encoder.release()
    assert (sum(p.numel() for p in encoder.parameters()) == 0) == (after_use == "free")
    equal(encoder.encode(TEXTS)["y"], wanted)
    assert len(list(encoder.parameters())) > 0


def test_the_kit_finds_nothing_wrong(t5_folder):
    assert_conforms("text_encoder", "t5", from_pretrained=str(t5_folder), model_max_length=6)
    assert_conforms("text_encoder", "t5", from_pretrained=str(t5_folder), padding="full", dtype="int8")


# Bad input


def test_bytes_are_told_from_text(t5_folder):
    with pytest.raises(UserError, match="text 1 is bytes, not text: decode"):
        make(t5_folder).encode(["a cat", b"a cat"])


def test_a_text_that_was_not_utf_8_is_told(t5_folder):
    text = b"a caf\xe9".decode("utf-8", errors="surrogateescape")
    with pytest.raises(UserError, match=r"text 0 holds '\\udce9' at character 5, .* not UTF-8"):
        make(t5_folder).encode([text])


@pytest.mark.parametrize("clean", [False, True])
def test_a_text_of_100_000_characters_is_cut(clean, t5_folder):
    encoder = make(t5_folder, clean_caption=clean)
    made = encoder.encode(["a cat " * 16667, "x" * 100_000])
    assert made["mask"].sum(dim=1).tolist() == [12, 2]
    assert made["y"].isfinite().all()


def test_a_tokenizer_of_another_encoder_is_told(t5_folder, tmp_path):
    folder = copied(t5_folder, tmp_path / "small")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 6}))
    state = load_file(folder / "model.safetensors")
    save_file({**state, "shared.weight": state["shared.weight"][:6].clone()}, folder / "model.safetensors")
    with pytest.raises(UserError, match="text 1 has token 6, but the encoder knows 6: the tokenizer is another"):
        make(folder).encode(["a cat", "a dog"])


def test_a_tokenizer_without_end_marker_is_told(t5_folder, tmp_path):
    folder = copied(t5_folder, tmp_path / "endless")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, "post_processor": None}))
    with pytest.raises(UserError, match=r"the tokenizer in .*endless sets no end marker"):
        make(folder)


def test_a_damaged_tokenizer_is_told(t5_folder, tmp_path):
    folder = copied(t5_folder, tmp_path / "damaged")
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(RunError, match=r"the tokenizer in .*damaged cannot be read"):
        make(folder)


def test_a_tokenizer_that_brings_code_is_refused(t5_folder, tmp_path):
    folder = copied(t5_folder, tmp_path / "code")
    (folder / "own").mkdir()
    code = {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", None]}}
    (folder / "own/tokenizer_config.json").write_text(json.dumps(code))
    (folder / "own/mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    shutil.copy(folder / "tokenizer.json", folder / "own")
    with pytest.raises(RunError, match="custom code"):
        make(folder, tokenizer_subfolder="own")
    assert not (tmp_path / "ran").exists()


def test_another_kind_of_model_is_told(t5_folder, tmp_path):
    folder = copied(t5_folder, tmp_path / "other")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="is of a model of type 'bert'; t5 takes t5, mt5, umt5"):
        make(folder)
    (folder / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
    with pytest.raises(UserError, match="is of a model of type 'AutoencoderKL'; t5 takes"):
        make(folder)


def test_the_family_is_told_by_the_architecture_where_the_type_is_missing(write_t5, tmp_path):
    folder = write_t5("umt5")
    wanted = make(folder).encode(TEXTS)["y"]
    config = json.loads((folder / "config.json").read_text())
    assert config.pop("model_type") == "umt5"
    (folder / "config.json").write_text(json.dumps(config))
    equal(make(folder).encode(TEXTS)["y"], wanted)


def test_a_configuration_with_a_wrong_value_is_told(t5_folder, tmp_path):
    folder = copied(t5_folder, tmp_path / "wrong")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "d_model": "wide"}))
    with pytest.raises(RunError, match=r"wrong/config\.json is no configuration of t5"):
        make(folder)


def test_weights_of_another_size_are_told(t5_folder, tmp_path):
    folder = copied(t5_folder, tmp_path / "larger")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "d_ff": 29}))
    with pytest.raises(UserError, match=r"holds weights of another model than T5Stack"):
        make(folder)


@pytest.mark.parametrize("name", ["model_max_length", "micro_batch_size"])
def test_empty_sizes_are_refused(name):
    with pytest.raises(ValueError, match=name):
        T5Options(from_pretrained="t5", **{name: 0})


def copied(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to
