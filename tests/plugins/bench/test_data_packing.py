"""Packed steps compared: what is measured gives equal results, at tiny size."""

import pytest
from attrs import evolve
from vidgen_bench import data_packing
from vidgen_bench.comparison import compare


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_packing, "MODEL", {**data_packing.MODEL, "hidden_size": 24, "depth": 1, "num_heads": 3})
    monkeypatch.setattr(data_packing, "MIXED", ((3, 4, 6), (1, 7, 4), (2, 5, 5)))
    monkeypatch.setattr(data_packing, "ALIKE", ((2, 4, 6),) * 2)


@pytest.mark.parametrize("number", range(3))
def test_both_ways_lead_to_the_same(number: int) -> None:
    comparison = list(data_packing.comparisons())[number]
    outcome = compare(evolve(comparison, measure=_once, warm_up=0), repeats=1)
    assert (outcome.difference is None) == (comparison.against == "padded to the largest")


def _once(call: object) -> float:
    call()
    return 1.0
