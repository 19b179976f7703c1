"""Every recipe that ships is built on the meta device with its published sizes, and a tiny sibling of it really runs.

Recipes are taken as they are. What they name lies in the current folder, where it is looked for first: a table of
clips, references, and the `config.json` of published encoders, in folders that are called as their Hugging Face ids.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vidgen
from PIL import Image
from safetensors.torch import load_file
from video_files import clips
from vidgen.engine.media import read
from vidgen.engine.parts import build_bucketer, build_on_meta, data_context, describe
from vidgen.interfaces import Context
from vidgen.recipe import Recipe
from vidgen.recipe.source import read_source, read_yaml
from vidgen.testing import write_clip

__all__ = ["clips"]  # a fixture

RECIPES = Path(__file__).parents[1] / "recipes"
NAMES = sorted(path.relative_to(RECIPES).as_posix() for path in RECIPES.rglob("*.yaml"))

T5 = {"model_type": "t5", "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
T5 = {**T5, "vocab_size": 32128, "feed_forward_proj": "gated-gelu"}
CLIP = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8}
CONFIGS = {
    "DeepFloyd/t5-v1_1-xxl": T5,
    "google/mt5-xxl": {**T5, "model_type": "mt5", "vocab_size": 250112},
    "openai/clip-vit-base-patch32": {"model_type": "clip", "text_config": {**CLIP, "max_position_embeddings": 77}},
    "stabilityai/sd-vae-ft-ema": {"_class_name": "AutoencoderKL"},
    "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers/vae": {"_class_name": "AutoencoderKL"},
    "LanguageBind/Open-Sora-Plan-v1.3.0/vae": {"latent_dim": 8, "base_channels": 128},
}
"""What a dry run reads of published encoders, by the id that recipes name."""

DIT_CLASS, DIT_TEXT, LATTE_CLASS = 674_834_720, 675_600_800, 673_799_072  # CLIP's 512 numbers in place of a class
STDIT, STDIT2, STDIT3 = 759_620_768, 767_452_100, 1_207_643_972
PIXART, PIXART_MS = 610_856_096, 611_349_152
PLAN, PLAN_INPAINT = 2_771_981_600, 2_782_713_632

V10 = {
    "16x256x256": "4 x 16 x 32 x 32",
    "16x512x512": "4 x 16 x 64 x 64",
    "64x512x512": "4 x 64 x 64 x 64",
    "64x512x512_sp": "4 x 64 x 64 x 64",
    "360x512x512": "4 x 360 x 64 x 64",
}
V11, V12 = "4 x 16 x 30 x 53", "4 x 15 x 30 x 53"
PUBLISHED: dict[str, tuple[int, str | None]] = {
    "train_v10.yaml": (STDIT, V10["16x256x256"]),
    "sample_v10.yaml": (STDIT, V10["16x256x256"]),
    **{f"opensora-v10/{job}_{size}.yaml": (STDIT, found) for job in ("train", "sample") for size, found in V10.items()},
    "train_v11.yaml": (STDIT2, V11),
    "sample_v11.yaml": (STDIT2, V11),
    **{f"opensora-v11/{name}.yaml": (STDIT2, V11) for name in ("one_size", "image", "video")},
    **{f"opensora-v11/stage{number}.yaml": (STDIT2, V11) for number in (1, 2, 3)},
    "opensora-v11/sample_image.yaml": (STDIT2, "4 x 1 x 128 x 128"),
    "opensora-v11/sample_video.yaml": (STDIT2, "4 x 64 x 60 x 106"),
    "opensora-v11/sample_reference.yaml": (STDIT2, V11),
    "train_v12.yaml": (STDIT3, V12),
    "sample_v12.yaml": (STDIT3, V12),
    **{f"opensora-v12/{name}.yaml": (STDIT3, V12) for name in ("one_size", "adapt_image", "adapt", "features")},
    **{f"opensora-v12/stage{number}.yaml": (STDIT3, V12) for number in (1, 2, 3)},
    "opensora-v12/search_batch_size.yaml": (STDIT3, V12),
    "opensora-v12/sample_image.yaml": (STDIT3, "4 x 1 x 128 x 128"),
    "opensora-v12/sample_720p.yaml": (STDIT3, "4 x 30 x 90 x 160"),
    **{f"opensora-v12/sample_{name}.yaml": (STDIT3, V12) for name in ("reference", "long")},
    **{f"dit/{job}_class.yaml": (DIT_CLASS, "4 x 1 x 32 x 32") for job in ("train", "sample")},
    **{f"dit/{job}_text.yaml": (DIT_TEXT, "4 x 1 x 32 x 32") for job in ("train", "sample")},
    **{f"dit/{job}_video.yaml": (DIT_TEXT, "4 x 16 x 32 x 32") for job in ("train", "sample")},
    **{f"latte/{job}_class.yaml": (LATTE_CLASS, "4 x 16 x 32 x 32") for job in ("train", "sample")},
    **{f"latte/{job}_text.yaml": (DIT_TEXT, "4 x 16 x 32 x 32") for job in ("train", "sample")},
    **{f"pixart/{job}_256.yaml": (PIXART, "4 x 1 x 32 x 32") for job in ("train", "sample")},
    **{f"pixart/{job}_512.yaml": (PIXART, "4 x 1 x 64 x 64") for job in ("train", "sample")},
    "pixart/train_1024ms.yaml": (PIXART_MS, "4 x 1 x 128 x 128"),
    "pixart/sample_1024ms.yaml": (PIXART_MS, "4 x 1 x 240 x 64"),
    "pixart/train_sigma2k.yaml": (PIXART, "4 x 1 x 256 x 256"),
    "pixart/sample_sigma2k.yaml": (PIXART, "4 x 1 x 320 x 192"),
    **{f"opensora-plan/{name}.yaml": (PLAN, "8 x 24 x 60 x 80") for name in ("train_fixed", "train_sp")},
    "opensora-plan/train_variable_duration.yaml": (PLAN, "8 x 24 x 60 x 80"),
    "opensora-plan/train_variable_sides.yaml": (PLAN, "8 x 24 x 60 x 80"),
    "opensora-plan/train_variable_area.yaml": (PLAN, None),
    "opensora-plan/train_combined.yaml": (PLAN, None),
    "opensora-plan/train_inpaint.yaml": (PLAN_INPAINT, None),
    **{f"opensora-plan/{name}.yaml": (PLAN, "8 x 24 x 44 x 80") for name in ("sample", "sample_sp")},
    "opensora-plan/sample_inpaint.yaml": (PLAN_INPAINT, "8 x 24 x 44 x 80"),
}
"""Parameters of the published model, and the latents of a clip of the recipe's size; None where there is none."""

OF_A_RUN = (
    *("sample.yaml", "sample_shown_frames.yaml", "evaluate.yaml"),
    *(f"schedulers/{name}.yaml" for name in ("iddpm_by_ddim", "iddpm_by_dpm_solver")),
)
"""Recipes that take up what another one left."""
SMALL = [name for name in NAMES if name not in PUBLISHED and name not in OF_A_RUN]
FAMILIES = {str(Path(name).parent) for name in PUBLISHED} - {"."}


MODEL = "checkpoints/*-global_step2/model/model.safetensors"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the recipes name."""
    folder = tmp_path_factory.mktemp("place")
    for name, config in CONFIGS.items():
        _write(folder / name / "config.json", json.dumps(config))
    for table in ("data/meta.csv", "clips/meta.csv"):
        _write(folder / table, "path,text,num_frames,height,width,fps\na.mp4,a cat,100,480,640,24\n")
    for name in ("vgg16-397923af.pth", "vgg.pth"):
        _write(folder / name, "")
    (folder / "references").mkdir()
    for name in ("wave", "night", "day"):
        Image.fromarray(np.full((18, 30, 3), 90, np.uint8)).save(folder / f"references/{name}.png")
    _film(folder / "references/car.mp4", frames=40)
    _film(folder / "data/a.mp4", frames=60)
    item = {"path": "a.mp4", "cap": ["a cat"], "num_frames": 60, "resolution": {"height": 96, "width": 128}}
    _write(folder / "data/anno.json", json.dumps([item] * 8))
    _write(folder / "data/data.txt", "data,data/anno.json\n")
    return folder


@pytest.fixture(autouse=True)
def _in_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def test_every_recipe_of_a_published_model_is_in_the_table() -> None:
    assert {*PUBLISHED, *OF_A_RUN} <= {*NAMES}
    assert not [name for name in SMALL if str(Path(name).parent) in FAMILIES]


@pytest.mark.parametrize("name", NAMES)
def test_the_first_line_says_what_it_is(name: str) -> None:
    first = (RECIPES / name).read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ") and first.endswith((".", '"', "outputs/other")), first


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_recipe_has_the_published_sizes(name: str) -> None:
    told = _built(vidgen.load_recipe(RECIPES / name))
    parameters, latents = PUBLISHED[name]
    assert told["parameters"].startswith(f"{parameters:,} (")
    assert told.get("latent size") == latents


@pytest.mark.parametrize("name", SMALL)
def test_a_small_recipe_is_built(name: str) -> None:
    assert "parameters" in _built(vidgen.load_recipe(RECIPES / name))


def test_only_the_parts_that_a_recipe_says_are_trained() -> None:
    told = {name: _built(vidgen.load_recipe(RECIPES / f"opensora-v12/{name}.yaml")) for name in ("adapt", "stage1")}
    assert told["adapt"]["parameters"].endswith("(595,159,488 trained)")  # the temporal half of the blocks
    assert told["stage1"]["parameters"].endswith("(1,201,595,936 trained)")  # all but the projection of captions


@pytest.mark.parametrize("name", [one for one in PUBLISHED if "features" not in one])
def test_the_tiny_sibling_runs(name: str, tmp_path: Path) -> None:
    vidgen.run(vidgen.load_recipe(RECIPES / name, [*_tiny(name), f"outputs={tmp_path}"]))
    kind = {"train": MODEL, "sample": "sample_*.*"}
    job = _data(name)["job"]
    assert list(tmp_path.glob(kind.get(job, "recipe_found.yaml")))


def test_the_tiny_sibling_trains_from_the_features_that_it_kept(tmp_path: Path) -> None:
    name = "opensora-v12/features.yaml"
    for job in ("encode", "train"):
        changes = [*_tiny(name), f"job={job}", f"features.cache={tmp_path / 'kept'}", f"outputs={tmp_path / job}"]
        vidgen.run(vidgen.load_recipe(RECIPES / name, changes))
    assert list((tmp_path / "train").glob("checkpoints/*-global_step2"))


def test_a_stage_begins_with_the_average_of_the_one_before(tmp_path: Path) -> None:
    assert _data("opensora-v12/adapt.yaml")["model"]["from_pretrained"] == "outputs/opensora-v12/adapt_image"
    for stage, weights in (("adapt_image", "null"), ("adapt", tmp_path / "adapt_image")):
        name = f"opensora-v12/{stage}.yaml"
        changes = [*_tiny(name), f"model.from_pretrained={weights}", f"outputs={tmp_path / stage}"]
        vidgen.run(vidgen.load_recipe(RECIPES / name, changes))
    before = load_file(next((tmp_path / "adapt_image").glob(MODEL.replace("/model/", "/ema/"))))
    after = load_file(next((tmp_path / "adapt").glob(MODEL)))
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {name for name in before if name.startswith("temporal_blocks.")}


@pytest.mark.parametrize("case", ["fixed", "variable_duration", "variable_sides", "variable_area", "combined"])
def test_a_case_of_open_sora_plan_trains_and_samples_on_real_clips(case: str, clips: Path, tmp_path: Path) -> None:
    name, data = f"opensora-plan/train_{case}.yaml", f"dataset.data={clips / 'data.txt'}"
    several = ["dataset.video_endings=[.mp4,.mkv,.avi]", "dataset.total_batch_size=0"]  # of five clips
    vidgen.run(vidgen.load_recipe(RECIPES / name, [*_tiny(name), data, *several, f"outputs={tmp_path / 'run'}"]))
    name, weights = "opensora-plan/sample.yaml", f"model.from_pretrained={tmp_path / 'run'}"
    vidgen.run(vidgen.load_recipe(RECIPES / name, [*_tiny(name), weights, f"outputs={tmp_path / 'made'}"]))
    assert len(list((tmp_path / "made").glob("*.mp4"))) == 2


def test_recipes_of_a_run_take_up_what_another_left(tmp_path: Path) -> None:
    for name in ("quickstart", "schedulers/iddpm"):
        few = ["max_steps=2", "batch_size=2", "sample=null", f"outputs={tmp_path / Path(name).stem}"]
        vidgen.run(vidgen.load_recipe(RECIPES / f"{name}.yaml", few))
    few = ["scheduler.num_sampling_steps=2", "metrics=[]", "end_index=2"]
    for name, run in (("sample", "quickstart"), ("schedulers/iddpm_by_ddim", "iddpm")):
        given = [*few, f"checkpoint={tmp_path / run}", f"outputs={tmp_path / 'made'}/{run}"]
        prompts = ["prompts=[a red circle moving left]"] if name == "sample" else []
        vidgen.run(vidgen.load_recipe(RECIPES / f"{name}.yaml", [*given, *prompts]))
    solver = [f"checkpoint={tmp_path / 'iddpm'}", f"outputs={tmp_path / 'solved'}"]
    vidgen.run(vidgen.load_recipe(RECIPES / "schedulers/iddpm_by_dpm_solver.yaml", [*few, *solver]))
    judged = [f"samples={tmp_path / 'made/iddpm'}", f"outputs={tmp_path / 'judged'}"]
    vidgen.run(vidgen.load_recipe(RECIPES / "evaluate.yaml", judged))
    assert len(list((tmp_path / "made/iddpm").glob("*.mp4"))) == 2 == len(list((tmp_path / "solved").glob("*.mp4")))


def test_pictures_are_shown_to_the_model_that_learnt_from_shown_frames(tmp_path: Path) -> None:
    few = ["max_steps=2", "batch_size=2", f"outputs={tmp_path / 'run'}"]
    vidgen.run(vidgen.load_recipe(RECIPES / "shown_frames.yaml", few))
    pictures = [f"references/{name}.png" for name in ("night", "day")]
    prompt = {"text": "a red circle moving left", "name": "first", "reference_path": pictures}
    _write(Path("shapes/prompts.jsonl"), json.dumps(prompt))
    few = [f"checkpoint={tmp_path / 'run'}", "scheduler.num_sampling_steps=2"]
    for name, more in (("shown", []), ("alone", ["conditions=[]"])):
        changes = [*few, *more, f"outputs={tmp_path / name}"]
        vidgen.run(vidgen.load_recipe(RECIPES / "sample_shown_frames.yaml", changes))
    shown, alone = (read(tmp_path / name / "first.mp4", upscale=8) for name in ("shown", "alone"))
    assert shown.shape == (3, 9, 16, 16) and not torch.equal(shown, alone)


def test_the_page_names_every_recipe_with_its_parameters() -> None:
    page = (RECIPES.parent / "docs/recipes.md").read_text(encoding="utf-8")
    for name, (parameters, latents) in PUBLISHED.items():
        assert Path(name).stem in page and f"{parameters:,}" in page, name
        assert name.startswith("opensora-plan/") or latents is None or latents in page, name


def test_no_two_recipes_write_into_one_folder() -> None:
    outputs = [_data(name).get("outputs", f"outputs/{Path(name).stem}") for name in PUBLISHED]
    assert len(set(outputs)) == len(outputs)


def test_nothing_is_left_over_of_the_buckets_that_a_recipe_extends() -> None:
    """Mappings merge: a recipe that another one extends must hold no buckets of its own."""
    for name in NAMES:
        own = read_yaml(RECIPES / name).data
        if "bucketer" in own and "extends" in own:
            assert "bucketer" not in read_yaml(RECIPES / Path(name).parent / own["extends"]).data or (
                own["bucketer"]["type"] == "grouped"
            )


@pytest.mark.parametrize("name", [path.name for path in sorted((RECIPES / "prompts").glob("*.txt"))])
def test_a_list_of_prompts_has_one_a_line(name: str) -> None:
    lines = (RECIPES / "prompts" / name).read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(set(lines)) >= 8 and all(line.strip() == line and line for line in lines)
    if name == "opensora-plan.txt":
        assert not any("quality" in line for line in lines), "the recipes' template says it"


def _built(recipe: Recipe) -> dict[str, str]:
    """What a dry run tells of the parts. Its count of memory takes many seconds, and has tests of its own."""
    job = recipe.registry.build(recipe.job, Context(registry=recipe.registry, recipe=recipe.plain()))
    if recipe.job.type not in ("train", "search-batch-size"):
        return dict(job.dry_run())
    parts = build_on_meta(job.recipe, job.context)
    build_bucketer(data_context(job.context, parts), job.recipe, parts)
    return describe(parts)


def _tiny(name: str) -> list[str]:
    """The changes of recipes/tiny that belong to a recipe, as docs/recipes.md says."""
    return [line for one in _sets(name) for line in (RECIPES / f"tiny/{one}.txt").read_text().splitlines()]


def _sets(name: str) -> Iterator[str]:
    data = _data(name)
    plan, trains, classes = name.startswith("opensora-plan/"), "dataset" in data, data["text_encoder"]["type"]
    yield "plan" if plan else "shared"
    yield "classes" if classes == "classes" else "text"
    if not trains:
        yield "sample"
        yield from ["class-prompts"] if classes == "classes" else []
        return
    yield "plan-train" if plan else "train"
    if "max_hxw" in data["dataset"]:
        yield "plan-area"
    if "min_height" in data["dataset"]:
        yield "plan-sides"
    if data.get("bucketer", {}).get("type") == "bucket":
        yield "buckets"
    if "search" in data:
        yield "search"


def _data(name: str) -> dict[str, Any]:
    data: dict[str, Any] = read_source(RECIPES / name).data
    return data


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _film(path: Path, frames: int) -> None:
    shades = np.arange(0, 2 * frames, 2, dtype=np.uint8)[None, :, None, None]
    write_clip(path, np.broadcast_to(shades, (3, frames, 96, 128)).copy(), 24.0)
