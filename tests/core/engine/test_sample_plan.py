"""What a dry run of `job: sample` tells: of the clips that are asked for, whatever their size is written as."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import vidgen
from tiny_run import RECIPE
from vidgen.interfaces import Context


@pytest.fixture
def planned(tmp_path: Path) -> Callable[..., Mapping[str, str]]:
    """Latents are 48 channels of 1x4x4 pixels, patches 1x2x2 latents."""

    def tell(**changes: Any) -> Mapping[str, str]:
        model = {"type": "STDiT3", "hidden_size": 24, "depth": 1, "num_heads": 2, "patch_size": [1, 2, 2]}
        parts = {"vae": {"type": "pixel", "patch": [1, 4, 4]}, "model": model, "num_frames": 3}
        parts |= {key: RECIPE[key] for key in ("text_encoder", "scheduler")}
        recipe = {"job": "sample", **parts, "prompts": ["a"], "outputs": str(tmp_path), **changes}
        loaded = vidgen.load_recipe(recipe)
        context = Context(registry=loaded.registry, recipe=loaded.plain())
        return loaded.registry.build(loaded.job, context).dry_run()

    return tell


@pytest.mark.parametrize(
    "size", [{"image_size": [192, 192]}, {"resolution": "144p", "aspect_ratio": "1:1"}], ids=["pixels", "name"]
)
def test_the_size_in_latents_and_tokens_is_told_also_of_a_size_by_name(
    planned: Callable[..., Mapping[str, str]], size: dict[str, Any]
) -> None:
    told = planned(**size)
    assert told["size"] == "3 x 192 x 192" and told["latent size"] == "48 x 3 x 48 x 48"
    assert told["tokens per sample"] == "1,728 (3 x 24 x 24)"


def test_clips_of_several_sizes_are_told_one_by_one(planned: Callable[..., Mapping[str, str]], tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("text,size,num_frames\na,8x16,\nb,,5\nc,8x16,\n")
    told = planned(image_size=[12, 8], prompts=[], prompt_path=str(tmp_path / "p.csv"))
    assert "latent size" not in told and told["samples"] == "3"
    assert told["latent size of 3 x 8 x 16"] == "48 x 3 x 2 x 4"
    assert told["latent size of 5 x 12 x 8"] == "48 x 5 x 3 x 2"
    assert told["tokens per sample of 5 x 12 x 8"] == "10 (5 x 2 x 1)"
