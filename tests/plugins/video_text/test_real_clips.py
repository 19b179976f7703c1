"""Real clips, ordinary and odd, against decoding them whole."""

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation
from vidgen.errors import RunError
from vidgen.interfaces import Context
from vidgen_video.fit import cover
from vidgen_video.readers import open_reader
from vidgen_video_text import VideoTextOptions
from vidgen_video_text.dataset import build

ORDINARY = {
    "arm_wrestling.mp4": 280,
    "cleaning_pool.mp4": 300,
    "eye_makeup.avi": 164,
    "flipping_a_pancake.mkv": 310,
    "nasa_13013.mp4": 325,  # its second video stream has 390, and other readers take that
}
ODD = {"av1_video.mkv": 125, "h264_10bits.mp4": 30, "h265_video.mp4": 10, "unordered.mov": 4}


EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


def decoded_whole(path):
    """Every frame of the first video stream at half its size, (T, H, W, 3), by FFmpeg alone."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        height, width = stream.height // 2, stream.width // 2
        shape = {"format": "rgb24", "width": width, "height": height}
        return np.stack([frame.to_ndarray(**shape, interpolation=EXACT) for frame in container.decode(stream)])


def check(path, count, reader, tolerance):
    """tolerance: by how much pixels may differ on average; never by more than from the frames around."""
    whole = decoded_whole(path)
    assert len(whole) == count
    size = whole.shape[1:3]
    for start in range(0, count - 3, max(1, count // 16)):
        wanted = start + np.array([0, 1, 3])
        frames, total = read(path, wanted, size, reader)
        assert total == count
        for number, picture in zip(wanted, frames.transpose(1, 2, 3, 0), strict=True):
            around = range(max(0, number - 1), min(count, number + 2))
            apart = {other: np.abs(whole[other].astype(int) - picture).mean() for other in around}
            assert apart[number] <= min(tolerance, min(apart.values()) + 0.05), f"frame {number}: {apart}"


def read(path, wanted, size, reader):
    """Frames `wanted`, and how many the reader says there are."""
    totals = []

    def choose(total):
        totals.append(total)
        return wanted

    frames = reader.read(path, choose, lambda source: cover(source, size)).frames
    return frames, totals[-1]


FILES = {**ORDINARY, **{f"odd/{name}": count for name, count in ODD.items()}}


@pytest.mark.parametrize("name", FILES)
def test_frames_read_alone_equal_those_of_the_whole_file(name, clips):
    check(clips / name, FILES[name], open_reader("av"), 0.1)


@pytest.mark.parametrize("name", FILES)
def test_every_reader_gives_the_same_frames_but_for_scaling(name, reader, clips):
    check(clips / name, FILES[name], reader, 8.0)


@pytest.mark.parametrize(("name", "shape"), [("rotated_90.mov", (568, 320)), ("rotated_180.mov", (320, 568))])
def test_rotated_files_are_read_upright(name, shape, reader, clips):
    path = clips / "odd" / name
    probe = reader.probe(path)
    assert (probe.num_frames, probe.height, probe.width) == (3, *shape)
    upright = reader.read(path, lambda total: np.arange(total), lambda source: cover(source, shape)).frames
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24")
    turned = np.rot90(stored, -1 if shape[0] > shape[1] else 2)  # a quarter clockwise, a half
    assert np.abs(turned.astype(int) - upright[:, 0].transpose(1, 2, 0)).mean() < 1.5


def test_a_damaged_file_fails_and_does_not_hang(clips, tmp_path):
    (tmp_path / "meta.csv").write_text("path,text\ncorrupted.mp4,x\n")
    dataset = build(VideoTextOptions(data_path=tmp_path / "meta.csv", root=clips / "odd"), Context())
    with pytest.raises(RunError, match=r"row 0 .*corrupted.mp4: cannot be read: "):
        dataset.get(0, 48, (24, 24), np.random.default_rng(0))


def test_a_table_of_real_clips_agrees_with_their_headers(clips, tmp_path):
    known = build(VideoTextOptions(data_path=clips / "meta.csv"), Context()).table
    bare = tmp_path / "bare.csv"
    bare.write_text("path,text\n" + "".join(f"{name},x\n" for name in known["path"].to_pylist()))
    probed = build(VideoTextOptions(data_path=bare, root=clips), Context()).table
    for name in ("height", "width", "fps"):
        assert probed[name].to_pylist() == known[name].to_pylist()
    differences = np.array(probed["num_frames"].to_pylist()) - np.array(known["num_frames"].to_pylist())
    assert np.abs(differences).max() <= 1  # Matroska tells the duration only
