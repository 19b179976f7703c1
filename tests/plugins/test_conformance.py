"""Every component installed here keeps what its kind promises."""

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from vidgen.errors import RecipeError
from vidgen.registry import Offer, Registry
from vidgen.testing import assert_conforms, write_clip
from vidgen.testing.options import EVERY_KIND
from vidgen.testing.subject import Subject
from vidgen.testing.tiny import tiny_context

BLOCKS = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
FRAMES = {**BLOCKS, "block_out_channels": [8, 8], "norm_num_groups": 4, "layers_per_block": 1}
SVD = {"down_block_types": ["DownEncoderBlock2D"] * 2, "block_out_channels": [32, 32], "layers_per_block": 1}
WAVELETS = {"base_channels": 4, "encoder_energy_flow_hidden_size": 3, "decoder_energy_flow_hidden_size": 4}
BY_WAVELETS = {**WAVELETS, "norm_type": "layernorm", "encoder_num_resblocks": 1, "decoder_num_resblocks": 1}
PIPELINE = {"vae_2d": {"config": FRAMES}, "vae_temporal": {"filters": 8, "num_res_blocks": 1, "num_groups": 4}}
OPENSORA_PLAN = {"num_layers": 4, "num_attention_heads": 2, "attention_head_dim": 12, "sparse_n": 2}  # dense and sparse

TWO_BLOCKS = {"hidden_size": 24, "depth": 2}
SMALL: dict[tuple[str, str], dict[str, Any]] = {
    ("autoencoder", "VideoAutoencoderKL"): {"config": FRAMES},
    ("autoencoder", "VideoAutoencoderKLTemporalDecoder"): {"config": SVD},
    **{("autoencoder", name): PIPELINE for name in ("OpenSoraVAE_V1_2", "VideoAutoencoderPipeline")},
    **{("autoencoder", name): BY_WAVELETS for name in ("WFVAE", "WFVAE-8dim", "WFVAE-4dim")},
    ("scheduler", "diffusers/PNDMScheduler"): {"config": {"skip_prk_steps": True}},
    **{("model", name): {**TWO_BLOCKS, "num_heads": 3} for name in ("STDiT", "DiT", "Latte", "Latte-1")},
    **{("model", f"PixArt{name}"): {**TWO_BLOCKS, "num_heads": 3} for name in ("", "MS", "_Sigma")},
    **{("model", name): {**TWO_BLOCKS, "num_heads": 2} for name in ("STDiT2", "STDiT3")},
    **{("model", f"OpenSora{name}_v1_3"): OPENSORA_PLAN for name in ("T2V", "Inpaint")},
    ("dataset", "VideoText"): {"data_path": "clips.csv"},
    ("dataset", "VariableVideoText"): {"data_path": "clips.csv"},
    ("dataset", "OpenSoraPlanData"): {
        **{"data": "data.txt", "num_frames": 29, "force_resolution": True, "total_batch_size": 0},
    },
    ("bucketer", "bucket"): {"bucket_config": {"tiny": {2: [1.0, 2]}}, "resolutions": {"tiny": [[16, 24]]}},
    ("bucketer", "pad"): {"size_multiple": 8},
    ("bucketer", "pack"): {"size_multiple": 8, "token_budget": 11},
    ("text_encoder", "hashed-words"): {"width": 7, "model_max_length": 5},
    ("text_encoder", "classes"): {"num_classes": 11},
}
"""Options of the trial, where the defaults are large or there are none."""

OFFERS = Registry.discover().offers()

OF_FILES = {"t5", "clip", "causal-lm"}
"""Made of files alone; their own tests make some and try them."""

OF_GPUS = {"colossalai/zero2", "colossalai/zero2-seq", "fp8"}
"""Refuse to be anywhere else; tests/gpu tries them."""

OF_RANKS = {"zero2-seq"}
"""Refuse to be alone; their own tests try them on ranks."""

LARGE = {offer.component.name for offer in OFFERS if offer.kind == "model" and "/" in offer.component.name}
"""Published sizes of models tried above: their registration and options are checked alone."""


def named(offer: Offer) -> str:
    return f"{offer.kind}-{offer.component.name}"


ELSEWHERE = LARGE | OF_FILES | OF_GPUS | OF_RANKS


@pytest.mark.parametrize("offer", [o for o in OFFERS if o.component.name not in ELSEWHERE], ids=named)
def test_it_keeps_what_its_kind_promises(offer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "clips.csv")
    torch.set_num_threads(1)
    assert_conforms(offer.kind, offer.component.name, **SMALL.get((offer.kind, offer.component.name), {}))


@pytest.mark.parametrize("offer", [o for o in OFFERS if o.component.name in LARGE], ids=named)
def test_a_large_size_is_registered_well(offer):
    assert [fault for check in EVERY_KIND for fault in check(subject(offer))] == []


@pytest.mark.parametrize("offer", OFFERS, ids=named)
def test_a_key_that_there_is_not_is_refused(offer):
    with pytest.raises(RecipeError, match="no_such_key: no such key"):
        subject(offer).structure({"no_such_key": 1})


def subject(offer: Offer) -> Subject:
    context = attrs.evolve(tiny_context(), registry=Registry.discover())
    module = offer.component.factory.split(".")[0]
    return Subject(offer.kind, offer.component, {}, context, ("vidgen.builtin" if module == "vidgen" else module,))


def write_table(path: Path) -> None:
    """A clip and a still, with captions."""
    for name, frames in (("clip", 5), ("clip2", 4)):
        write_clip(path.parent / name, torch.full((3, frames, 20, 30), 40 * frames, dtype=torch.uint8))
    path.write_text("path,text\nclip.mp4,grey\nclip2.mp4,darker\n")
    write_clip(path.parent / "long", torch.full((3, 31, 20, 30), 90, dtype=torch.uint8))
    item = {"path": "long.mp4", "cap": ["grey"], "num_frames": 31, "fps": 8, "resolution": {"height": 20, "width": 30}}
    (path.parent / "items.json").write_text(json.dumps([item]))
    (path.parent / "data.txt").write_text(".,items.json\n")
