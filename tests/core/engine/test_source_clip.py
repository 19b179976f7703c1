"""Pictures and videos given to a run: upright, at its size, piece by piece."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from vidgen import RunError
from vidgen.engine import media
from vidgen.engine.source_clip import read_frames

CLIPS = Path(__file__).parents[4] / "shared" / "clips"


def test_a_picture_is_one_frame_turned_as_its_camera_says(tmp_path: Path) -> None:
    pixels = np.zeros((8, 12, 3), np.uint8)
    pixels[:, :6] = (250, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: left becomes top
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    (frames,) = read_frames(tmp_path / "a.png", (12, 8), 5)
    assert frames.shape == (3, 1, 12, 8)
    assert (frames[0, 0, :6] == 250).all() and (frames[:, 0, 6:] == 0).all()


def test_frames_are_scaled_until_they_cover_and_the_centre_is_cut_out(tmp_path: Path) -> None:
    pixels = np.repeat(np.arange(12, dtype=np.uint8)[None, :, None] * 20, 4, axis=0).repeat(3, axis=2)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    (frames,) = read_frames(tmp_path / "wide.png", (4, 6), 1)
    assert frames[0, 0, 0].tolist() == [60, 80, 100, 120, 140, 160]
    (doubled,) = read_frames(tmp_path / "wide.png", (8, 8), 1)
    assert doubled.shape == (3, 1, 8, 8) and 70 <= doubled[0, 0, 0, 0] <= 80


def test_a_video_comes_in_pieces_with_the_rest_at_the_end(tmp_path: Path) -> None:
    video = (torch.arange(7) * 30).to(torch.uint8).view(1, 7, 1, 1).expand(3, 7, 16, 24)
    path = media.write(tmp_path / "clip", video, 8.0, {})
    pieces = list(read_frames(path, (16, 16), 3))
    assert [piece.shape[1] for piece in pieces] == [3, 3, 1]
    torch.testing.assert_close(torch.cat(pieces, 1).float(), video[..., :16].float(), atol=3, rtol=0)


@pytest.mark.skipif(not CLIPS.is_dir(), reason="needs the folder of real clips beside the checkout")
@pytest.mark.parametrize(("name", "shape"), [("rotated_90.mov", (568, 320)), ("rotated_180.mov", (320, 568))])
def test_a_turned_recording_is_upright(name: str, shape: tuple[int, int]) -> None:
    import av
    from vidgen_video.orientation import orientation_of

    with av.open(str(CLIPS / "odd" / name)) as container:
        frame = next(container.decode(video=0))
        stored = frame.to_ndarray(format="rgb24")
        orientation = orientation_of(frame)
    upright = np.stack([orientation.upright(stored[..., channel]) for channel in range(3)])
    frames = next(read_frames(CLIPS / "odd" / name, shape, 1))
    assert np.array_equal(frames[:, 0].numpy(), upright)


@pytest.mark.parametrize("name", ["noise.mp4", "noise.png", "none.mp4"])
def test_what_is_no_clip_says_so(tmp_path: Path, name: str) -> None:
    if not name.startswith("none"):
        (tmp_path / name).write_bytes(b"no clip at all" * 50)
    with pytest.raises(RunError, match=rf"{name} cannot be read as a picture or video"):
        list(read_frames(tmp_path / name, (16, 16), 3))
