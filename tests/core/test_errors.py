"""How errors read."""

import pytest
from vidgen.errors import Problem, RecipeError, RunError, UserError, VidgenError, did_you_mean, key_path


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("model",), "model"),
        (("model", "depth"), "model.depth"),
        (("sample", "metrics", 0, "type"), "sample.metrics[0].type"),
        ((0, 1), "[0][1]"),
        (("buckets", 256, "a"), "buckets[256].a"),
    ],
)
def test_key_paths_read_as_overrides_are_written(path: tuple[str | int, ...], text: str):
    assert key_path(path) == text


def test_a_problem_reads_place_key_text_then_hints():
    problem = Problem(("model", "depth"), "too deep", ("try 3", "or 4"), "r.yaml:2:3")
    assert str(problem) == "r.yaml:2:3: model.depth: too deep\n    try 3\n    or 4"
    assert str(Problem((), "empty", (), "r.yaml")) == "r.yaml: empty"
    assert str(Problem(("a",), "wrong")) == "a: wrong"


def test_a_problem_can_be_seen_from_further_up():
    problem = Problem(("type",), "missing", at_key=True).under(2).under("trackers")
    assert (problem.path, problem.at_key) == (("trackers", 2, "type"), True)


def test_a_recipe_error_holds_every_problem_and_counts_them():
    problems = [Problem(("a",), "one"), Problem(("b",), "two", ("hint",))]
    assert str(RecipeError(problems[:1])) == "a: one\n1 problem; nothing was started."
    error = RecipeError(problems)
    assert str(error) == "a: one\nb: two\n    hint\n2 problems; nothing was started."
    assert error.problems == tuple(problems)


def test_mistakes_of_the_user_and_failures_leave_with_different_status():
    assert (UserError.exit_status, RecipeError.exit_status, RunError.exit_status) == (2, 2, 1)
    assert all(issubclass(one, VidgenError) for one in (UserError, RecipeError, RunError))


@pytest.mark.parametrize(
    ("given", "hints"),
    [
        ("grad_cilp", ("did you mean grad_clip?",)),
        ("GRAD_CLIP", ("did you mean grad_clip?",)),
        ("lr", ("did you mean lr?",)),
        ("decay_rate", ("did you mean decay?",)),
        ("nothing like it", ("known: decay, grad_clip, lr, min_lr",)),
        ("", ("known: decay, grad_clip, lr, min_lr",)),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest_or_with_all(given: str, hints: tuple[str, ...]):
    assert did_you_mean(given, ["lr", "grad_clip", "decay", "min_lr"]) == hints


def test_names_that_differ_in_capitals_alone_are_both_known():
    assert did_you_mean("stdit", ["STDiT", "stdit-xl"])[0].startswith("did you mean STDiT or stdit-xl")


def test_where_nothing_is_known_nothing_is_said():
    assert did_you_mean("x", []) == ()
