"""The tensorboard tracker, seen through TensorBoard's own reader of event files."""

from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from vidgen.interfaces import Context, Media
from vidgen_tensorboard import TensorBoardOptions
from vidgen_tensorboard.tracker import TensorBoardTracker, build


def start(outputs: Path, *, step: int = 0, **options: object) -> TensorBoardTracker:
    """A tracker in a run folder."""
    context = Context(outputs=outputs, step=step, recipe={"job": "train", "model": {"type": "DiT|<b>"}})
    return build(TensorBoardOptions(**options), context)


def read(folder: Path) -> EventAccumulator:
    """What TensorBoard shows for a folder."""
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    return events.Reload()


def write_clip(path: Path, *, num_frames: int, height: int, width: int) -> Media:
    """A grey clip that grows brighter from frame to frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for index in range(num_frames):
            pixels = np.full((height, width, 3), 40 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return Media(path, "a grey wall", (num_frames, height, width))


def test_metrics_and_scores_are_scalars(tmp_path: Path) -> None:
    tracker = start(tmp_path)
    tracker.log(3, {"loss": 0.5, "lr": 1e-4})
    tracker.log(6, {"loss": 0.25, "lr": 2e-4})
    tracker.scores(6, {"colour": 0.75})
    tracker.close()
    events = read(tmp_path / "tensorboard")
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(3, 0.5), (6, 0.25)]
    assert events.Scalars("train/lr")[1].value == pytest.approx(2e-4)
    assert [(e.step, e.value) for e in events.Scalars("scores/colour")] == [(6, 0.75)]


def test_the_recipe_is_a_text(tmp_path: Path) -> None:
    start(tmp_path, folder="events/tb").close()
    (event,) = read(tmp_path / "events" / "tb").Tensors("recipe/text_summary")
    shown = event.tensor_proto.string_val[0].decode()
    assert '    "job": "train"' in shown.splitlines()[1]
    assert "DiT|<b>" in shown


def test_a_clip_is_a_gif_of_all_frames_at_its_speed(tmp_path: Path) -> None:
    tracker = start(tmp_path)
    tracker.media(7, [write_clip(tmp_path / "a.mp4", num_frames=5, height=16, width=24)])
    tracker.close()
    (event,) = read(tmp_path / "tensorboard").Images("samples/000")
    gif = Image.open(BytesIO(event.encoded_image_string))
    assert (event.step, event.width, event.height) == (7, 24, 16)
    assert (gif.format, gif.n_frames, gif.size, gif.info["duration"]) == ("GIF", 5, (24, 16), 200)
    gif.seek(3)
    assert np.asarray(gif.convert("L")).mean() == pytest.approx(120, abs=4)


def test_a_still_is_a_png_and_a_large_picture_is_scaled_down(tmp_path: Path) -> None:
    Image.new("RGB", (96, 64), "red").save(tmp_path / "still.png")
    tracker = start(tmp_path, max_side=48)
    tracker.media(2, [Media(tmp_path / "still.png", "red", (1, 64, 96))])
    tracker.close()
    (event,) = read(tmp_path / "tensorboard").Images("samples/000")
    picture = Image.open(BytesIO(event.encoded_image_string))
    assert (picture.format, picture.size) == ("PNG", (48, 32))


def test_clips_of_one_step_are_numbered_across_calls_and_limited(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", num_frames=2, height=16, width=16)
    tracker = start(tmp_path, max_clips=3)
    tracker.media(4, [clip, clip])
    tracker.media(4, [clip, clip])
    tracker.media(8, [clip])
    tracker.close()
    events = read(tmp_path / "tensorboard")
    assert events.Tags()["images"] == ["samples/000", "samples/001", "samples/002"]
    assert [e.step for e in events.Images("samples/000")] == [4, 8]


def test_an_unreadable_clip_is_told_of_and_does_not_end_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    good = write_clip(tmp_path / "good.mp4", num_frames=2, height=16, width=16)
    tracker = start(tmp_path)
    missing = Media(tmp_path / "gone.png", "", (1, 2, 3))
    tracker.media(1, [Media(tmp_path / "bad.mp4", "", (2, 16, 16)), missing, good])
    tracker.close()
    assert read(tmp_path / "tensorboard").Tags()["images"] == ["samples/002"]
    assert "bad.mp4 is not shown" in caplog.text
    assert "gone.png is not shown" in caplog.text


def test_a_resumed_run_hides_what_came_after_its_step(tmp_path: Path) -> None:
    """The first process is killed after step 9; the last checkpoint is that of step 6."""
    first = start(tmp_path)
    for step in (3, 6, 9):
        first.log(step, {"loss": float(step)})
    first.close()
    second = start(tmp_path, step=6)
    second.log(12, {"loss": 100.0})
    second.close()
    values = [(e.step, e.value) for e in read(tmp_path / "tensorboard").Scalars("train/loss")]
    assert values == [(3, 3.0), (6, 6.0), (12, 100.0)]
