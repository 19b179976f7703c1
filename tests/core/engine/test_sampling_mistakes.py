"""What goes wrong while sampling: nothing is half there, what is finished stays, and what to do is told."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest
import torch
import vidgen
from tiny_run import RECIPE
from vidgen import RunError, UserError
from vidgen.engine import media
from vidgen.engine.generation import Generation

PROMPTS = ["a circle", "a square", "a star"]
STDIT3 = {"type": "STDiT3", "hidden_size": 24, "depth": 1, "num_heads": 2, "patch_size": [1, 2, 2]}
LONG = {"loop": 3, "condition_frame_length": 2}

Sample = Callable[..., Path]


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """Sample with a model of start values; returns the folder."""

    def run(outputs: Path | None = None, **changes: Any) -> Path:
        parts = {key: RECIPE[key] for key in ("vae", "text_encoder", "scheduler", "image_size")}
        recipe = {"job": "sample", **parts, "model": STDIT3, "num_frames": 6, "prompts": PROMPTS, "trackers": []}
        folder = outputs or tmp_path / "made"
        vidgen.run(vidgen.load_recipe({**recipe, "outputs": str(folder), **changes}))
        return folder

    return run


@pytest.fixture
def at_piece(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let something happen before so many pieces of clips have been handed over."""

    def arrange(number: int, happens: Callable[[], Any]) -> None:
        clips, made = Generation.clips, []

        def counted(self: Generation, tasks: Any) -> Any:
            for piece in clips(self, tasks):
                made.append(piece)
                if len(made) == number:
                    happens()
                yield piece

        monkeypatch.setattr(Generation, "clips", counted)

    return arrange


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def written(folder: Path) -> list[str]:
    """Files of clips, hidden ones with them."""
    return sorted(path.name for path in folder.glob("*") if path.suffix in (".mp4", ".png"))


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_made(sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"outputs: .*file/made cannot be written \(Not a directory\)"):
        sample(tmp_path / "file" / "made")


@pytest.mark.parametrize("piece", [5, 6])
def test_a_disk_that_fills_up_in_the_middle_of_a_video_leaves_no_half_of_it(
    sample: Sample, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, piece: int
) -> None:
    """Of three pieces a clip the second, or the last one, of the second clip."""
    append, written_pieces = media._Mp4.append, []

    def fills_up(self: Any, frames: Any) -> None:
        written_pieces.append(1)
        append(self, frames)
        if len(written_pieces) == piece:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(media._Mp4, "append", fills_up)
    told = r"sample_0001\.mp4 could not be written \(.*No space left.*\)\. Files written before are whole\."
    with pytest.raises(RunError, match=told):
        sample(**LONG)
    assert written(tmp_path / "made") == ["sample_0000.mp4"]


def test_a_disk_that_fills_up_as_a_video_is_finished_leaves_no_half_of_it(
    sample: Sample, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(self: Any) -> None:
        self._container.close()
        raise av.error.OSError(28, "No space left on device")

    monkeypatch.setattr(media._Mp4, "close", full)
    with pytest.raises(RunError, match=r"sample_0000\.mp4 could not be written \(.*No space left"):
        sample()
    assert written(tmp_path / "made") == []


def test_after_ctrl_c_what_is_finished_stays_and_the_rest_is_listed(
    sample: Sample, at_piece: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """The signal itself, in the middle of the second clip."""
    at_piece(5, lambda: os.kill(os.getpid(), signal.SIGINT))
    folder = sample(**LONG)
    assert written(folder) == ["sample_0000.mp4"]
    assert "SIGINT: finishing this step" in caplog.text and "not sampled: a square; a star" in caplog.text
    whole = media.read(folder / "sample_0000.mp4")
    assert whole.shape[1] == 3 * (6 - 2) + 2


def test_a_second_ctrl_c_ends_it_at_once_and_leaves_no_half_of_a_file(
    sample: Sample, at_piece: Callable[..., None], tmp_path: Path
) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    at_piece(5, twice)
    with pytest.raises(KeyboardInterrupt):
        sample(**LONG)
    assert written(tmp_path / "made") == ["sample_0000.mp4"]


def test_a_run_that_was_stopped_goes_on_with_what_is_left(sample: Sample, at_piece: Callable[..., None]) -> None:
    at_piece(2, lambda: os.kill(os.getpid(), signal.SIGINT))
    folder = sample()
    first = (folder / "sample_0000.mp4").stat().st_mtime_ns
    assert written(folder) == ["sample_0000.mp4"]
    assert written(sample()) == [f"sample_000{number}.mp4" for number in range(3)]
    assert (folder / "sample_0000.mp4").stat().st_mtime_ns == first


def test_an_error_on_the_way_keeps_what_is_finished(
    sample: Sample, at_piece: Callable[..., None], tmp_path: Path
) -> None:
    at_piece(2, raising(RunError("the machine is on fire")))
    with pytest.raises(RunError, match="on fire"):
        sample()
    assert written(tmp_path / "made") == ["sample_0000.mp4"]


def test_sizes_that_patches_do_not_divide_are_padded_and_cut_by_models_that_can(sample: Sample) -> None:
    """12 x 20 pixels are 3 x 5 latents, in patches of 2 x 2."""
    clip = media.read(sample(image_size=[12, 20], prompts=PROMPTS[:1]) / "sample_0000.mp4")
    assert clip.shape == (3, 6, 12, 20)


def test_sizes_that_patches_do_not_divide_are_refused_by_models_that_cannot(sample: Sample, tmp_path: Path) -> None:
    model = {"type": "PixArt", "hidden_size": 24, "depth": 1, "num_heads": 2, "patch_size": [1, 2, 2]}
    with pytest.raises(UserError, match=r"divi.*\[1, 2, 2\]"):
        sample(model=model, image_size=[12, 20], num_frames=1)
    assert not (tmp_path / "made").exists() or written(tmp_path / "made") == []


def test_sizes_that_the_autoencoder_cannot_take_are_refused_with_the_nearest(sample: Sample, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"given rows: 10 \(nearest: 8 or 12\)"):
        sample(image_size=[10, 20])
    assert written(tmp_path / "made") == []


def test_a_reference_shorter_than_asked_is_refused_by_frames_and_shortened_by_strategies(
    sample: Sample, tmp_path: Path
) -> None:
    frames = (40 * torch.arange(3)).to(torch.uint8).view(1, 3, 1, 1).expand(3, 3, 8, 16)
    video = str(media.write(tmp_path / "video", frames, 8.0, {}))
    with pytest.raises(UserError, match=r"conditions\[0\]\.frames: .*video\.mp4.*3"):
        sample(conditions=[{"video": video, "frames": "2..5"}])
    folder = sample(prompts=PROMPTS[:1], reference_path=[video], mask_strategy=["0,0,1,0,9"])
    clip = media.read(folder / "sample_0000.mp4").float().mean(dim=(0, 2, 3))
    assert [round(value, -1) for value in clip[:2].tolist()] == [40, 80], "frames 1 and 2, and there are no more"


@pytest.mark.parametrize("content", ["", "prompt\n", "\ufeff"], ids=["nothing", "a head alone", "a mark alone"])
def test_a_file_without_prompts_is_refused(sample: Sample, tmp_path: Path, content: str) -> None:
    path = tmp_path / ("prompts.csv" if content.startswith("p") else "prompts.txt")
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"prompts\.(csv|txt) holds no prompt"):
        sample(prompts=[], prompt_path=str(path))


def test_loops_that_are_not_sampled_are_refused_with_what_to_say(sample: Sample, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is for loop 4, but only 0\.\.2 are sampled\n    set loop: 5 or more"):
        sample(mask_strategy=["4"], reference_path=["p.png"], **LONG)
    assert written(tmp_path / "made") == []
