"""Sampling measured at mid size, here with tiny networks: both sides come to the same."""

from pathlib import Path

import pytest
from vidgen import build
from vidgen.engine import media
from vidgen_bench import clip_sampling
from vidgen_bench.clip_sampling import Task, comparisons, compiled, exact_mode, long_video
from vidgen_bench.models import CAPTIONS, moved, stdit3_inputs


def tiny() -> Task:
    model = moved(build("model", "STDiT3", hidden_size=24, num_heads=2, depth=1, **CAPTIONS))
    return Task.of(model, stdit3_inputs(frames=2, side=4, lengths=[20]))


def test_every_comparison_has_its_own_name() -> None:
    names = [one.name for one in comparisons()]
    assert len(set(names)) == len(names) == 9


def test_captions_worked_out_once_give_the_same_clip() -> None:
    both = exact_mode(tiny)
    assert both.difference is not None and both.difference() < 1e-4
    assert both.ours().shape == (1, 4, 2, 4, 4)


def test_a_model_is_compared_with_a_compiled_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(clip_sampling, "compile_blocks", seen.append)
    both = compiled(tiny)
    assert len(seen) == 1 and both.difference is not None and both.difference() == 0


def test_a_long_video_is_the_same_piece_by_piece_and_as_a_whole(tmp_path: Path) -> None:
    sampler = long_video(2, tmp_path)
    (sample,) = sampler.run(tmp_path)
    assert media.read(sample.path).shape == (3, 2 * (16 - 2) + 2, 240, 432)
    clip_sampling._at_once(sampler, tmp_path)
    assert not list(tmp_path.glob("whole*"))
