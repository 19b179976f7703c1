"""Fine-tuning runs: trained, resumed, sharded, kept by themselves, sampled."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import vidgen
from adapted import model_of
from click.testing import CliRunner
from parallel_run import WIDE, assert_same_course, run_here
from ranks import on_ranks
from safetensors.torch import load_file
from tiny_run import RECIPE, assert_same_state, loss_log, merged
from vidgen import UserError, runfolder
from vidgen.cli.export import command as export
from vidgen.mesh import World
from vidgen.weights import shards

Run = Callable[..., Path]
LORA = {"type": "lora", "rank": 3, "alpha": 6.0, "dropout": 0.1}
PROMPT = "a red circle moving up"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Train the small recipe, changed, below tmp_path."""

    def train(name: str, **changes: Any) -> Path:
        flat = {key.replace("__", "."): value for key, value in changes.items()}
        recipe = vidgen.load_recipe(merged(RECIPE, {"outputs": str(tmp_path / name), **flat}))
        vidgen.run(recipe)
        return tmp_path / name

    return train


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to fine-tune: its weights are no longer a new model's, which attention does not change."""
    outputs = tmp_path_factory.mktemp("base") / "run"
    vidgen.run(vidgen.load_recipe(merged(RECIPE, {"outputs": str(outputs)})))
    return outputs


@pytest.fixture(scope="module")
def tuned(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`base`, fine-tuned."""
    outputs = tmp_path_factory.mktemp("tuned") / "run"
    changes = {"outputs": str(outputs), "model.from_pretrained": str(base), "adapters": [LORA], "optimizer.lr": 0.05}
    vidgen.run(vidgen.load_recipe(merged(RECIPE, changes)))
    return outputs


def newest(outputs: Path) -> Path:
    found = runfolder.latest(outputs)
    assert found is not None
    return found


def sampled(folder: Path, **recipe: Any) -> torch.Tensor:
    """The pixels of one clip."""
    import av

    said = {"job": "sample", "prompts": [PROMPT], "outputs": str(folder), "save_fps": 8.0, "upscale": 4}
    vidgen.run(vidgen.load_recipe({**said, **recipe}))
    with av.open(str(folder / "sample_0000.mp4")) as file:
        frames = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)]
    return torch.stack(frames).float()


def test_the_models_own_weights_stay_and_the_adapter_is_kept_by_itself(base: Path, tuned: Path) -> None:
    """Averaged, as peft calls its entries; small beside the whole."""
    before = load_file(newest(base) / "ema" / "model.safetensors")
    whole = load_file(newest(tuned) / "ema" / "model.safetensors")
    plain = {name.replace(".base_layer", ""): value for name, value in whole.items() if "lora_" not in name}
    assert plain.keys() == before.keys() and all(torch.equal(plain[name], before[name]) for name in before)
    alone = load_file(newest(tuned) / "adapter" / "adapter_model.safetensors")
    matrices = {name.replace(".lora0", ""): value for name, value in whole.items() if "lora_" in name}
    assert {name.removeprefix("base_model.model."): v for name, v in alone.items()}.keys() == matrices.keys()
    assert all(torch.equal(alone[f"base_model.model.{name}"], value) for name, value in matrices.items())
    assert any(value.any() for name, value in matrices.items() if "lora_B" in name)


@pytest.mark.parametrize("changes", [{}, {"checkpoint__background": True}, {"ema": None}, {"trainable": ["final*"]}])
def test_a_fine_tuning_in_two_parts_equals_one(base: Path, run: Run, changes: dict[str, Any]) -> None:
    changes = {"model__from_pretrained": str(base), "adapters": [LORA], **changes}
    whole = run("whole", **changes)
    run("parts", max_steps=3, **changes)
    parts = run("parts", resume="latest", **changes)
    assert_same_state(whole, parts, step=6)
    assert loss_log(whole) == loss_log(parts)


def test_samples_of_a_run_have_its_adapters(base: Path, tuned: Path, tmp_path: Path) -> None:
    """By the run's checkpoint; by the base and the adapter's own file; beside the weights and folded into them."""
    inherited = sampled(tmp_path / "inherited", checkpoint=str(tuned))
    merging = [{**LORA, "merge": True}]
    beside = [{"type": "lora", "from_pretrained": str(tuned)}]
    ways = {
        "folded": sampled(tmp_path / "folded", checkpoint=str(tuned), adapters=merging),
        "beside": sampled(tmp_path / "beside", checkpoint=str(base), adapters=beside),
        "both": sampled(tmp_path / "both", checkpoint=str(base), adapters=[{**beside[0], "merge": True}]),
    }
    for name, made in ways.items():
        assert (made - inherited).abs().mean() < 0.5, name
    without = sampled(tmp_path / "without", checkpoint=str(base))
    assert (without - inherited).abs().mean() > 2


def test_what_is_exported_has_the_adapters_folded_in(base: Path, tuned: Path, tmp_path: Path) -> None:
    """In the model's own layout, which a run without adapters loads."""
    out = tmp_path / "folded.safetensors"
    done = CliRunner().invoke(export, [str(tuned), "-o", str(out)])
    assert done.exit_code == 0, done.output
    before, folded = load_file(newest(base) / "ema" / "model.safetensors"), load_file(out)
    assert folded.keys() == before.keys()
    low = load_file(newest(tuned) / "adapter" / "adapter_model.safetensors")
    name = "blocks.0.attn.qkv"
    a, b = (low[f"base_model.model.{name}.lora_{side}.weight"] for side in "AB")
    torch.testing.assert_close(folded[f"{name}.weight"], before[f"{name}.weight"] + 6.0 / 3 * b @ a)


def test_samples_within_training_are_those_afterwards(base: Path, run: Run, tmp_path: Path) -> None:
    import av

    sample = {"prompts": [PROMPT], "upscale": 4, "save_fps": 8.0}
    outputs = run("run", model__from_pretrained=str(base), adapters=[LORA], sample=sample, optimizer__lr=0.05)
    with av.open(str(next(outputs.glob("samples/step6/*.mp4")))) as file:
        within = torch.stack([torch.from_numpy(f.to_ndarray(format="rgb24")) for f in file.decode(video=0)]).float()
    assert (sampled(tmp_path / "after", checkpoint=str(outputs), seed=RECIPE["seed"]) - within).abs().max() < 2


def test_an_adapter_goes_on_from_another(base: Path, tuned: Path, run: Run) -> None:
    """At a learning rate of next to nothing it stays what it was."""
    given = {"type": "lora", "from_pretrained": str(tuned)}
    again = run("again", model__from_pretrained=str(base), adapters=[given], optimizer__lr=1e-30)
    file = Path("adapter", "adapter_model.safetensors")
    mine, theirs = load_file(newest(again) / file), load_file(newest(tuned) / file)
    assert mine.keys() == theirs.keys()
    assert all(torch.allclose(mine[name], theirs[name], atol=1e-6) for name in mine)


def test_two_adapters_have_folders_of_their_own(base: Path, tuned: Path, run: Run) -> None:
    both = [{"type": "lora", "from_pretrained": str(tuned)}, {"type": "lora", "rank": 2, "targets": ["blocks.*mlp*"]}]
    outputs = run("both", model__from_pretrained=str(base), adapters=both)
    first, second = (
        load_file(newest(outputs) / folder / "adapter_model.safetensors") for folder in ("adapter", "adapter-2")
    )
    assert not any("mlp" in name for name in first) and all("mlp" in name for name in second)


def test_an_adapter_that_would_add_nothing_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"adapters: the weights come from a training without .*from_pretrained"):
        sampled(tmp_path / "fresh", checkpoint=str(base), adapters=[{"type": "lora", "rank": 2}])


OTHERS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "rank": (
        [{**LORA, "rank": 2}],
        r"adapters\[0\]\.rank: the recipe has 2, but .*/adapter has 3, so weights do not fit",
    ),
    "targets": (
        [{**LORA, "targets": ["*.qkv"]}],
        r"adapters\[0\]\.targets: the recipe has 2 layers, but .* has 7 layers \(b",
    ),
    "none": ([], r"adapters: the recipe has 0 with weights of their own, but .*_step6 has 1"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_other_adapters_than_the_checkpoints_are_told_by_their_options(tuned: Path, tmp_path: Path, other: str) -> None:
    """Whether it is sampled or trained on."""
    adapters, told = OTHERS[other]
    with pytest.raises(UserError, match=f"^{told}.*Give the recipe what is there; to sample, adapters can be left out"):
        sampled(tmp_path / "other", checkpoint=str(tuned), adapters=adapters)
    again = {"outputs": str(tmp_path / "again"), "resume": str(newest(tuned)), "adapters": adapters, "force": True}
    with pytest.raises(UserError, match=f"^{told}.*with outputs=ANOTHER/FOLDER"):
        vidgen.run(vidgen.load_recipe(merged(RECIPE, again)))


def kept_as_before(outputs: Path) -> Path:
    """A run whose newest checkpoint has its adapter in the shards that several ranks wrote formerly."""
    folder = newest(outputs) / "adapter"
    state = load_file(folder / "adapter_model.safetensors")
    (folder / "adapter_model.safetensors").unlink()
    shards.save(folder, state, None)
    assert [path.name for path in folder.glob("*.safetensors")] == ["shard-00001-model-00001-of-00001.safetensors"]
    return outputs


def test_a_checkpoint_whose_adapter_lies_in_shards_is_read_and_trained_on(base: Path, run: Run) -> None:
    changes = {"model__from_pretrained": str(base), "adapters": [LORA]}
    whole = run("whole", **changes)
    older = run("older", max_steps=3, **changes)
    read = vidgen_lora_state(older)
    assert all(torch.equal(one, read[name]) for name, one in vidgen_lora_state(kept_as_before(older)).items()) and read
    run("older", resume="latest", **changes)
    assert_same_state(whole, older, step=6)


def test_a_dry_run_says_what_is_trained(base: Path) -> None:
    changes = {"model.from_pretrained": str(base), "adapters": [LORA], "trainable": ["final_layer.linear.bias"]}
    recipe = vidgen.load_recipe(merged(RECIPE, changes))
    told = recipe.registry.build(
        recipe.job, vidgen.interfaces.Context(registry=recipe.registry, recipe=recipe.plain())
    ).dry_run()
    layers = 2 * (3 * (16 + 48) + 3 * 32) + 3 * 32 + 3 * (16 + 32) + 3 * 32  # qkv and proj, of both; q, kv, proj
    assert f"({layers + 96:,} trained)" in told["parameters"]


SHARED: dict[str, dict[str, Any]] = {
    "zero2": {"parallel": {"type": "zero2"}},
    "zero3": {"parallel": {"type": "zero3"}, "grad_checkpoint": True, "checkpoint.background": True},
    "zero2-seq": {"parallel": {"type": "zero2-seq", "sp_size": 2}},
}
TUNING = {
    "adapters": [{"type": "lora", "rank": 3}],
    "trainable": ["final_layer.*"],  # of a new model it is zero, and nothing would reach the adapter
    "held_out": {"rows": 5, "every": 3, "timesteps": 2},
    "optimizer.groups": [{"pattern": "final_layer.*", "lr_scale": 0.5}],
}


def train_all(world: World, folder: Path) -> None:
    """Every case on all ranks, in two parts; four rows a step."""
    for name, changes in SHARED.items():
        share = world.size // changes["parallel"].get("sp_size", 1)
        said = {**TUNING, **changes, "batch_size": 4 // share, "outputs": str(folder / name)}
        run_here(world, {**said, "max_steps": 3})
        run_here(world, {**said, "resume": "latest"})


def test_ranks_learn_and_measure_what_one_process_does(tmp_path: Path) -> None:
    """Losses, norms, weights, averages and moments, held-out losses, and the adapter by itself."""
    run_here(World(), {**TUNING, "batch_size": 4, "outputs": str(tmp_path / "single")})
    on_ranks(train_all, 2, tmp_path)
    alone = vidgen_lora_state(tmp_path / "single")
    for name in SHARED:
        assert_same_course(tmp_path / "single", tmp_path / name)
        torch.testing.assert_close(scores(tmp_path / name), scores(tmp_path / "single"), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(vidgen_lora_state(tmp_path / name), alone, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(state_by_peft(newest(tmp_path / name) / "adapter"), alone, atol=1e-5, rtol=1e-5)


def state_by_peft(folder: Path) -> dict[str, torch.Tensor]:
    """What peft itself puts on a model, from the two files that it knows."""
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    sizes = {key: value for key, value in WIDE["model"].items() if key != "type"}
    model = peft.PeftModel.from_pretrained(model_of("STDiT3", **sizes), str(folder))
    return peft.get_peft_model_state_dict(model)


def scores(outputs: Path) -> torch.Tensor:
    return torch.tensor([float(line.split(",")[2]) for line in (outputs / "scores.csv").read_text().splitlines()[1:]])


def vidgen_lora_state(outputs: Path) -> dict[str, torch.Tensor]:
    """As the plugin reads it, whoever wrote it."""
    from vidgen_lora import files

    return dict(files.read(str(outputs)).state)
