"""Text features kept by `job: encode`: found again by the same encoder alone, wherever its files lie."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import vidgen
from safetensors.torch import load_file, save_file
from tiny_run import RECIPE, assert_same_state, merged
from vidgen.errors import UserError

Run = Callable[..., Path]


@pytest.fixture
def run(t5_folder: Path, tmp_path: Path) -> Run:
    """Runs the tiny recipe with a T5, changed; features go to and come from `cache`. Returns the run's folder."""

    def with_t5(name: str, *, folder: Path = t5_folder, **changes: Any) -> Path:
        encoder = {"type": "t5", "from_pretrained": str(folder), "model_max_length": 7}
        features = {"cache": str(tmp_path / "cache"), "shard_size": 2}
        given = {"text_encoder": encoder, "features": features, "outputs": str(tmp_path / name)}
        flat = {key.replace("__", "."): value for key, value in changes.items()}
        vidgen.run(vidgen.load_recipe(merged({**RECIPE, **given}, flat)))
        return tmp_path / name

    return with_t5


@pytest.fixture
def copied(t5_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(t5_folder, tmp_path / "elsewhere")


def test_the_same_encoder_elsewhere_finds_them(run: Run, copied: Path) -> None:
    plain = run("plain", features__mode="off")
    run("encoding", job="encode")
    assert_same_state(plain, run("cached", folder=copied), step=6)


def test_other_weights_of_the_same_shape_find_nothing(run: Run, copied: Path) -> None:
    run("encoding", job="encode")
    state = load_file(copied / "model.safetensors")
    state["encoder.final_layer_norm.weight"][3] += 1e-3
    save_file(state, copied / "model.safetensors")
    with pytest.raises(UserError, match=r"nothing is in .* made with another text_encoder \(settings or weights\)"):
        run("cached", folder=copied)


@pytest.mark.parametrize("changed", ["tokenizer.json", "config.json"])
def test_another_tokenizer_or_configuration_finds_nothing(run: Run, copied: Path, changed: str) -> None:
    """With the same weights."""
    run("encoding", job="encode")
    content = json.loads((copied / changed).read_text())
    if changed == "config.json":
        content["layer_norm_epsilon"] = 1e-3
    else:
        words = content["model"]["vocab"]
        words["red"], words["blue"] = words["blue"], words["red"]
    (copied / changed).write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"nothing is in .* made with another text_encoder"):
        run("cached", folder=copied)


def test_a_shard_that_was_cut_short_is_made_again_and_the_run_goes_on(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = run("plain", features__mode="off")
    run("encoding", job="encode")
    shard = min((tmp_path / "cache").rglob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-5])
    assert_same_state(plain, run("filling", features__mode="write-through"), step=6)
    assert "is cut short or damaged" in caplog.text
    caplog.clear()
    assert_same_state(plain, run("cached"), step=6)
    assert "is cut short or damaged" not in caplog.text


def test_classes_in_another_order_find_nothing(run: Run, tmp_path: Path) -> None:
    captions = [f"a {c} {s} moving {d}" for c in ("red", "green", "blue", "yellow")
                for s in ("circle", "square", "triangle") for d in ("left", "right", "up", "down")]  # fmt: skip
    model = {"type": "DiT", "hidden_size": 24, "depth": 1, "num_heads": 3, "condition": "label_48"}

    def of(names: list[str]) -> dict[str, Any]:
        (tmp_path / "names.txt").write_text("\n".join(names))
        classes = {"type": "classes", "num_classes": 48, "names": str(tmp_path / "names.txt")}
        return {"text_encoder": classes, "model": model}

    run("encoding", job="encode", **of(captions))
    run("cached", **of(captions))
    with pytest.raises(UserError, match=r"nothing is in .* made with another text_encoder"):
        run("other", **of(captions[::-1]))
