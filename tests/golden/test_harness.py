"""The harness itself: nothing passes by not being run, and weights are drawn as the rule says."""

import json
from pathlib import Path

import harness
import pytest
import torch
import weight_rule
from comparing import close


def write(folder: Path, case: object) -> Path:
    path = folder / "case.json"
    path.write_text(json.dumps(case))
    return path


def test_a_case_of_an_unknown_family_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"runners for 'someone/else v1 Net': none"):
        harness.run_case(write(tmp_path, {"reference": "someone/else v1 Net"}))


def test_a_case_without_reference_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no `reference`"):
        harness.run_case(write(tmp_path, [1, 2]))


def test_a_case_whose_tensors_are_missing_fails(tmp_path: Path) -> None:
    case = json.loads((harness.HERE / "cases/stdit/stdit1_base.json").read_text())
    with pytest.raises(AssertionError, match=r"case\.safetensors is missing"):
        harness.run_case(write(tmp_path, case))


def test_weights_depend_on_name_and_shape_alone() -> None:
    drawn = weight_rule.values([["a.weight", [3], "float32"], ["a.bias", [2, 5], "float32"], ["n", [], "int64"]])
    assert list(drawn) == ["a.weight", "a.bias"]
    assert (drawn["a.weight"] - 1).abs().max() < 0.1
    assert torch.equal(drawn["a.bias"], weight_rule.value("a.bias", [2, 5]))


def test_a_number_that_is_not_a_number_is_not_close() -> None:
    with pytest.raises(AssertionError, match="largest difference nan"):
        close("out", torch.tensor([float("nan")]), torch.tensor([0.0]), 1.0)
