"""Weights from one layout to another, there and back."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lively import enliven
from safetensors.torch import load_file, save_file
from torch import nn
from vidgen import build
from vidgen_convert.weights.writing import write

Weigh = Callable[..., Any]
TINY = {"hidden_size": 24, "depth": 2, "num_heads": 3, "in_channels": 3}
STILL = {**TINY, "input_size": [1, 6, 6], "no_temporal_pos_emb": True}
CAPTIONS = {"caption_channels": 7, "model_max_length": 4}
HEADS = ("--set", "num_heads=3")


def lively(name: str, **options: Any) -> nn.Module:
    """A tiny model none of whose weights is zero."""
    return enliven(build("model", name, **options)).eval()


def assert_same(state: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert state.keys() == other.keys()
    for name, value in state.items():
        assert torch.equal(value, other[name]), name


PUBLISHED: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "DiT": ("DiT", {**STILL, "condition": "label_5"}, "ema", "dit.pt"),
    "Latte": ("Latte", {**TINY, "input_size": [5, 6, 6], "condition": "label_5"}, "ema", "latte.pt"),
    "PixArt": ("PixArt", {**STILL, **CAPTIONS}, "state_dict", "pixart.pth"),
    "PixArtMS": ("PixArtMS", {**STILL, **CAPTIONS}, "state_dict", "pixart_ms.pth"),
}
"""Name -> model, options, entry of the original file, name of that file."""


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_an_original_file_goes_to_vidgen_and_back(here: Path, weigh: Weigh, name: str) -> None:
    kind, options, entry, file = PUBLISHED[name]
    model = lively(kind, **options)
    original = model.state_in("original")
    torch.save({entry: original}, here / file)

    done = weigh(file, "-o", "here", "--to", "vidgen", *HEADS)
    assert done.status == 0, done.err
    assert done.err.startswith(f"{file}: {kind}\n")
    assert_same(load_file(here / "here" / "model.safetensors"), model.state_dict())
    again = build("model", kind, from_pretrained=str(here / "here"))  # sizes come from its config.json
    assert_same(again.state_dict(), model.state_dict())

    assert weigh("here", "-o", "back.pt", "--to", "original").status == 0
    stored = torch.load(here / "back.pt", weights_only=True)
    wrapped = {"DiT": stored}.get(kind) or stored[entry]
    assert_same(wrapped, original)


@pytest.mark.parametrize("name", ["STDiT", "STDiT2", "STDiT3"])
def test_a_checkpoint_of_open_sora_goes_to_vidgen_and_to_a_folder_of_its_form(
    here: Path, weigh: Weigh, name: str
) -> None:
    model = lively(name, **TINY, **CAPTIONS)
    checkpoint = here / "epoch0-global_step5"
    (checkpoint / "model").mkdir(parents=True)
    torch.save(model.state_dict(), checkpoint / "ema.pt")
    assert weigh(checkpoint.name, "-o", "mine", "--to", "vidgen", *HEADS).status == 0
    assert_same(build("model", name, from_pretrained=str(here / "mine")).state_dict(), model.state_dict())
    assert weigh("mine", "-o", "theirs", "--to", "opensora").status == 0
    assert_same(load_file(here / "theirs" / "model.safetensors"), model.state_dict())
    config = json.loads((here / "theirs" / "config.json").read_text())
    wanted = {"model_type": name, "hidden_size": 24, "depth": 2, "num_heads": 3, "caption_channels": 7}
    assert {key: config[key] for key in wanted} == wanted


def test_the_weights_themselves_are_taken_where_the_average_is_not_wanted(here: Path, weigh: Weigh) -> None:
    model = lively("STDiT3", **TINY, **CAPTIONS)
    checkpoint = here / "epoch0-global_step5"
    (checkpoint / "model").mkdir(parents=True)
    torch.save({name: value + 1 for name, value in model.state_dict().items()}, checkpoint / "ema.pt")
    save_file(model.state_dict(), checkpoint / "model" / "model.safetensors")
    assert weigh(checkpoint.name, "-o", "mine", "--to", "vidgen", "--no-ema", *HEADS).status == 0
    assert_same(load_file(here / "mine" / "model.safetensors"), model.state_dict())


def test_weights_of_images_become_those_of_videos(here: Path, weigh: Weigh) -> None:
    model = lively("PixArt", **STILL, **CAPTIONS)
    torch.save({"state_dict": model.state_in("original")}, here / "pixart.pth")
    done = weigh("pixart.pth", "-o", "video", "--to", "vidgen", "--model", "STDiT", *HEADS)
    assert done.status == 0, done.err
    assert "converted from PixArt-alpha" in done.err
    state = load_file(here / "video" / "model.safetensors")
    assert torch.equal(state["blocks.1.mlp.fc1.weight"], model.state_dict()["blocks.1.mlp.fc1.weight"])
    assert "blocks.0.attn_temp.qkv.weight" in state


VAE: dict[str, Any] = {
    "vae_2d": {
        "config": {
            **{"block_out_channels": [8, 8], "norm_num_groups": 4, "layers_per_block": 1},
            **{"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2},
        }
    },
    "vae_temporal": {"filters": 8, "num_res_blocks": 1, "num_groups": 4},
}


@pytest.mark.parametrize("layout", ["vidgen", "opensora"])
def test_the_autoencoder_of_1_2_is_recognised(here: Path, weigh: Weigh, layout: str) -> None:
    vae = build("autoencoder", "OpenSoraVAE_V1_2", **VAE)
    torch.save(vae.state_dict(), here / "vae.pt")
    sizes = [f"{part}={json.dumps(options)}" for part, options in VAE.items()]
    arguments = [argument for size in sizes for argument in ("--set", size)]
    done = weigh("vae.pt", "-o", "vae", "--to", layout, *arguments)
    assert done.status == 0, done.err
    assert_same(load_file(here / "vae" / "model.safetensors"), vae.state_dict())


def test_open_sora_plans_transformer_is_recognised_by_its_configuration(here: Path, weigh: Weigh) -> None:
    sizes = {"num_layers": 3, "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4}
    model = lively("OpenSoraT2V_v1_3", **sizes, caption_channels=7)
    (here / "plan").mkdir()
    save_file(model.state_dict(), here / "plan" / "diffusion_pytorch_model.safetensors")
    config = {**sizes, "caption_channels": 7, "_class_name": "OpenSoraT2V_v1_3"}
    (here / "plan" / "config.json").write_text(json.dumps(config))
    done = weigh("plan", "-o", "mine", "--to", "vidgen")
    assert done.status == 0, done.err
    assert_same(load_file(here / "mine" / "model.safetensors"), model.state_dict())
    assert_same(build("model", "OpenSoraT2V_v1_3", from_pretrained="mine").state_dict(), model.state_dict())


def test_names_stay_where_nothing_is_to_be_changed(here: Path, weigh: Weigh) -> None:
    state = {"odd.name": torch.arange(6.0).view(2, 3), "tied": torch.ones(5)}
    torch.save({"state_dict": {**state, "again": state["tied"]}}, here / "any.bin")
    done = weigh("any.bin", "-o", "any.safetensors", "--to", "unchanged")
    assert done.err == "any.safetensors: 3 entries, 16 numbers, 0.0 MB\n"
    assert_same(load_file(here / "any.safetensors"), {**state, "again": state["tied"]})


def test_numbers_keep_their_type(here: Path, weigh: Weigh) -> None:
    model = lively("DiT", **STILL, condition="label_5").to(torch.bfloat16)
    torch.save(model.state_in("original"), here / "dit.pt")
    assert weigh("dit.pt", "-o", "dit.safetensors", "--to", "vidgen", *HEADS).status == 0
    state = load_file(here / "dit.safetensors")
    assert {value.dtype for value in state.values()} == {torch.bfloat16}
    assert torch.equal(state["blocks.0.mlp.fc1.weight"], model.state_dict()["blocks.0.mlp.fc1.weight"])


def test_large_states_are_written_in_pieces_with_an_index(here: Path) -> None:
    state = {f"layer{i}": torch.full((3, 5), float(i)) for i in range(4)}
    write(state, here / "pieces", config={"depth": 4}, stem="model", shard=130)  # two of 60 bytes each
    names = sorted(path.name for path in (here / "pieces").iterdir())
    assert names == [
        *("config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
        "model.safetensors.index.json",
    ]
    from vidgen.weights import find_weights, read_state

    assert_same(read_state(find_weights(here / "pieces")), state)


def test_a_pickle_that_holds_code_is_refused(here: Path, weigh: Weigh) -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return exec, (f"open({str(here / 'mark')!r}, 'w')",)

    (here / "evil.pt").write_bytes(pickle.dumps({"weight": Runs()}, protocol=2))
    done = weigh("evil.pt", "-o", "out", "--to", "unchanged")
    assert done.status == 2
    assert "evil.pt holds more than weights: reading it would run code, so it is refused" in done.err
    assert not (here / "mark").exists()
    assert not (here / "out").exists()


def damaged(here: Path) -> None:
    (here / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    torch.save({"a": torch.ones(2)}, here / "any.pt")
    dit = lively("DiT", **TINY, input_size=[2, 6, 6], condition="label_5")
    torch.save(dit.state_dict(), here / "video.pt")
    torch.save(lively("STDiT3", **TINY, **CAPTIONS).state_dict(), here / "stdit3.pt")
    (here / "there").mkdir()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("absent.pt -o x --to vidgen", "no weights at absent.pt"),
        ("cut.safetensors -o x --to vidgen", "damaged or cut short"),
        ("any.pt -o x --to vidgen", "nothing tells what these weights are of (entries such as a)"),
        ("video.pt -o x --to vidgen", "nothing tells what these weights are of"),  # a DiT's, or a Latte's
        (
            "stdit3.pt -o x --to diffusers --set num_heads=3",
            "STDiT3 has no layout 'diffusers': there are vidgen, opensora",
        ),
        ("stdit3.pt -o x --to vidgen --set num_heads=3 --set depth=3", "holds weights of another model than STDiT3"),
        ("stdit3.pt -o x --to vidgen --model Nothing", "no installed plugin offers the model 'Nothing'"),
        ("stdit3.pt -o x --to vidgen --set deph=3", "did you mean depth"),
        ("stdit3.pt -o x.zip --to vidgen", "weights are written as .safetensors, .pt, .pth, or into a folder"),
        ("stdit3.pt -o there --to vidgen", "there is there already"),
        ("stdit3.pt -o no/x --to vidgen", "there is no folder no"),
    ],
)
def test_what_cannot_be_done_is_told_and_leaves_nothing(here: Path, weigh: Weigh, arguments: str, said: str) -> None:
    damaged(here)
    before = sorted(path.name for path in here.rglob("*"))
    done = weigh(*arguments.split())
    assert done.status in (1, 2)
    assert said in done.err
    assert sorted(path.name for path in here.rglob("*")) == before


def test_what_is_there_is_replaced_where_asked_for(here: Path, weigh: Weigh) -> None:
    damaged(here)
    (here / "there" / "old.txt").write_text("old")
    assert weigh("stdit3.pt", "-o", "there", "--to", "vidgen", "--force", *HEADS).status == 0
    assert sorted(path.name for path in (here / "there").iterdir()) == ["config.json", "model.safetensors"]
