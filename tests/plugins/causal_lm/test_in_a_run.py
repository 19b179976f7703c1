"""A refiner chosen by a recipe: what is encoded, what files are called, what is written in them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import vidgen
from tiny_run import RECIPE, merged
from vidgen.engine import media
from vidgen.engine.texts import EncodedTexts

PROMPT = "a dog on a beach"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Path]) -> tuple[Path, Path]:
    """A run that sampled with a refiner at its end, and the refiner's model."""
    outputs, model = tmp_path_factory.mktemp("refined") / "run", write_model()
    changes = {"max_steps": 1, "sample": {"prompts": [PROMPT], "prompt_refiner": refiner(model)}}
    vidgen.run(vidgen.load_recipe(merged({**RECIPE, "outputs": str(outputs)}, changes)))
    return outputs, model


def refiner(model: Path, **options: Any) -> dict[str, Any]:
    return {"type": "causal-lm", "from_pretrained": str(model), "max_new_tokens": 5, "dtype": "fp32", **options}


def sampled(trained: Path, outputs: Path, **changes: Any) -> Path:
    recipe = {"job": "sample", "checkpoint": str(trained), "prompts": [PROMPT], "outputs": str(outputs), **changes}
    vidgen.run(vidgen.load_recipe(recipe))
    (path,) = outputs.glob("*.mp4")
    return path


def test_what_is_refined_is_encoded_and_the_prompt_stays_in_names_and_metadata(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[list[str]] = []
    encode = EncodedTexts.encode
    monkeypatch.setattr(EncodedTexts, "encode", lambda self, texts: encoded.append(list(texts)) or encode(self, texts))
    path = sampled(folders[0], tmp_path / "made", prompt_refiner=refiner(folders[1]), prompt_as_path=True)
    origin = media.provenance(path)
    assert path.stem == origin["prompt"] == PROMPT
    assert origin["refined"] == encoded[0] and PROMPT not in encoded[0]
    assert "refined" not in media.provenance(sampled(folders[0], tmp_path / "plain"))


def test_training_samples_with_it(folders: tuple[Path, Path]) -> None:
    (path,) = (folders[0] / "samples").rglob("*.mp4")
    assert media.provenance(path)["refined"]


def test_what_is_there_is_known_without_refining_again(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidgen_causal_lm.writer import Writer

    sampled(folders[0], tmp_path / "made", prompt_refiner=refiner(folders[1]))
    monkeypatch.setattr(Writer, "load", lambda options: pytest.fail("nothing is left to sample"))
    sampled(folders[0], tmp_path / "made", prompt_refiner=refiner(folders[1]))
    with pytest.raises(vidgen.UserError, match="come from other settings"):
        sampled(folders[0], tmp_path / "made", prompt_refiner=refiner(folders[1], max_new_tokens=4))
