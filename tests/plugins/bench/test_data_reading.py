"""Reading videos compared: both ways give the sample asked for, and the long clip is what it says. Nothing is timed."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from attrs import evolve
from click.testing import CliRunner
from vidgen_bench import data_reading
from vidgen_bench.command import bench
from vidgen_bench.comparison import compare
from vidgen_bench.data_reading import Pattern, decode_whole, installed
from vidgen_bench.video_clips import VideoClip, found, repeat, write_clip

TINY = Pattern(5, 2, (24, 36))


@pytest.fixture
def piece(tmp_path: Path) -> Path:
    path = tmp_path / "piece.mp4"
    write_clip(path, size=(48, 80), seconds=1, gop=12)
    return path


def frames_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_a_repeated_clip_shows_its_piece_again_and_again(piece: Path, tmp_path: Path) -> None:
    repeat(piece, tmp_path / "long.mp4", 3)
    once, thrice = frames_of(piece), frames_of(tmp_path / "long.mp4")
    assert len(once) == 30
    assert (thrice == np.concatenate([once] * 3)).all()


def test_the_usual_way_gives_the_same_sample_but_for_scaling(piece: Path) -> None:
    theirs = decode_whole(piece, TINY, np.random.default_rng(3))
    dataset = data_reading._dataset(piece, TINY, "av")
    ours = dataset.get(0, 5, (24, 36), np.random.default_rng(3)).video.float() / 127.5 - 1
    assert theirs.shape == ours.shape == (3, 5, 24, 36)
    assert (theirs - ours).abs().mean() < 0.05
    other = decode_whole(piece, TINY, np.random.default_rng(4))
    assert torch.isfinite(other).all() and (other - ours).abs().mean() > 0.05


def test_the_reader_of_pyav_is_always_there() -> None:
    assert installed()[0] == "av"


def test_the_time_of_one_part_counts_for_all(piece: Path) -> None:
    clip = VideoClip(name="long", path=piece, piece=piece, parts=7)
    comparison = data_reading._timed(clip, TINY, "av", goal=50.0)
    outcome = compare(evolve(comparison, measure=lambda call: float(call())), repeats=2)
    assert (outcome.ours, outcome.theirs) == ((1.0, 1.0), (7.0, 7.0))
    assert comparison.against == "whole file, then crop, 7 times 30 s"


def test_the_command_reads_the_clips_of_a_folder(piece: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.txt").write_text("no video")
    assert [clip.name for clip in found(tmp_path)] == ["piece.mp4"]
    monkeypatch.setattr(data_reading, "PATTERNS", (TINY,))
    monkeypatch.setattr(data_reading, "LONG", ())
    result = CliRunner().invoke(bench, ["data", "--clips", str(tmp_path), "--repeats", "1", "--only", ": av"])
    assert result.exit_code == 0, result.output
    assert "piece.mp4: 5 frames, interval 2, 24x36: av" in result.output
