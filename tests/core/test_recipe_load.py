"""Whole recipes with the installed components: what is reported, where, and in which order; what is printed back."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from attrs import fields_dict, frozen
from vidgen import Component, option
from vidgen.errors import RecipeError, RunError, UserError
from vidgen.recipe import Recipe, load_recipe
from vidgen.recipe.load import recipe_hash
from vidgen.recipe.structure import Mistakes, Structurer
from vidgen.registry import Offer, Registry, catalogue

Write = Callable[..., Path]

TRAIN = """\
# A small run.
job: train
max_steps: 3
num_frames: 2
image_size: [8, 16]
model: {type: STDiT, depth: 1, hidden_size: 32, num_heads: 2}
vae: {type: pixel}
text_encoder: {type: hashed-words}
scheduler: {type: rflow}
dataset: {type: moving-shapes}
"""


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


@pytest.fixture
def report(registry: Registry) -> Callable[..., str]:
    """The whole text of what is wrong with a recipe."""

    def reported(recipe: Any, *overrides: str) -> str:
        with pytest.raises(RecipeError) as caught:
            load_recipe(recipe, overrides, registry)
        return str(caught.value)

    return reported


@pytest.fixture
def installed(registry: Registry) -> Callable[[str], str]:
    """The names of a kind as a message lists them."""
    return lambda kind: ", ".join(offer.component.name for offer in registry.offers(kind))


def test_every_mistake_is_told_at_once_in_the_order_of_the_file(
    write: Write, report: Callable[..., str], installed: Callable[[str], str]
):
    text = """\
job: train
max_steps: 3.5
model:
  type: STDiT
  depth: 0
vae: {type: pixel, patch: [1, 4]}
text_encoder: {type: hashed-wrds}
scheduler: {type: rflow, loc: "0", cfg_scale: seven}
dataset:
  type: moving-shapes
  rows: 0
optimizer: {grad_cilp: 1.0, lr: 1e-4}
sample:
  prompts: [a red circle, 7]
  metrics:
  - {type: moving-shape}
seed: -1
"""
    assert report(write(text)) == (
        "r.yaml:2:12: max_steps: expected a whole number, got 3.5 (a number)\n"
        "r.yaml:5:10: model.depth: 'depth' must be >= 1: 0\n"
        "r.yaml:6:27: vae.patch: expected a list of 3 values, got [1, 4] (a list)\n"
        "r.yaml:7:22: text_encoder.type: no installed plugin offers the text encoder 'hashed-wrds'\n"
        f"    installed: {installed('text_encoder')}\n"
        "    did you mean hashed-words?\n"
        "r.yaml:8:31: scheduler.loc: expected a number, got '0' (text)\n"
        "r.yaml:8:47: scheduler.cfg_scale: expected a number, got 'seven' (text)\n"
        "r.yaml:11:9: dataset.rows: 'rows' must be >= 1: 0\n"
        "r.yaml:12:13: optimizer.grad_cilp: no such key\n"
        "    did you mean grad_clip?\n"
        "r.yaml:14:27: sample.prompts[1]: expected text, got 7 (a whole number)\n"
        "r.yaml:16:12: sample.metrics[0].type: no installed plugin offers the metric 'moving-shape'\n"
        f"    installed: {installed('metric')}\n"
        "    did you mean moving-shapes?\n"
        "r.yaml:17:7: seed: 'seed' must be >= 0: -1\n"
        "11 problems; nothing was started."
    )


def test_a_missing_key_is_placed_at_the_section_that_lacks_it(
    write: Write, report: Callable[..., str], installed: Callable[[str], str], registry: Registry
):
    doc = fields_dict(registry.find("dataset", "VideoText").options)["data_path"].metadata["doc"]
    text = "# Comment.\njob: train\nmax_steps: 1\nmodel: {depth: 3}\ndataset:\n  type: VideoText\n"
    found = report(write(text + "vae: {type: pixel}\nscheduler: {type: rflow}\n"))
    assert found == (
        "r.yaml:2:1: text_encoder: missing\n"
        f"    a mapping with `type:`; installed: {installed('text_encoder')}\n"
        "r.yaml:4:8: model.type: missing\n"
        f"    installed: {installed('model')}\n"
        "r.yaml:6:3: dataset.data_path: missing\n"
        f"    {doc}\n"
        "3 problems; nothing was started."
    )


def test_what_is_wrong_between_keys_is_told_too(write: Write, report: Callable[..., str]):
    text = TRAIN.replace("max_steps: 3\n", "")
    assert report(write(text)) == (
        "r.yaml:2:1: max_steps: missing\n    say how long to train: max_steps or epochs\n"
        "1 problem; nothing was started."
    )
    assert report(write(TRAIN + "sample: {num_samples: 2}\n")) == (
        "r.yaml:11:9: sample.prompts: missing\n    give prompts or prompt_path\n1 problem; nothing was started."
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1", "r.yaml:1:1: job: missing"),
        ("job: [train]", "r.yaml:1:6: job: expected text, got ['train'] (a list)"),
        ("job: {type: train}", "r.yaml:1:6: job: expected text, got {'type': 'train'} (a mapping)"),
        ("job: trian", "r.yaml:1:6: job: no installed plugin offers the job 'trian'"),
    ],
)
def test_the_job_must_be_an_installed_one(
    write: Write, report: Callable[..., str], installed: Callable[[str], str], text: str, message: str
):
    assert report(write(text)).startswith(f"{message}\n    installed: {installed('job')}\n")


def test_mistakes_of_the_command_line_are_told_last_with_their_text(write: Write, report: Callable[..., str]):
    found = report(write(TRAIN + "sed: 1\n"), "optimzer.lr=1", "model.depth=two", "trackers[0].type=x", "fps=0:1:1")
    assert found == (
        "r.yaml:11:1: sed: no such key\n"
        "    did you mean seed?\n"
        "command line: optimzer.lr=1: optimzer: no such key\n"
        "    did you mean optimizer?\n"
        "command line: fps=0:1:1: fps: expected a number, got '0:1:1' (text)\n"
        "command line: model.depth=two: model.depth: expected a whole number, got 'two' (text)\n"
        "command line: trackers[0].type=x: trackers: expected a list, got {0: {'type': 'x'}} (a mapping)\n"
        "5 problems; nothing was started."
    )


def test_problems_of_an_extended_file_come_after_those_of_the_recipe(write: Write, report: Callable[..., str]):
    write(TRAIN.replace("depth: 1", "depth: 1.5"), "base.yaml")
    assert report(write("extends: base.yaml\n\n\n\n\n\n\n\n\nseed: x\n")) == (
        "r.yaml:10:7: seed: expected a whole number, got 'x' (text)\n"
        "base.yaml:6:29: model.depth: expected a whole number, got 1.5 (a number)\n"
        "2 problems; nothing was started."
    )


def test_input_files_of_an_extended_recipe_are_found_beside_it(write: Write, registry: Registry):
    write("a red circle\n", "base/prompts.txt")
    write(TRAIN + "sample: {prompt_path: prompts.txt}\n", "base/base.yaml")
    recipe = load_recipe(write("extends: base/base.yaml\nseed: 5\n"), registry=registry)
    assert recipe.job.options.sample.prompt_path == Path("base/prompts.txt")


@pytest.mark.parametrize("value", [".inf", ".nan", "0", "-1"])
@pytest.mark.parametrize("key", ["optimizer.lr", "optimizer.eps", "fps"])
def test_rates_are_positive_and_finite(write: Write, report: Callable[..., str], key: str, value: str):
    assert f": {key}: '{key.rpartition('.')[2]}' must be " in report(write(TRAIN), f"{key}={value}")


def test_the_run_folder_is_named_after_the_recipe(write: Write, registry: Registry):
    path = write(TRAIN, "recipes/first.yaml")
    assert load_recipe(path, (), registry).job.options.outputs == Path("outputs/first")
    assert load_recipe(path, ["outputs=elsewhere"], registry).job.options.outputs == Path("elsewhere")
    assert load_recipe(write(TRAIN + "outputs: a/b\n"), (), registry).job.options.outputs == Path("a/b")


def test_a_job_of_a_plugin_needs_none_of_the_shared_keys(write: Write, plugin: Callable[..., ModuleType]):
    @frozen(kw_only=True)
    class Only:
        width: int = option(3, "A width.")

    job = Component(name="mine", summary="Mine.", options=Only, factory="nowhere:build")
    made = Registry([("mine", "vidgen-mine", "1", plugin(vidgen_jobs=[job]))])
    assert load_recipe(write("job: mine\n"), ["width=5"], made).plain() == {"job": "mine", "width": 5}


# recipes made in Python


def test_a_recipe_can_be_a_mapping(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Tuples and paths are what a program would write; what was given is left as it was."""
    monkeypatch.chdir(tmp_path)
    Path("clips.csv").touch()
    given: dict[str, Any] = {
        "job": "train",
        "max_steps": 3,
        "num_frames": 2,
        "image_size": (8, 16),
        "model": {"type": "STDiT", "depth": 1},
        "vae": {"type": "pixel"},
        "text_encoder": {"type": "hashed-words"},
        "scheduler": {"type": "rflow"},
        "dataset": {"type": "VideoText", "data_path": Path("clips.csv")},
    }
    options = load_recipe(given, ["model.depth=2"], registry).job.options
    assert (options.image_size, options.model.options.depth) == ((8, 16), 2)
    assert options.dataset.options.data_path == Path("clips.csv")
    assert given["model"] == {"type": "STDiT", "depth": 1}


def test_mistakes_in_a_mapping_are_placed_by_key_path(report: Callable[..., str]):
    found = report({"job": "sample", "prompts": "x", "num_frames": "7", "image_size": [8, 8], "model": {1: 2}})
    assert "recipe: num_frames: expected a whole number, got '7' (text)\n" in found
    assert "recipe: model.type: missing\n" in found


def test_what_yaml_cannot_say_is_told_like_any_other_mistake(report: Callable[..., str]):
    assert "recipe: seed: expected a whole number, got 3j (complex)\n" in report({"job": "train", "seed": 3j})


# what is printed is the recipe


def same(one: Recipe, other: Recipe) -> bool:
    return one.job == other.job and one.hash == other.hash


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("optimizer.lr=3e-5", "optimizer.eps=1e-15", "model.patch_size=[1, 1, 1]", "ema=null", "checkpoint.keep=null"),
        ("sample.prompts=['16:9', '1e-4', 'a: b', \"two\\nlines\", '🐱', '', 'null']", "sample.every=7"),
        ("trackers=[]", "max_loss_ratio=.inf", "seed=0o17", "outputs='7'", "resume='true'"),
        ("trackers=[{type: csv, name: '007'}, {type: report}]", "model.type=STDiT-XL/2"),
    ],
)
def test_a_printed_recipe_loads_to_the_same_recipe(write: Write, registry: Registry, overrides: tuple[str, ...]):
    recipe = load_recipe(write(TRAIN), overrides, registry)
    again = load_recipe(write(recipe.to_yaml(), "printed.yaml"), (), registry)
    assert same(again, recipe)
    assert again.to_yaml() == recipe.to_yaml()
    assert again.plain() == recipe.plain()


def test_the_hash_names_the_settings_and_not_where_a_run_writes(write: Write, registry: Registry):
    def hash_with(*overrides: str) -> str:
        return load_recipe(write(TRAIN), overrides, registry).hash

    plain = hash_with()
    assert len(plain) == 12 and int(plain, 16) >= 0
    assert hash_with("outputs=elsewhere", "resume=latest") == plain
    assert hash_with("fps=24.0") == plain  # a default written out
    assert len({plain, hash_with("seed=1"), hash_with("model.depth=2"), hash_with("ema=null")}) == 4


def test_the_hash_stays_what_it_was():
    """Recorded from the first release: files of samples carry it, and are skipped by it."""
    plain = {"job": "sample", "seed": 42, "lr": 1e-4, "size": [8, 16], "text": "1e-4", "none": None, "outputs": "x"}
    assert recipe_hash(plain) == recipe_hash({**plain, "outputs": "y", "resume": "latest"}) == "6fca914af702"


# sampling from a run


@pytest.fixture
def run_folder(tmp_path: Path, write: Write, registry: Registry) -> Path:
    """A run's folder with the recipe of `TRAIN` in its newest checkpoint's state."""
    for name, text in (("epoch0-global_step1", TRAIN.replace("depth: 1", "depth: 9")), ("epoch0-global_step3", TRAIN)):
        folder = tmp_path / "outputs/first/checkpoints" / name
        folder.mkdir(parents=True)
        recipe = load_recipe(write(text), (), registry).plain()
        (folder / "state.json").write_text(json.dumps({"step": 3, "recipe": recipe}))
    return Path("outputs/first")


SAMPLE = "# Samples.\njob: sample\nprompts: [a red circle]\ncheckpoint: outputs/first\n"


def test_a_sample_recipe_inherits_what_it_leaves_out(write: Write, run_folder: Path, registry: Registry):
    options = load_recipe(write(SAMPLE), (), registry).job.options
    assert (options.num_frames, options.image_size, options.model.type) == (2, (8, 16), "STDiT")
    assert (options.model.options.depth, options.model.options.hidden_size) == (1, 32)
    assert (options.vae.type, options.text_encoder.type, options.scheduler.type) == ("pixel", "hashed-words", "rflow")
    assert options.trackers == []  # where a training reported is no business of a sampling


def test_a_resolution_stands_in_place_of_the_checkpoints_size(write: Write, run_folder: Path, registry: Registry):
    recipe = write(SAMPLE + "resolution: 240p\naspect_ratio: 9:16\n")
    options = load_recipe(recipe, (), registry).job.options
    assert (options.image_size, options.resolution) == (None, "240p")
    assert load_recipe(load_recipe(recipe, (), registry).plain(), (), registry).job.options == options


def test_a_size_in_pixels_beside_a_resolution_is_refused_at_both_places(
    write: Write, run_folder: Path, report: Callable[..., str]
):
    named = "resolution: 240p\naspect_ratio: 9:16\n"
    assert report(write(SAMPLE + named + "image_size: [8, 16]\n", "s.yaml")) == (
        "s.yaml:5:1: resolution: given beside image_size\n"
        "s.yaml:7:1: image_size: 8x16 pixels, and resolution says 240p: a sample has one size\n"
        "    keep one: image_size: null, or resolution: null and aspect_ratio: null\n"
        "2 problems; nothing was started."
    )
    told = report(write(SAMPLE + named, "s.yaml"), "image_size=[8, 16]")
    assert "s.yaml:5:1: resolution: given" in told and "command line: image_size=[8, 16]: image_size: 8x16" in told


def test_a_training_sample_has_one_size_too(write: Write, report: Callable[..., str], registry: Registry):
    named = "resolution: 240p, aspect_ratio: 9:16"
    told = report(write(TRAIN + f"sample: {{from_data: 1, image_size: [8, 8], {named}}}\n"))
    assert "r.yaml:11:24: sample.image_size: 8x8 pixels, and resolution says 240p" in told
    assert "r.yaml:11:44: sample.resolution: given beside image_size" in told
    assert "sample.resolution: missing" in report(write(TRAIN + "sample: {from_data: 1, aspect_ratio: 9:16}\n"))
    load_recipe(write(TRAIN + f"sample: {{from_data: 1, {named}}}\n"), (), registry)


def test_a_sample_recipe_changes_what_it_names(write: Write, run_folder: Path, registry: Registry):
    text = SAMPLE + "scheduler: {num_sampling_steps: 3}\nimage_size: [16, 8]\nseed: 7\n"
    options = load_recipe(write(text), ["num_frames=5", "scheduler.cfg_scale=1"], registry).job.options
    assert (options.num_frames, options.image_size, options.seed) == (5, (16, 8), 7)
    assert (options.scheduler.type, options.scheduler.options.num_sampling_steps) == ("rflow", 3)
    assert options.scheduler.options.cfg_scale == 1.0


def test_a_checkpoint_is_found_from_the_recipes_folder_too(write: Write, run_folder: Path, registry: Registry):
    text = SAMPLE.replace("outputs/first", "../outputs/first/checkpoints/epoch0-global_step1")
    options = load_recipe(write(text, "recipes/sample.yaml"), (), registry).job.options
    assert options.model.options.depth == 9


def test_a_recipe_for_a_newer_vidgen_is_refused_at_its_place(write: Write, report: Callable[..., str]):
    assert report(write("job: train\nrecipe_version: 2\n")) == (
        "r.yaml:2:17: recipe_version: this vidgen reads recipes of version 1 to 1, not 2\n"
        "    pip install --upgrade vidgen\n"
        "1 problem; nothing was started."
    )


def test_a_mistake_in_what_is_inherited_is_told_where_it_was_read(
    write: Write,
    run_folder: Path,
    report: Callable[..., str],
    installed: Callable[[str], str],
    registry: Registry,
):
    state = run_folder / "checkpoints/epoch0-global_step3/state.json"
    recipe = json.loads(state.read_text())["recipe"]
    recipe["vae"]["type"] = "pixle"
    recipe["model"]["deepness"] = 1
    state.write_text(json.dumps({"recipe": recipe}))
    assert report(write(SAMPLE + "prompt: x\n")) == (
        "r.yaml:5:1: prompt: no such key\n"
        "    did you mean prompts or prompt_path or prompt_refiner?\n"
        f"{state}: model.deepness: no such key\n"
        f"    known: {', '.join(sorted(fields_dict(registry.find('model', 'STDiT').options)))}\n"
        f"{state}: vae.type: no installed plugin offers the autoencoder 'pixle'\n"
        f"    installed: {installed('autoencoder')}\n"
        "    did you mean pixel?\n"
        "3 problems; nothing was started."
    )


def test_a_missing_key_of_a_sample_recipe_is_placed_in_it(write: Write, run_folder: Path, report: Callable[..., str]):
    assert report(write(SAMPLE.replace("prompts: [a red circle]\n", ""))) == (
        "r.yaml:2:1: prompts: missing\n    give prompts or prompt_path\n1 problem; nothing was started."
    )


def test_a_run_without_checkpoint_is_refused(write: Write, registry: Registry, tmp_path: Path):
    with pytest.raises(UserError, match=r"^no checkpoint in outputs/first: looked for outputs/first/checkpoints/epoch"):
        load_recipe(write(SAMPLE), (), registry)


@pytest.mark.parametrize("text", ["{", "[1]", "{}", '{"recipe": 3}'])
def test_a_checkpoint_with_a_damaged_state_is_told_by_name(
    write: Write, run_folder: Path, registry: Registry, text: str
):
    (run_folder / "checkpoints/epoch0-global_step3/state.json").write_text(text)
    with pytest.raises(RunError, match=r"^the checkpoint outputs/first/checkpoints/epoch0-global_step3 is damaged: "):
        load_recipe(write(SAMPLE), (), registry)


# every installed component


def every_component() -> list[Any]:
    return [pytest.param(offer, id=f"{offer.kind}-{offer.component.name}") for offer in Registry.discover().offers()]


@pytest.mark.parametrize("offer", every_component())
def test_no_installed_component_swallows_an_unknown_key(offer: Offer, registry: Registry):
    """Known defect of the reference: a misspelt option was accepted, and the default used in silence."""
    key = "job" if offer.kind == "job" else "type"
    for wrong in ("enable_flashattn", "kwargs", "Type"):
        with pytest.raises(Mistakes) as caught:
            Structurer(registry, Path()).selection(offer.kind, {key: offer.component.name, wrong: True}, key)
        assert [one.text for one in caught.value.problems if one.path == (wrong,)] == ["no such key"]
        assert [one.at_key for one in caught.value.problems if one.path == (wrong,)] == [True]


def test_the_catalogue_names_every_first_party_component(registry: Registry):
    """So that a recipe for a plugin that is not installed can be told which one to install."""
    projects = Path(__file__).parents[2].glob("plugins/*/*/pyproject.toml")
    first_party = {tomllib.loads(path.read_text(encoding="utf-8"))["project"]["name"] for path in projects}
    offered: dict[str, dict[str, str]] = {}
    for offer in registry.offers():
        if offer.distribution in first_party:
            offered.setdefault(offer.kind, {})[offer.component.name] = offer.distribution
    assert catalogue() == offered, "bring core/src/vidgen/catalogue.json up to date"


def test_a_known_component_that_is_not_installed_is_told_with_its_distribution(write: Write):
    from vidgen import builtin

    with pytest.raises(RecipeError) as caught:
        load_recipe(write(TRAIN), (), Registry([("vidgen", "vidgen", "1", builtin)]))
    assert (
        "r.yaml:6:15: model.type: no installed plugin offers the model 'STDiT'\n"
        "    installed: none\n"
        "    'STDiT' comes with vidgen-stdit: pip install vidgen-stdit\n"
    ) in str(caught.value)
