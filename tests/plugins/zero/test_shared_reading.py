"""Ranks that share tokens: each reads and encodes its share of the batches, and all train on all of them."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from parallel_run import assert_same_course, numbers_in, run_here
from ranks import on_ranks
from vidgen.mesh import World

SEQ = {"parallel": {"type": "zero2-seq", "sp_size": 2}, "log.every": 1}
FRAMES = {
    "model": {
        "type": "OpenSoraInpaint_v1_3",
        "num_layers": 4,
        "num_attention_heads": 3,
        "attention_head_dim": 12,
        "class_dropout_prob": 0.5,
    },
    "scheduler": {"type": "euler-ancestral", "prediction_type": "v_prediction"},
    "vae.patch": [2, 4, 4],
    "num_frames": 4,
    "frame_masks": {"ratios": {"random_temporal": 1.0}},
    "dropped_captions": ["", "anything"],
}
SHORT = {"dataset.rows": 10, "batch_size": 2, "epochs": 1, "max_steps": None}  # five batches
CASES: dict[str, dict[str, Any]] = {
    "shown frames": FRAMES,
    "an odd number of batches": SHORT,
    "fewer batches than ranks": {**SHORT, "dataset.rows": 2},
    "kept features": {"features": {"mode": "write-through", "cache": "?"}},
}


def train_all(world: World, folder: Path) -> dict[str, Counter[str]]:
    """Every case. How many clips this rank read, encoded and kept."""
    done: dict[str, Counter[str]] = {}
    for name, changes in CASES.items():
        seen = done[name] = Counter()
        _count(seen)
        more = {"features.cache": str(folder / f"kept-{world.size}")} if "features" in changes else {}
        shared = SEQ if world.size > 1 else {"log.every": 1}
        run_here(world, {**changes, **more, **shared, "outputs": str(folder / f"{name}-{world.size}")})
    return done


def _count(seen: Counter[str]) -> None:
    """From now on."""
    from vidgen.engine.data import Reader
    from vidgen.engine.encoding import Encoding
    from vidgen.engine.features import FeatureStore

    for name, kind, method in (
        ("read", Reader, "__getitem__"),
        ("encoded", Encoding, "_latents"),
        ("kept", FeatureStore, "write"),
    ):
        honest = getattr(kind, method)
        honest = getattr(honest, "honest", honest)

        def counting(self: Any, *args: Any, name: str = name, honest: Any = honest) -> Any:
            seen[name] += bool(getattr(args[0], "groups", True))  # of a batch, whether pixels are left
            return honest(self, *args)

        counting.honest = honest  # type: ignore[attr-defined]
        setattr(kind, method, counting)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def done(folder: Path) -> list[dict[str, Counter[str]]]:
    """Of each of two ranks, after the same runs on one."""
    (alone,) = on_ranks(train_all, 1, folder)
    assert alone["shown frames"]["encoded"] == 6
    return on_ranks(train_all, 2, folder)


@pytest.mark.parametrize("case", CASES)
def test_ranks_that_share_learn_what_one_learns(done: Any, folder: Path, case: str) -> None:
    assert_same_course(folder / f"{case}-1", folder / f"{case}-2")


def test_each_rank_reads_and_encodes_its_share(done: list[dict[str, Counter[str]]], folder: Path) -> None:
    for rank in done:
        assert rank["shown frames"]["encoded"] == 3 and rank["shown frames"]["read"] == 3 * 3
        assert rank["kept features"]["kept"] == 3 * 3, "six batches of three clips"
    assert [rank["an odd number of batches"]["encoded"] for rank in done] == [3, 2]
    assert [rank["fewer batches than ranks"]["encoded"] for rank in done] == [1, 0]


def test_an_epoch_ends_where_it_does_on_one_rank(done: Any, folder: Path) -> None:
    assert len(numbers_in(folder / "an odd number of batches-2", "step")) == 5
    assert len(numbers_in(folder / "fewer batches than ranks-2", "step")) == 1


def in_parts(world: World, folder: Path) -> None:
    """Stopped after the first of two batches that were read together."""
    changes = {**SEQ, "outputs": str(folder / "parts")}
    run_here(world, {**changes, "max_steps": 3})
    run_here(world, {**changes, "max_steps": 6, "resume": "latest", "force": True})


def test_a_run_goes_on_between_batches_that_were_read_together(tmp_path: Path) -> None:
    run_here(World(), {"log.every": 1, "outputs": str(tmp_path / "whole")})
    on_ranks(in_parts, 2, tmp_path)
    assert_same_course(tmp_path / "whole", tmp_path / "parts")


def exchanged(world: World) -> list[Any]:
    tokens = world.token_groups(2)[0]
    texts = tokens.texts(["", "a longer one, with ü"][world.rank])
    sent = [tokens.broadcast(torch.full((2,), float(world.rank)), source).tolist() for source in range(2)]
    flags = tokens.broadcast(torch.tensor([world.rank == 0, False]), 0).tolist()
    return [texts, sent, flags]


def test_texts_of_any_length_and_tensors_reach_all() -> None:
    expected = [["", "a longer one, with ü"], [[0.0, 0.0], [1.0, 1.0]], [True, False]]
    assert on_ranks(exchanged, 2) == [expected, expected]
