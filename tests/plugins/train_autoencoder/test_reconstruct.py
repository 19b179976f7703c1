"""`job: reconstruct`: files, figures, sheets; damaged inputs; what is kept from an earlier run."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
from PIL import Image
from vidgen.engine.media import read
from vidgen.errors import RecipeError, RunError, UserError
from vidgen.testing import write_clip
from vidgen_train_autoencoder.clips import Cut, read_clip

Run = Callable[..., Path]
PIXEL = {"type": "pixel", "patch": [1, 4, 4]}


def table(outputs: Path) -> dict[str, dict[str, str]]:
    """reconstructions.csv by source."""
    with (outputs / "reconstructions.csv").open(newline="") as file:
        return {row.pop("source"): row for row in csv.DictReader(file)}


def test_an_exact_autoencoder_gives_exact_figures_for_every_kind_of_file(reconstruct: Run, clips: Path) -> None:
    """Videos, one of them in a subfolder, and a picture, cut to whole latents; 99 dB stands for equal."""
    outputs = reconstruct(input=str(clips), vae=PIXEL)
    rows = table(outputs)
    assert {name: (row["frames"], row["rows"], row["columns"]) for name, row in rows.items()} == {
        "a.mp4": ("5", "12", "16"), "still.png": ("1", "12", "16"), "sub/b.mp4": ("3", "12", "20"),
    }  # fmt: skip
    assert all((row["psnr"], row["ssim"], row["problem"]) == ("99.0000", "1.0000", "") for row in rows.values())
    assert read(outputs / "reconstructions" / "still.png").shape == (3, 1, 12, 16)
    summary = json.loads((outputs / "summary.json").read_text())
    assert summary == {"clips": 3, "failed": 0, "psnr": 99, "ssim": 1, "lowest_psnr": 99, "lowest_ssim": 1}


def test_the_sheet_shows_real_beside_reconstructed(reconstruct: Run, clips: Path) -> None:
    outputs = reconstruct(input=str(clips), vae=PIXEL, sheet_clips=1, sheet_frames=2, upscale=3)
    sheet = read(outputs / "contact_sheet.png")
    strip = 2 * 3 * 16 + 2
    assert sheet.shape == (3, 1, 3 * 12, 2 * strip + 12)
    difference = sheet[..., :strip].int() - sheet[..., -strip:].int()
    assert difference.abs().float().mean() < 6  # the file on the right went through a video codec


def test_size_and_length_are_those_asked_for(reconstruct: Run, clips: Path) -> None:
    """b has 3 frames: too short, and told; pictures are clips of one frame."""
    outputs = reconstruct(input=str(clips), vae=PIXEL, num_frames=4, image_size=[8, 12])
    rows = table(outputs)
    assert (rows["a.mp4"]["frames"], rows["a.mp4"]["rows"], rows["a.mp4"]["columns"]) == ("4", "8", "12")
    assert "sub/b.mp4 gives 3 frames; 4 are asked for" in rows["sub/b.mp4"]["problem"]
    assert rows["still.png"]["psnr"] == "99.0000"
    assert json.loads((outputs / "summary.json").read_text())["failed"] == 1


def test_damaged_files_are_told_and_the_rest_goes_on(reconstruct: Run, clips: Path) -> None:
    (clips / "broken.mp4").write_bytes(b"no video at all" * 100)
    (clips / "empty.png").write_bytes(b"")
    (clips / "notes.txt").write_text("no clip")
    rows = table(reconstruct(input=str(clips), vae=PIXEL))
    assert len(rows) == 5
    assert "broken.mp4 cannot be read" in rows["broken.mp4"]["problem"] and rows["broken.mp4"]["psnr"] == ""
    assert "empty.png cannot be read" in rows["empty.png"]["problem"]
    assert rows["a.mp4"]["psnr"] == "99.0000"


def test_what_is_there_is_kept_and_tells_the_same(reconstruct: Run, clips: Path) -> None:
    outputs = reconstruct(input=str(clips), vae=PIXEL)
    before = {path: path.stat().st_mtime_ns for path in (outputs / "reconstructions").rglob("*.*")}
    written = (outputs / "reconstructions.csv").read_text()
    (outputs / "reconstructions" / "sub" / "b.mp4").unlink()
    reconstruct(input=str(clips), vae=PIXEL)
    after = {path: path.stat().st_mtime_ns for path in (outputs / "reconstructions").rglob("*.*")}
    assert {path.name for path in before if before[path] != after[path]} == {"b.mp4"}
    assert (outputs / "reconstructions.csv").read_text() == written


def test_files_made_otherwise_are_neither_kept_nor_overwritten(reconstruct: Run, clips: Path) -> None:
    reconstruct(input=str(clips), vae=PIXEL)
    message = r"reconstructions/a\.mp4 comes from other settings, weights or another clip: choose another outputs"
    with pytest.raises(UserError, match=message):
        reconstruct(input=str(clips), vae=PIXEL, num_frames=2)
    write_clip(clips / "a", torch.zeros(3, 5, 14, 16, dtype=torch.uint8))
    with pytest.raises(UserError, match=message):
        reconstruct(input=str(clips), vae=PIXEL)


def test_results_inside_the_input_folder_are_no_input(reconstruct: Run, clips: Path) -> None:
    for _ in range(2):
        outputs = reconstruct("clips/out", input=str(clips), vae=PIXEL)
    assert len(table(outputs)) == 3


def test_two_files_of_one_name_keep_their_suffixes(reconstruct: Run, clips: Path) -> None:
    (clips / "a.avi").write_bytes((clips / "a.mp4").read_bytes())
    outputs = reconstruct(input=str(clips), vae=PIXEL)
    names = {
        path.relative_to(outputs / "reconstructions").as_posix() for path in outputs.rglob("reconstructions/**/*.*")
    }
    assert names == {"a.avi.mp4", "a.mp4.mp4", "still.png", "sub/b.mp4"}


def test_rows_of_a_dataset_are_taken_in_the_place_of_files(reconstruct: Run) -> None:
    dataset = {"type": "moving-shapes", "rows": 9}
    outputs = reconstruct(dataset=dataset, vae=PIXEL, num_frames=3, image_size=[12, 16], max_clips=2)
    assert list(table(outputs)) == ["row_00000", "row_00001"]


def test_a_trained_run_gives_weights_and_everything_left_out(train: Run, reconstruct: Run) -> None:
    run = train(max_steps=2, ema={"decay": 0.5})
    dataset = {"type": "moving-shapes", "rows": 2}
    averaged, plain = (
        table(reconstruct(f"ema {ema}", checkpoint=str(run), ema=ema, dataset=dataset)) for ema in (True, False)
    )
    assert averaged["row_00000"]["rows"] == "12" and averaged.keys() == plain.keys()
    assert averaged["row_00000"]["psnr"] != plain["row_00000"]["psnr"]


def test_a_checkpoint_of_another_job_is_refused(reconstruct: Run, train: Run, clips: Path) -> None:
    run = train(max_steps=1)
    (state,) = run.glob("checkpoints/*/state.json")
    data = json.loads(state.read_text())
    data["recipe"]["job"] = "train"
    state.write_text(json.dumps(data))
    with pytest.raises(
        UserError, match=r"is of a run of `job: train`, which trains no autoencoder\. .* by `vae:` alone"
    ):
        reconstruct(input=str(clips), checkpoint=str(run))


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"vae": PIXEL}, "input: missing"),
        ({"vae": PIXEL, "input": ".", "dataset": {"type": "moving-shapes"}}, "input: given beside `dataset`"),
        ({"vae": PIXEL, "dataset": {"type": "moving-shapes"}}, "image_size: missing"),
        ({"input": "."}, "vae: missing"),
        ({"vae": PIXEL, "input": "nowhere"}, "input: no such file or folder: nowhere"),
    ],
)
def test_a_recipe_that_leaves_something_open_is_refused(keys: dict[str, Any], text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        vidgen.load_recipe({"job": "reconstruct", **keys})
    assert text in str(caught.value)


def test_a_folder_without_clips_is_refused(reconstruct: Run, tmp_path: Path, clips: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"no video and no picture in .*none or below it \(looked for \.avi, \.bmp"):
        reconstruct(input=str(tmp_path / "none"), vae=PIXEL)
    with pytest.raises(UserError, match=r"a\.mp4 is no folder"):
        reconstruct(input=str(clips / "a.mp4"), vae=PIXEL)


def test_sizes_that_the_autoencoder_does_not_take_are_refused_at_once(reconstruct: Run, clips: Path) -> None:
    with pytest.raises(UserError, match=r"frames: 3 \(nearest: 2 or 4\)"):
        reconstruct(input=str(clips), vae={"type": "pixel", "patch": [2, 4, 4]}, num_frames=3, image_size=[8, 8])


def test_pictures_smaller_than_a_latent_are_told_with_their_own_size(reconstruct: Run, tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    Image.new("RGB", (9, 3)).save(tmp_path / "tiny/a.png")
    with pytest.raises(RunError, match=r"none of 1 clips .*: .*given.* rows: 3 \("):
        reconstruct(input=str(tmp_path / "tiny"), vae=PIXEL)


def test_a_run_without_a_single_result_fails_and_says_why(reconstruct: Run, clips: Path) -> None:
    with pytest.raises(
        RunError, match=r"none of 3 clips could be reconstructed; the first one: .*gives 5 frames; 50 are"
    ):
        (clips / "still.png").unlink()
        write_clip(clips / "c", torch.zeros(3, 4, 8, 8, dtype=torch.uint8))
        reconstruct(input=str(clips), vae=PIXEL, num_frames=50)


def test_frames_are_scaled_until_they_cover_and_cut_in_the_middle(tmp_path: Path) -> None:
    """A picture of 4 x 12 pixels, dark, grey and light thirds, asked for as 8 x 8: the grey third."""
    picture = Image.new("L", (12, 4))
    for column in range(12):
        for row in range(4):
            picture.putpixel((column, row), (0, 100, 200)[column // 4])
    picture.save(tmp_path / "thirds.png")
    video, _ = read_clip(tmp_path / "thirds.png", Cut(num_frames=None, interval=1, size=(8, 8)))
    assert video.shape == (3, 1, 8, 8)
    assert (video[..., 2:6] == 100).all() and (video[..., 0] < 100).all() and (video[..., 7] > 100).all()


def test_every_third_frame_is_taken_and_the_rate_falls(tmp_path: Path) -> None:
    frames = torch.arange(10, dtype=torch.uint8).mul(20).view(1, 10, 1, 1).expand(3, 10, 16, 16)
    path = write_clip(tmp_path / "steps", frames, fps=12.0)
    video, fps = read_clip(path, Cut(num_frames=3, interval=3, size=None))
    assert fps == 4.0
    assert (video.float().mean(dim=(0, 2, 3)) - torch.tensor([0.0, 60.0, 120.0])).abs().max() < 4
    with pytest.raises(UserError, match=r"gives 4 frames, taking one of 3; 5 are asked for"):
        read_clip(path, Cut(num_frames=5, interval=3, size=None))
