"""Reading videos: the right frames, upright, in the right colours, from whatever file."""

import gc

import av
import numpy as np
import pytest
from av.stream import Disposition
from vidgen_video.fit import cover
from vidgen_video.reader import Unreadable
from vidgen_video.readers import open_reader
from vidgen_video.window import TooShort

READER = open_reader("av")


def read(path, wanted, size=(34, 50), reader=READER):
    """Frames `wanted` of a file, (3, T, H, W)."""

    def choose(total):
        if wanted[-1] >= total:
            raise TooShort(total, wanted[-1] + 1)
        return np.array(wanted)

    return reader.read(path, choose, lambda source: cover(source, size)).frames


KINDS = {
    "mp4 with B frames": ("a.mp4", {}),
    "mp4 in fragments": ("a.mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    "mp4 of key frames": ("a.mp4", {"gop": 1}),
    "mkv": ("a.mkv", {}),
    "hevc": ("a.mp4", {"codec": "libx265", "codec_options": {"x265-params": "log-level=none"}}),
    "vp9": ("a.webm", {"codec": "libvpx-vp9", "codec_options": {"cpu-used": "8", "crf": "10"}}),
    "avi, which stores no times": ("a.avi", {"codec": "mpeg4"}),
    "avi with frames out of order": ("a.avi", {"codec": "mpeg4", "codec_options": {"bf": "2"}}),
    "transport stream": ("a.ts", {"container": "mpegts"}),
    "program stream": ("a.mpg", {"codec": "mpeg2video"}),
    "flash": ("a.flv", {"container": "flv"}),
    "raw stream without any times": ("a.h264", {"container": "h264"}),
    "variable frame rate": ("a.mp4", {"time": lambda number: number * number // 3 + 2 * number}),
    "starting late": ("a.mkv", {"time": lambda number: number + 100}),
    "10 bits": ("a.mp4", {"pixels": "yuv420p10le"}),
    "full colour resolution": ("a.mp4", {"pixels": "yuv444p"}),
    "red, green, blue": ("a.mkv", {"codec": "ffv1", "pixels": "bgr0"}),
    "wrong extension": ("a.mp4", {"codec": "mpeg4", "container": "avi"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_frames_asked_for_are_the_frames_given(kind, reader, write_video, numbers_in):
    name, how = KINDS[kind]
    path = write_video(name, 60, **how)
    for wanted in ([0, 1, 2], [11, 12, 13], [17, 20, 28], [45, 46], [58, 59]):
        assert numbers_in(read(path, wanted, reader=reader)) == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_the_header_tells_size_and_rate(kind, write_video):
    name, how = KINDS[kind]
    probe = READER.probe(write_video(name, 60, **how))
    assert (probe.height, probe.width) == (34, 50)
    assert probe.fps > 0


def test_the_header_of_an_mp4_tells_the_number_of_frames(write_video):
    probe = READER.probe(write_video("a.mp4", 47))
    assert (probe.num_frames, probe.fps) == (47, 30.0)


def test_the_first_video_stream_counts_even_where_players_prefer_another_and_this_is_told_once(
    reader, tmp_path, numbers_in, write_video, caplog
):
    first, second = (
        write_video("first.mp4", 20),
        write_video("second.mp4", 30, picture=lambda n: np.full((68, 100, 3), 255, np.uint8)),
    )
    both = tmp_path / "both.mp4"
    with av.open(str(both), "w") as output, av.open(str(first)) as one, av.open(str(second)) as other:
        for source in (one, other):
            output.add_stream_from_template(source.streams.video[0])
        for source, stream in zip((one, other), output.streams, strict=True):
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    output.mux(packet)
    assert reader.probe(both).num_frames == 20
    for wanted in ([13, 19], [2, 3]):
        assert numbers_in(read(both, wanted, reader=reader)) == wanted
    assert [record.getMessage() for record in caplog.records] == [f"{both}: takes the first of 2 video streams"]


def quarters(_):
    """Four grey levels: 0 and 80 above, 160 and 240 below."""
    return np.kron([[0, 80], [160, 240]], np.ones((16, 26)))[..., None].repeat(3, axis=2).astype(np.uint8)


def corners(picture):
    """Grey levels of the quarters of a picture (3, H, W), in steps of 80."""
    rows, columns = picture.shape[1], picture.shape[2]
    grey = picture.mean(axis=0)[[rows // 4, 3 * rows // 4]][:, [columns // 4, 3 * columns // 4]]
    return (np.round(grey / 80) * 80).astype(int).tolist()


@pytest.mark.parametrize(
    ("turned", "mirrored", "shape", "expected"),
    [
        (0, False, (32, 52), [[0, 80], [160, 240]]),
        (90, False, (52, 32), np.rot90([[0, 80], [160, 240]]).tolist()),
        (180, False, (32, 52), [[240, 160], [80, 0]]),
        (-90, False, (52, 32), np.rot90([[0, 80], [160, 240]], -1).tolist()),
        (0, True, (32, 52), [[80, 0], [240, 160]]),
    ],
)
def test_frames_are_turned_as_the_file_says(turned, mirrored, shape, expected, reader, write_video):
    """Angles are counterclockwise, as FFmpeg's display rotation counts them."""
    path = write_video("a.mp4", 4, turned=turned, mirrored=mirrored, picture=quarters)
    probe = reader.probe(path)
    assert (probe.height, probe.width) == shape
    assert corners(read(path, [1, 3], shape, reader)[:, 1]) == expected


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p10le", "yuv444p12le"])
@pytest.mark.parametrize("matrix", [1, 5, 9], ids=["bt709", "bt601", "bt2020"])
@pytest.mark.parametrize("full", [1, 2], ids=["limited", "full"])
def test_colours_follow_the_streams_labels(pixels, matrix, full, write_video):
    colour = (200, 60, 30)
    path = write_video(
        "a.mkv",
        2,
        codec="ffv1",
        pixels=pixels,
        colours=(matrix, full),
        picture=lambda _: np.full((34, 50, 3), colour, np.uint8),
    )
    pixel = read(path, [1], (17, 23))[:, 0, 8, 11]
    assert np.abs(pixel.astype(int) - colour).max() <= 2


def test_a_picture_is_scaled_smoothly_and_its_centre_cut(reader, write_video):
    ramp = np.tile(np.arange(96, dtype=np.uint8)[None, :, None] * 2, (48, 1, 3))
    path = write_video("a.mkv", 2, codec="ffv1", pixels="bgr0", picture=lambda _: ramp)
    row = read(path, [0], (24, 24), reader)[0, 0, 12].astype(int)
    expected = 4 * np.arange(12, 36) + 1  # every output pixel is the mean of two, columns 24 to 71 of 96
    assert np.abs(row - expected).max() <= 2


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_a_file_cut_off_gives_windows_of_the_part_that_is_there(name, write_video, numbers_in):
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = write_video(name, 60, codec=codec, container_options={"movflags": "faststart"} if name == "a.mp4" else {})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    totals = []

    def choose(total):
        totals.append(total)
        return np.array([total - 3, total - 1])

    frames = READER.read(path, choose, lambda source: cover(source, (34, 50))).frames
    assert 5 < totals[-1] < 60
    assert numbers_in(frames) == [totals[-1] - 3, totals[-1] - 1]


def test_a_file_cut_off_too_early_says_what_was_promised(write_video):
    path = write_video("a.mp4", 60, container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(Unreadable, match=r"promises 60 frames, but only [0-9]+ can be decoded, and 60 are needed"):
        read(path, [0, 59])


def test_damaged_frames_are_refused(write_video):
    path = write_video("a.mp4", 40, gop=40)
    data = bytearray(path.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    with pytest.raises(Unreadable):
        read(path, list(range(40)))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_nothing_before_the_key_frame_and_after_the_window_is_decoded(name, write_video, numbers_in):
    path = write_video(name, 60, gop=12, codec_options={"sc_threshold": "0"})
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data, place = bytearray(path.read_bytes()), 0
    for number, packet in enumerate(packets):
        place = data.index(packet, place)
        if 0 < number < 24 or number >= 36:
            data[place : place + 4] = b"\x7f\xff\xff\xff"  # the length of its first part, far too long
        place += len(packet)
    path.write_bytes(data)
    assert numbers_in(read(path, [24, 27, 30])) == [24, 27, 30]
    for wanted in ([1, 2], [45, 46], [23, 24]):
        with pytest.raises(Unreadable, match="Invalid data"):
            read(path, wanted)


def test_frames_that_build_on_a_damaged_one_are_refused_and_those_of_the_next_key_frame_are_not(
    write_video, numbers_in
):
    path = write_video("a.mkv", 48, codec="mpeg4", gop=24)
    with av.open(str(path)) as container:
        packet = [bytes(packet) for packet in container.demux(video=0) if packet.size][5]
    data = path.read_bytes()
    assert data.count(packet) == 1
    path.write_bytes(data.replace(packet, packet[: len(packet) // 2] + bytes(len(packet) - len(packet) // 2)))
    assert numbers_in(read(path, [2, 4])) == [2, 4]
    with pytest.raises(Unreadable, match="frame 9 is damaged, or one before"):
        read(path, [9, 10])
    assert numbers_in(read(path, [30, 31])) == [30, 31]


def test_files_that_are_no_video_are_refused_with_the_reason(reader, tmp_path):
    cases = {"empty.mp4": b"", "text.mp4": b"hello, no video\n" * 50, "noise.avi": np.random.default_rng(0).bytes(5000)}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Unreadable, match="Invalid data"):
            read(tmp_path / name, [0], reader=reader)
        with pytest.raises(Unreadable, match="Invalid data"):
            reader.probe(tmp_path / name)


def test_a_video_of_one_frame_gives_it(reader, write_video, numbers_in):
    path = write_video("a.mp4", 1)
    assert reader.probe(path).num_frames == 1
    assert numbers_in(read(path, [0], reader=reader)) == [0]
    with pytest.raises(TooShort, match="it has 1 frames, 2 are asked for"):
        read(path, [0, 1], reader=reader)


def test_sound_alone_is_no_video(reader, tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=16000)
        for _ in range(4):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate = 16000
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(Unreadable, match=r"no video stream \(streams found: audio\)"):
        read(path, [0], reader=reader)


def test_the_cover_of_a_sound_file_is_no_video(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as output:
        cover_art, sound = output.add_stream("mjpeg", rate=1), output.add_stream("aac", rate=16000)
        cover_art.height, cover_art.width, cover_art.pix_fmt = 16, 16, "yuvj420p"
        cover_art.disposition = Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24")
        output.mux(cover_art.encode(picture) + cover_art.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        output.mux(sound.encode(frame) + sound.encode(None))
    with av.open(str(path)) as written:
        assert len(written.streams.video) == 1
    with pytest.raises(Unreadable, match="no video stream"):
        read(path, [0])


def test_thousands_of_reads_leave_neither_open_files_nor_memory_behind(reader, write_video):
    psutil = pytest.importorskip("psutil")
    path = write_video("a.mp4", 40, picture=lambda number: np.full((96, 128, 3), number, np.uint8))
    process = psutil.Process()

    def reads(times):
        for number in range(times):
            start = number % 20
            read(path, list(range(start, start + 16)), reader=reader)
        return process.memory_info().rss, process.num_fds()

    before, files = reads(300)
    gc.disable()
    try:
        after, files_after = reads(2000)
    finally:
        gc.enable()
    assert files_after == files
    assert after - before < 8 << 20  # one small decoded frame left behind by each read would be 36 MB


def test_large_frames_are_not_kept_between_reads(write_video):
    psutil = pytest.importorskip("psutil")
    path = write_video("a.mp4", 60, picture=lambda number: np.full((480, 640, 3), number, np.uint8))
    for _ in range(10):
        read(path, [20, 30])
    process = psutil.Process()
    before = process.memory_info().rss
    gc.disable()
    try:
        for start in range(40):
            read(path, list(range(start, start + 16)))
    finally:
        gc.enable()
    assert process.memory_info().rss - before < 12 << 20  # one decoded frame left behind by each read would be 18 MB
