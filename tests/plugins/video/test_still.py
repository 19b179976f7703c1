"""Still images."""

import numpy as np
import pytest
from PIL import Image
from vidgen_video.reader import Unreadable
from vidgen_video.still import is_still, read_still, still_size


def saved(tmp_path, pixels, name="a.png", **how):
    path = tmp_path / name
    Image.fromarray(pixels).save(path, **how)
    return path


def test_an_image_becomes_one_frame_scaled_and_cut(tmp_path):
    ramp = np.tile(np.arange(96, dtype=np.uint8)[None, :, None] * 2, (48, 1, 3))
    video = read_still(saved(tmp_path, ramp), (24, 30), halve_first=False)
    assert video.shape == (3, 1, 24, 30)
    assert video.dtype == np.uint8
    assert np.abs(video[0, 0, 12].astype(int) - (4 * np.arange(9, 39) + 1)).max() <= 1


def test_halving_first_averages_blocks_of_four_pixels_as_adm_does(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 64), np.uint8)
    path = saved(tmp_path, pixels)
    means = pixels.reshape(20, 2, 32, 2).mean(axis=(1, 3))[:, 6:26]
    halved, straight = (read_still(path, (20, 20), halve_first=first)[0, 0] for first in (True, False))
    assert np.abs(halved - means).max() <= 1
    assert np.abs(straight - means).max() > 5


@pytest.mark.parametrize(
    ("mode", "value", "rgb"),
    [
        ("L", 77, (77, 77, 77)),
        ("RGBA", (10, 20, 30, 128), (10, 20, 30)),
        ("P", 5, None),
        ("I;16", 77 * 256, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
        ("LA", (40, 9), (40, 40, 40)),
    ],
)
def test_all_kinds_of_pixels_become_rgb(mode, value, rgb, tmp_path):
    image = Image.new(mode, (7, 5), value)
    image.save(tmp_path / "a.png")
    expected = image.convert("RGB").getpixel((0, 0)) if rgb is None else rgb
    assert tuple(read_still(tmp_path / "a.png", (5, 7), halve_first=False)[:, 0, 2, 3]) == expected


def test_exif_orientation_is_honoured_in_pixels_and_in_size(tmp_path):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by a quarter to show: the left side goes to the top
    path = saved(tmp_path, pixels, "a.jpg", exif=exif, quality=100)
    assert still_size(path) == (32, 16)
    upright = read_still(path, (32, 16), halve_first=False)[0, 0]
    assert upright[2].min() > 250 and upright[-2].max() < 5


def test_files_that_are_no_image_are_refused(tmp_path):
    whole = saved(tmp_path, np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8), "whole.png")
    cases = {"empty.jpg": b"", "text.png": b"no image" * 9, "cut.png": whole.read_bytes()[:900]}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Unreadable):
            read_still(tmp_path / name, (8, 8), halve_first=False)


def test_images_are_told_by_their_names():
    assert is_still("a/b.JPG") and is_still("x.webp")
    assert not is_still("a.jpg.mp4") and not is_still("jpg")
