"""What a dry run of `job: sample` tells: of the clips that are asked for, whatever their size is written as."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import vidgen
from PIL import Image
from tiny_run import RECIPE, merged
from vidgen import UserError
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


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """wide.png, 10 rows and 20 columns, and tall.png, turned."""
    for name, size in (("wide", (20, 10)), ("tall", (10, 20))):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    return tmp_path


REFERENCE = {"resolution": "256", "aspect_ratio": "reference"}


def test_clips_have_the_shape_of_what_they_are_given_first(
    planned: Callable[..., Mapping[str, str]], pictures: Path
) -> None:
    """The first of a prompt's own, else of conditions; a ratio that a prompt names counts before."""
    (pictures / "p.csv").write_text("text,reference_path,aspect_ratio\na,tall.png;wide.png,\nb,,\nc,,12:25\n")
    given = {"conditions": [{"image": str(pictures / "wide.png")}]}
    told = planned(**REFERENCE, **given, prompts=[], prompt_path=str(pictures / "p.csv"))
    sizes = [key.removeprefix("latent size of ") for key in told if key.startswith("latent size of ")]
    assert sizes == ["3 x 352 x 176", "3 x 176 x 352", "3 x 176 x 368"]


def test_a_prompt_file_may_ask_for_it_alone(planned: Callable[..., Mapping[str, str]], pictures: Path) -> None:
    row = "text,reference_path,resolution,aspect_ratio\na,tall.png,256,reference\n"
    (pictures / "p.csv").write_text(row)
    told = planned(image_size=[12, 8], prompts=[], prompt_path=str(pictures / "p.csv"))
    assert told["size"] == "3 x 352 x 176"


def test_a_sample_that_is_given_nothing_has_no_shape_to_take(planned: Callable[..., Mapping[str, str]]) -> None:
    with pytest.raises(UserError, match=r"prompt 1: aspect_ratio: reference is the shape of .*this one is given none"):
        planned(**REFERENCE, prompts=["a", "b"], start_index=1)


def test_another_word_is_refused_with_those_that_there_are(planned: Callable[..., Mapping[str, str]]) -> None:
    with pytest.raises(UserError, match=r"(?s)aspect_ratio: there is no 'refrence'.*9:16.*or reference: that of the"):
        planned(resolution="256", aspect_ratio="refrence")


def test_samples_within_training_take_the_shape_of_conditions_alone() -> None:
    recipe = merged(RECIPE, {"sample": {"prompts": ["a"], "reference_path": ["a.png"], **REFERENCE}})
    with pytest.raises(UserError, match=r"sample\.aspect_ratio: reference: samples within training take the shape of"):
        vidgen.load_recipe(recipe)
    recipe["sample"]["conditions"] = [{"image": "a.png"}]
    assert vidgen.load_recipe(recipe).job.options.sample.aspect_ratio == "reference"
