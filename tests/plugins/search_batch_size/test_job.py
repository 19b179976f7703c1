"""Whole searches, and the recipes they leave behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
from attrs import evolve
from vidgen.engine.parts import shared_context
from vidgen.errors import RunError, UserError
from vidgen.interfaces import Context
from vidgen.recipe.source import read_yaml
from vidgen_search_batch_size.course import Search
from vidgen_search_batch_size.memory import STATUS, Budget
from vidgen_search_batch_size.search import bisect
from vidgen_search_batch_size.trial import Trials

Load = Callable[..., Any]
Run = Callable[..., dict[str, Any]]

if not STATUS.exists():
    pytest.skip("searching on a CPU needs Linux", allow_module_level=True)

NEVER = 1e-9
"""No step is as fast as that."""


def context_of(recipe: Any) -> Context:
    context = Context(registry=recipe.registry, recipe=recipe.plain())
    return evolve(shared_context(recipe.job.options, context), batch_size=1)


def trials_of(recipe: Any) -> Trials:
    return Trials(recipe.job.options, context_of(recipe))


def sizes(recipe: dict[str, Any]) -> dict[tuple[str, int], Any]:
    config = recipe["bucketer"]["bucket_config"]
    return {(name, frames): entry for name, entries in config.items() for frames, entry in entries.items()}


class Terminal:
    """What a search sees of its session; Ctrl-C comes when progress was told so often."""

    def __init__(self, stop_after: int) -> None:
        self.progress, self.stopped = self, ""
        self._left = stop_after

    def advance(self, name: str, done: int, total: int | None, numbers: str = "") -> None:
        self._left -= 1
        self.stopped = "SIGINT" if self._left < 0 else ""


def test_the_largest_sizes_are_written_and_all_else_is_kept(search: Run) -> None:
    found = search()
    assert found["job"] == "train" and "search" not in found and "outputs" not in found
    assert sizes(found) == {
        ("tiny", 1): [0.5, 7],
        ("tiny", 2): [[0.75, 0.25], 7],
        ("small", 2): [1.0, 3],
        ("small", 3): [0.0, None],
    }


def test_what_is_written_trains(search: Run, tmp_path: Path) -> None:
    search(
        bucketer={"type": "bucket", "resolutions": {"tiny": [[8, 8]]}, "bucket_config": {"tiny": {2: [1.0, 1]}}},
        search__bucket_config={"tiny": {2: [2, 1]}},
        dataset={"type": "moving-shapes", "rows": 8},
        max_steps=2,
    )
    recipe = vidgen.load_recipe(tmp_path / "found" / "recipe_found.yaml", [f"outputs={tmp_path / 'run'}"])
    vidgen.run(recipe)
    assert (tmp_path / "run" / "checkpoints" / "epoch0-global_step2").is_dir()


def test_the_recipe_says_how_it_was_found(search: Run, tmp_path: Path) -> None:
    search(search__bucket_config={"tiny": {1: [5, 2], 2: [4, 0]}})
    comments = [line for line in (tmp_path / "found/recipe_found.yaml").read_text().splitlines() if line[0] == "#"]
    how, where, searched, given = comments
    assert how.endswith("search-batch-size: largest that fits; mean of 1 steps after 1.")
    assert torch.__version__ in where and "MB for clips" in where
    assert searched.startswith("# tiny, 1 frame: 7 clips; ") and searched.endswith("a larger one may do")
    assert given == "# tiny, 2 frames: 4 clips; taken as given"


def test_one_resolution_may_be_searched_alone(search: Run) -> None:
    found = search(search__resolution="small")
    assert [entry[-1] for entry in sizes(found).values()] == [1, 1, 3, None]


def test_a_bucket_that_is_too_slow_is_left_out_with_a_note(search: Run, tmp_path: Path) -> None:
    found = search(search__bucket_config={"tiny": {1: [5, 2], 2: [4, 0]}}, search__base_step_time=NEVER)
    assert sizes(found).keys() == {("tiny", 2), ("small", 2), ("small", 3)}
    text = (tmp_path / "found" / "recipe_found.yaml").read_text()
    assert "# tiny, 1 frame: left out: a step of 3 clips takes" in text and "no less than 1e-09 s" in text


def test_where_nothing_fits_it_says_so_and_writes_no_recipe(
    search: Run, tmp_path: Path, taken: int, capsys: Any
) -> None:
    ranges = {"tiny": {1: [900_001, 1], 2: [900_001, 1]}, "small": {2: [900_001, 1]}}
    with pytest.raises(RunError, match=r"not one bucket has a batch size, so recipe_found\.yaml is not written"):
        search(search__memory_limit_mb=taken + 40, search__bucket_config=ranges)
    assert not (tmp_path / "found" / "recipe_found.yaml").exists()
    assert "left out: a batch of 900000 clips does not fit in memory" in capsys.readouterr().out


def test_a_base_that_does_not_fit_gives_no_time_to_go_by(search: Run, taken: int) -> None:
    told = r"search\.base: a batch of 900000 clips does not fit in memory, so there is no step time to go by"
    ranges = {"tiny": {1: [900_001, 1]}}
    with pytest.raises(RunError, match=told):
        search(search__memory_limit_mb=taken + 40, search__base=["tiny", 1], search__bucket_config=ranges)


def test_the_base_says_the_time_for_all_others(recipe_of: Load) -> None:
    recipe = recipe_of(search__base=["small", 2])
    context, trials = context_of(recipe), trials_of(recipe)
    recipe.job.options.outputs.mkdir()
    search = Search(recipe.job.options, trials, context)
    search.run(Terminal(stop_after=99))  # type: ignore[arg-type]
    base, *others = search.results
    assert base.key == ("small", 2) and search.goal == base.found.step_time > 0
    for one in others:
        times = [seconds for size, seconds in one.trials if size == one.found.batch_size]
        assert one.found.batch_size == 0 or (times == [one.found.step_time] and times[0] < search.goal)


def test_what_was_found_before_an_interruption_is_written(recipe_of: Load) -> None:
    """tiny with one frame takes three trials; the second of the next bucket is not begun."""
    recipe = recipe_of()
    context, trials = context_of(recipe), trials_of(recipe)
    outputs = recipe.job.options.outputs
    outputs.mkdir()
    search = Search(recipe.job.options, trials, context)
    search.run(Terminal(stop_after=4))  # type: ignore[arg-type]
    assert [one.key for one in search.results] == [("tiny", 1)]
    assert [entry[-1] for entry in sizes(read_yaml(outputs / "recipe_found.yaml").data).values()] == [7, 1, 1, None]
    assert "# Not searched: tiny, 2 frames; small, 2 frames." in (outputs / "recipe_found.yaml").read_text()


def test_an_earlier_result_is_not_replaced(search: Run) -> None:
    search()
    with pytest.raises(UserError, match=r"recipe_found\.yaml is there already, from an earlier search\. Move it away"):
        search()


def test_the_clip_with_most_tokens_is_tried(recipe_of: Load) -> None:
    """Of 8x8, 8x12 and 12x4 pixels, at 4x4 a token."""
    plan = recipe_of()
    lines = plan.registry.build(plan.job, context_of(plan)).dry_run()
    assert lines["tiny, 1 frame"] == "batch size 3 to 7 of 1 x 8 x 12, 6 tokens: 5 first, at most 3 trials"
    assert lines["small, 2 frames"] == "batch size 1 to 3 of 2 x 16 x 16, 32 tokens: 2 first, at most 2 trials"
    assert lines["aim"] == "largest that fits"


def test_clips_that_the_autoencoder_does_not_take_are_refused_before_the_first_trial(search: Run) -> None:
    with pytest.raises(UserError, match=r"search\.bucket_config: a bucket has clips of 1x8x8\. .* multiples"):
        search(vae={"type": "pixel", "patch": [2, 4, 4]})


def test_memory_decides_the_same_whatever_was_tried_before(recipe_of: Load, taken: int) -> None:
    """The most clips for which tensors of a step take no more than the budget, twice, with failures between."""
    recipe = recipe_of()
    trials = trials_of(recipe)
    trials.budget = Budget(torch.device("cpu"), taken + 10)

    def measure(size: int) -> float | None:
        return trials.step_time((2, 8, 12), size, lambda: False)

    first = bisect(measure, lower=1, upper=5000, goal=None).batch_size
    assert 1 < first < 5000
    assert measure(first + 1) is None and measure(first) is not None
    assert bisect(measure, lower=1, upper=5000, goal=None).batch_size == first


def test_a_trial_leaves_weights_and_gradients_as_they_were(recipe_of: Load, taken: int) -> None:
    trials = trials_of(recipe_of(accumulation_steps=2))
    model = trials.training.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert trials.step_time((2, 8, 12), 3, lambda: False) is not None
    trials.budget = Budget(torch.device("cpu"), taken + 40)
    assert trials.step_time((2, 8, 12), 90_000, lambda: False) is None
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-6)


def test_other_errors_are_no_result(recipe_of: Load) -> None:
    """A model with a table for positions of one size is asked for another one."""
    model = {"type": "STDiT", "hidden_size": 16, "depth": 1, "num_heads": 2, "patch_size": [1, 1, 1]}
    trials = trials_of(recipe_of(model=model, num_frames=1, image_size=[8, 8]))
    with pytest.raises(UserError, match="position tables"):
        trials.step_time((2, 8, 12), 1, lambda: False)


@pytest.mark.parametrize("mode", ["read", "write-through"])
def test_features_come_ready_where_they_are_read(recipe_of: Load, tmp_path: Path, mode: str) -> None:
    trials = trials_of(recipe_of(features={"cache": str(tmp_path / "features"), "mode": mode}))
    batch = trials._batches.make((2, 8, 12), 3)
    assert (len(batch.groups), len(batch.features)) == ((0, 3) if mode == "read" else (1, 0))
    assert trials.step_time((2, 8, 12), 3, lambda: False) is not None
    assert not (tmp_path / "features").exists()


def test_models_that_know_classes_are_searched_too(search: Run) -> None:
    found = search(
        model={"type": "Latte", "hidden_size": 16, "depth": 2, "num_heads": 2, "condition": "label_5"},
        text_encoder={"type": "classes", "num_classes": 5},
        vae={"type": "pixel", "patch": [1, 2, 2]},
        num_frames=2,
        image_size=[16, 16],
        search__bucket_config={"small": {2: [2, 1]}},
    )
    assert sizes(found)[("small", 2)] == [1.0, 3]


def test_the_older_search_runs_too(search: Run) -> None:
    found = search(search__algorithm="v1.1", search__base=[3, 5.0])
    assert all(entry[-1] in range(1, 8) for entry in sizes(found).values() if entry[-1] is not None)
