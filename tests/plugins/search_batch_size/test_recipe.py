"""What a search recipe may say, and what is refused before anything starts."""

from collections.abc import Callable
from typing import Any

import pytest
from vidgen.errors import RecipeError
from vidgen_search_batch_size.plan import Plan

Load = Callable[..., Any]


def plan_of(recipe: Any) -> Plan:
    return Plan(recipe.job.options.search)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"search": {}}, "search.bucket_config: missing"),
        ({"search__bucket_config": {}}, "search.bucket_config: has no buckets\n    such as bucket_config: {240p:"),
        (
            {"search__bucket_config": {"tiny": {2: [0, 3]}}},
            "search.bucket_config.tiny[2][0]: a batch size is 1 or more, not 0",
        ),
        (
            {"search__bucket_config": {"tiny": {2: [4, -3]}}},
            "search.bucket_config.tiny[2][1]: a range is 0 or more, not -3",
        ),
        (
            {"search__bucket_config": {"tiny": {2: [4]}}},
            "search.bucket_config.tiny[2]: expected a list of 2 values, got [4]",
        ),
        ({"search__bucket_config": {"tiny": {"soon": [4, 2]}}}, "tiny.soon: 'soon' is neither a whole number nor one"),
        (
            {"search__bucket_config": {"tiny": {51: [4, 2], "2s": [3, 1]}}},
            "search.bucket_config.tiny.2s: means the same as 51",
        ),
        (
            {"search__bucket_config": {"tniy": {2: [4, 2]}}},
            "search.bucket_config.tniy: there is no resolution 'tniy', and bucketer.bucket_config has none of that "
            "name\n    did you mean tiny?\n    bucketer.bucket_config has tiny, 1 frame; tiny, 2 frames; small, 2",
        ),
        ({"search__bucket_config": {"240p": {2: [4, 2]}}}, "240p: bucketer.bucket_config has none of that name"),
        ({"search__bucket_config": {"tiny": {3: [4, 2]}}}, "tiny[3]: bucketer.bucket_config has no such bucket"),
        ({"search__bucket_config": {"small": {3: [4, 2]}}}, "small[3]: bucketer.bucket_config keeps no clip in this"),
        ({"search__base": ["tiny", 3]}, "search.base: ['tiny', 3] is no bucket of search.bucket_config\n    there are"),
        ({"search__base": ["240p", 51]}, "search.base: ['240p', 51] is no bucket of search.bucket_config"),
        ({"search__base": [256, 2.5]}, "search.base: [256, 2.5] is no bucket of search.bucket_config"),
        ({"search__base": [8, -1.0]}, "search.base: [8, -1.0] is no bucket of search.bucket_config"),
        ({"search__base": ["tinny", 2]}, "or [batch size, seconds], such as [16, 4.5]; or set base_step_time"),
        ({"search__base": ["tiny", "soon"]}, "search.base: ['tiny', 'soon'] is no bucket"),
        ({"search__resolution": "240p"}, "search.resolution: no bucket of '240p' is in search.bucket_config"),
        ({"search__resolution": "tinny"}, "did you mean tiny?"),
        ({"search__base_step_time": 0}, "search.base_step_time"),
        ({"search__warm_up_steps": 0}, "search.warm_up_steps"),
        ({"search__memory_limit_mb": 0}, "search.memory_limit_mb"),
        ({"search__algorithm": "v1.3"}, "search.algorithm: expected one of v1.2, v1.1, got 'v1.3'"),
        ({"bucketer": {"type": "fixed"}}, "bucketer.type: fixed has no bucket_config"),
        ({"max_steps": None}, "max_steps: missing"),
    ],
)
def test_mistakes_are_told_at_their_place(recipe_of: Load, keys: dict[str, Any], text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_of(**keys)
    assert text in str(caught.value)


def test_several_mistakes_are_told_at_once(recipe_of: Load) -> None:
    with pytest.raises(RecipeError, match="3 problems"):
        recipe_of(search__bucket_config={"tiny": {2: [0, -1], "soon": [1, 1]}})


def test_buckets_are_searched_as_written(recipe_of: Load) -> None:
    spans = plan_of(recipe_of()).spans
    assert [(one.key, one.lower, one.upper) for one in spans] == [
        (("tiny", 1), 3, 7),
        (("tiny", 2), 1, 7),
        (("small", 2), 1, 3),
    ]


def test_no_size_is_below_one(recipe_of: Load) -> None:
    (span,) = plan_of(recipe_of(search__bucket_config={"tiny": {2: [4, 100]}})).spans
    assert (span.lower, span.upper) == (1, 104)


def test_names_of_sizes_mean_what_they_mean_elsewhere(recipe_of: Load) -> None:
    bucketer = {"type": "bucket", "bucket_config": {256: {"2s": [1.0, 1]}}}
    (span,) = plan_of(recipe_of(bucketer=bucketer, search__bucket_config={"256": {51: [4, 1]}})).spans
    assert span.key == ("256", 51)


def test_a_base_goes_first_also_where_another_resolution_is_asked_for(recipe_of: Load) -> None:
    plan = plan_of(recipe_of(search__base=["small", 2], search__resolution="tiny"))
    assert [one.key for one in plan.spans] == [("small", 2), ("tiny", 1), ("tiny", 2)]
    assert plan.aim == "largest whose step takes less than that of small, 2 frames"


@pytest.mark.parametrize(
    ("keys", "goal", "aim"),
    [
        ({}, None, "largest that fits"),
        ({"base": [8, 3]}, 3.0, "largest whose step takes less than 3 s"),
        ({"base_step_time": 2.5, "base": ["tiny", 2]}, 2.5, "largest whose step takes less than 2.5 s"),
        ({"base_step_time": 2.5, "algorithm": "v1.1"}, 2.5, "step nearest to 2.5 s"),
        ({"algorithm": "v1.1"}, None, "most clips per second"),
    ],
)
def test_what_is_searched_for(recipe_of: Load, keys: dict[str, Any], goal: float | None, aim: str) -> None:
    plan = plan_of(recipe_of(**{f"search__{key}": value for key, value in keys.items()}))
    assert (plan.goal, plan.base, plan.aim) == (goal, None, aim)


def test_trials_are_counted_as_they_can_be_at_most(recipe_of: Load) -> None:
    """Of 5, 7 and 1 sizes: halved, or halved and every second tried, or all."""
    ranges = {"tiny": {1: [5, 2], 2: [4, 3]}, "small": {2: [2, 0]}}
    counts = {
        algorithm: [
            plan.most_trials(span)
            for plan in [plan_of(recipe_of(search__bucket_config=ranges, search__algorithm=algorithm))]
            for span in plan.spans
        ]
        for algorithm in ("v1.2", "v1.1")
    }
    assert counts == {"v1.2": [3, 3, 0], "v1.1": [5, 7, 0]}
