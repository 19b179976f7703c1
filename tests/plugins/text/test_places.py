"""Where encoders and tokenizers are looked for, and what is said when they are not there."""

import shutil
from pathlib import Path

import pytest
import torch
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen_text import ClipOptions, T5Options
from vidgen_text import clip as clip_module
from vidgen_text.t5 import build

TEXTS = ["a cat", "the red dog runs"]
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


def make(source: Path | str, *, load: bool = True, **options):
    return build(T5Options(from_pretrained=str(source), model_max_length=5, **options), Context(load_weights=load))


@pytest.fixture
def pipeline(t5_folder, tmp_path) -> Path:
    """A folder as diffusers lays it out: encoder and tokenizer beside each other."""
    root = tmp_path / "pipeline"
    shutil.copytree(t5_folder, root / "text_encoder_2", ignore=shutil.ignore_patterns("tokenizer*"))
    (root / "tokenizer_2").mkdir()
    for name in TOKENIZER:
        shutil.copy(t5_folder / name, root / "tokenizer_2")
    return root


def test_the_tokenizer_is_found_beside_the_encoder(pipeline, t5_folder):
    wanted = make(t5_folder).encode(TEXTS)["y"]
    for encoder in (
        make(pipeline, subfolder="text_encoder_2"),
        make(pipeline / "text_encoder_2"),
        make(pipeline, subfolder="text_encoder_2", tokenizer_subfolder="tokenizer_2"),
    ):
        assert torch.equal(encoder.encode(TEXTS)["y"], wanted)


def test_a_missing_folder_is_told(pipeline, tmp_path):
    with pytest.raises(UserError, match=r"no text encoder at .*nowhere: no such folder, and no Hugging Face id"):
        make(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no text encoder at .*pipeline/text_encoder: no such folder$"):
        make(pipeline, subfolder="text_encoder")
    with pytest.raises(UserError, match=r"model\.safetensors: is a file; the folder around it is wanted"):
        make(pipeline / "text_encoder_2/model.safetensors")
    with pytest.raises(
        UserError, match=r"no text encoder at .*nowhere/encoder: no such folder, and no Hugging Face id"
    ):
        make(tmp_path / "nowhere", subfolder="encoder")


def test_a_tokenizer_without_encoder_is_told(pipeline):
    with pytest.raises(UserError, match=r"no text encoder in .*: it holds a tokenizer alone; looked for config\.json"):
        make(pipeline / "tokenizer_2")
    with pytest.raises(UserError, match=r"no text encoder in .*pipeline: looked for config\.json.* say subfolder"):
        make(pipeline)


def test_an_encoder_without_tokenizer_is_told_before_its_weights_are_read(pipeline):
    shutil.rmtree(pipeline / "tokenizer_2")
    (pipeline / "text_encoder_2/model.safetensors").write_text("damaged")
    with pytest.raises(
        UserError, match=r"has no tokenizer: looked for tokenizer\.json, .* in .*text_encoder_2 and .*tokenizer_2 and"
    ):
        make(pipeline, subfolder="text_encoder_2")


def test_missing_weights_are_told(pipeline):
    (pipeline / "text_encoder_2/model.safetensors").unlink()
    with pytest.raises(UserError, match=r"no weights in .*text_encoder_2: looked for model, "):
        make(pipeline, subfolder="text_encoder_2")


def test_a_dry_run_reads_the_configuration_alone(t5_folder, clip_folder, tmp_path):
    for name, folder in (("t5", t5_folder), ("clip", clip_folder)):
        (tmp_path / name).mkdir()
        shutil.copy(folder / "config.json", tmp_path / name)
    with torch.device("meta"):
        t5 = make(tmp_path / "t5", load=False, dtype="int8", shardformer=True)
        clip = clip_module.build(
            ClipOptions(from_pretrained=str(tmp_path / "clip"), model_max_length=9), Context(load_weights=False)
        )
    for encoder in (t5, clip):
        assert encoder.width == 20
        assert all(tensor.is_meta for tensor in (*encoder.parameters(), *encoder.buffers()))


# Hugging Face ids


@pytest.fixture
def hub_cache(t5_folder, tmp_path, monkeypatch) -> Path:
    """A cache with `tiny-org/tiny` in it, and no network."""
    home = tmp_path / "cache"
    snapshot = home / "models--tiny-org--tiny/snapshots" / ("a" * 40)
    shutil.copytree(t5_folder, snapshot)
    (home / "models--tiny-org--tiny/refs").mkdir()
    (home / "models--tiny-org--tiny/refs/main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return snapshot


@pytest.mark.parametrize("source", ["tiny-org/tiny", f"tiny-org/tiny@{'a' * 40}"])
def test_an_id_is_taken_from_the_cache_when_offline(source, hub_cache, t5_folder):
    assert torch.equal(make(source).encode(TEXTS)["y"], make(t5_folder).encode(TEXTS)["y"])


def test_an_id_with_pickled_weights_is_taken_as_well(hub_cache, t5_folder):
    from safetensors.torch import load_file

    torch.save(load_file(hub_cache / "model.safetensors"), hub_cache / "pytorch_model.bin")
    (hub_cache / "model.safetensors").unlink()
    assert torch.equal(make("tiny-org/tiny").encode(TEXTS)["y"], make(t5_folder).encode(TEXTS)["y"])


@pytest.mark.parametrize(("load", "looked"), [(True, r"\*\.json, \*\.model, \*\.txt"), (False, r"text/config\.json")])
def test_an_id_that_is_not_in_the_cache_is_told_with_what_was_looked_for(load, looked, hub_cache):
    with pytest.raises(
        UserError,
        match=r"'tiny-org/other' is no path here, and as a Hugging Face id it cannot be had from .*HF_HUB_OFFLINE is "
        rf"set, so only the cache .* was looked at\); looked for {looked}\. Give a folder",
    ):
        make("tiny-org/other", load=load, subfolder="text")


def test_a_mistyped_path_is_no_id(hub_cache, tmp_path):
    (tmp_path / "models").mkdir()
    with pytest.raises(
        UserError, match="no text encoder at models/t5: no such folder; taken for a path and not for a Hu"
    ):
        make("models/t5")


def test_an_id_that_cannot_be_one_is_told(hub_cache):
    with pytest.raises(UserError, match="'tiny--org/tiny' is no path here and no Hugging Face id"):
        make("tiny--org/tiny")
