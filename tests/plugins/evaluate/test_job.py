"""`job: evaluate`: tables, summaries, two folders, and what is wrong with clips."""

import csv
import json
import logging
import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import vidgen
from PIL import Image
from torch import Tensor
from vidgen.engine import media
from vidgen.errors import RunError, UserError

Run = Callable[..., Path]
Write = Callable[..., Path]
FIVE = 20 * math.log10(51)  # dB of an error of 5
LARGE = 20 * math.log10(5)  # dB of an error of 51


def table(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row.pop("clip"): row for row in csv.DictReader(file)}


def scores(outputs: Path) -> dict[str, dict[str, str]]:
    return table(outputs / "clip_scores.csv")


def summary(outputs: Path) -> dict:
    return json.loads((outputs / "summary.json").read_text())


def test_every_clip_has_a_row_and_the_summary_the_mean_the_median_and_the_worst(evaluate: Run) -> None:
    outputs = evaluate()
    rows = scores(outputs)
    assert [(row["prompt"], row["frames"], row["rows"], row["columns"], row["problem"]) for row in rows.values()] == [
        (f"picture {name}", "1", "13", "19", "") for name in "abc"
    ]
    assert [float(row["psnr"]) for row in rows.values()] == pytest.approx([99, FIVE, LARGE], rel=1e-5)
    found = summary(outputs)
    assert (found["clips"], found["left_out"], found["with_problems"]) == (3, 0, 0)
    assert found["overall"] == pytest.approx({"psnr": (99 + FIVE + LARGE) / 3})
    ends = {"lowest": LARGE, "highest": 99, "worst": LARGE}
    numbers = {"clips": 3, "mean": (99 + FIVE + LARGE) / 3, "median": FIVE, **ends}
    assert {key: found["values"]["psnr"][key] for key in numbers} == pytest.approx(numbers)
    assert (found["values"]["psnr"]["better"], found["values"]["psnr"]["worst_clip"]) == ("higher", "c")


def test_the_table_is_printed(evaluate: Run, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(metrics=[{"type": "psnr"}, {"type": "sharpness"}])
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["value", "better", "clips", "mean", "median", "lowest", "highest", "worst", "clip"]
    assert first.split() == ["psnr", "higher", "3", "49.04", "34.15", "13.98", "99", "c"]
    assert second.split()[:2] == ["sharpness", "3"] and len(second.split()) == 6


def test_a_damaged_file_is_told_and_left_out(evaluate: Run, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "mine" / "broken.mp4").write_bytes(b"no video" * 50)
    (folder / "mine" / "empty.png").write_bytes(b"")
    outputs = evaluate()
    rows = scores(outputs)
    for name in ("broken.mp4", "empty.png"):
        row = rows[name.split(".")[0]]
        assert f"{name} cannot be read as a picture or video" in row["problem"] and row["psnr"] == row["rows"] == ""
        assert f"{name} cannot be read" in caplog.text
    assert summary(outputs)["left_out"] == 2 and summary(outputs)["values"]["psnr"]["clips"] == 3


def test_a_picture_without_a_prompt_among_samples_is_no_sample(
    evaluate: Run, folder: Path, write: Write, clip_of: Callable[..., Tensor]
) -> None:
    write(folder / "mine" / "loss", clip_of(5, 1, 13, 19), None)
    rows = scores(evaluate())
    assert rows["loss"]["problem"] == "left out: it has no prompt in its metadata, as other files here have"
    assert rows["loss"]["psnr"] == "" and rows["a"]["psnr"] == "99"


def test_clips_of_other_origin_need_no_prompt(folder: Path, evaluate: Run, write: Write) -> None:
    for path in (folder / "mine").iterdir():
        write(path.with_suffix(""), media.read(path), None)
    rows = scores(evaluate(metrics=[{"type": "psnr"}, {"type": "moving-shapes"}]))
    assert [row["psnr"][:5] for row in rows.values()] == ["99", "34.15", "13.97"]
    assert all(
        "moving-shapes: the metric moving-shapes cannot mark the prompt ''" in one["problem"] for one in rows.values()
    )


def test_a_clip_of_another_size_than_its_reference_is_refused_and_measured_alone(
    evaluate: Run, folder: Path, write: Write, clip_of: Callable[..., Tensor]
) -> None:
    write(folder / "mine" / "a", clip_of(0, 1, 14, 19))
    write(folder / "refs" / "v", clip_of(0, 5, 16, 18))
    write(folder / "mine" / "v", clip_of(0, 3, 16, 18))
    rows = scores(evaluate(metrics=[{"type": "psnr"}, {"type": "sharpness"}, {"type": "flicker"}]))
    assert rows["a"]["problem"] == "it is 1 frame of 14x19, its reference 1 frame of 13x19"
    assert rows["v"]["problem"] == "it is 3 frames of 16x18, its reference more than 3 frames of 16x18"
    assert [rows[name]["psnr"] for name in "av"] == ["", ""]
    assert rows["v"]["flicker"] and rows["a"]["sharpness"] and rows["a"]["flicker"] == ""


def test_the_row_and_column_that_a_video_file_adds_to_odd_frames_are_taken_off(
    evaluate: Run, folder: Path, write: Write
) -> None:
    flat = torch.full((3, 3, 11, 17), 90, dtype=torch.uint8)
    assert media.read(write(folder / "mine" / "odd", flat)).shape[2:] == (12, 18)
    gif(folder / "refs" / "odd.gif", flat)
    row = scores(evaluate())["odd"]
    assert (row["rows"], row["columns"], row["problem"]) == ("11", "17", "") and float(row["psnr"]) > 40


def gif(path: Path, video: Tensor) -> None:
    """A video whose frames may have odd sizes."""
    first, *others = [Image.fromarray(frame.permute(1, 2, 0).numpy()) for frame in video.unbind(dim=1)]
    for number, other in enumerate(others, start=1):  # equal frames would become one
        other.putpixel((0, 0), (90 + number, 90, 90))
    first.save(path, save_all=True, append_images=others)


def test_enlargement_is_undone(evaluate: Run, folder: Path, clip_of: Callable[..., Tensor]) -> None:
    real = clip_of(1, 1, 5, 7)
    media.write(folder / "refs" / "d", real, 8.0, {"prompt": "d"}, upscale=2)
    media.write(folder / "mine" / "d", real, 8.0, {"prompt": "d"}, upscale=3)
    row = scores(evaluate(pattern="d*", upscale=3, reference_upscale=2))["d"]
    assert (row["rows"], row["columns"], row["psnr"]) == ("5", "7", "99")


def test_one_metrics_refusal_leaves_the_others_alone(evaluate: Run) -> None:
    rows = scores(evaluate(metrics=[{"type": "moving-shapes"}, {"type": "psnr"}]))
    assert "cannot mark the prompt 'picture a'" in rows["a"]["problem"] and rows["a"]["psnr"] == "99"
    assert "colour" not in rows["a"]


def test_how_many_clips_a_metric_cannot_mark_is_told_before_they_are_measured(
    evaluate: Run, folder: Path, write: Write, clip_of: Callable[..., Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    write(folder / "mine" / "d", clip_of(2, 1, 13, 19), "a red circle moving left")
    keys = {"metrics": [{"type": "moving-shapes"}, {"type": "sharpness"}]}
    evaluate(**keys)
    told = "3 of 4 clips get no values of moving-shapes; the first one: the metric moving-shapes cannot mark the prompt"
    assert f"{told} 'picture a'" in caplog.messages[0]
    job = vidgen.build("job", "evaluate", samples=str(folder / "mine"), outputs=str(folder / "out"), **keys)
    assert job.dry_run()["without moving-shapes"].startswith("3 clips: the metric moving-shapes cannot mark the prompt")


def test_a_metric_that_compares_needs_references_and_nothing_is_written_without(evaluate: Run, folder: Path) -> None:
    with pytest.raises(
        UserError, match=r"no references are named, and psnr, ssim can only compare .* references=FOLDER"
    ):
        evaluate(references=None, metrics=[{"type": "psnr"}, {"type": "flicker"}, {"type": "ssim"}])
    assert not (folder / "out").exists()


def test_two_metrics_that_give_values_of_one_name_are_refused(evaluate: Run) -> None:
    with pytest.raises(UserError, match=r"psnr and psnr both give 'psnr'\. Leave one out, or measure them in two runs"):
        evaluate(metrics=[{"type": "psnr"}, {"type": "psnr"}])


def test_everything_is_measured_anew_and_what_was_there_is_told(
    evaluate: Run, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert scores(evaluate())["c"]["psnr"] != "99"
    assert "of an earlier run" not in caplog.text
    (folder / "mine" / "c.png").write_bytes((folder / "refs" / "c.png").read_bytes())
    (folder / "mine" / "b.png").unlink()
    rows = scores(evaluate())
    assert rows.keys() == {"a", "c"} and rows["c"]["psnr"] == "99"
    assert "clip_scores.csv is of an earlier run: everything is measured anew" in caplog.text


def test_two_folders_are_compared_value_by_value(
    evaluate: Run, folder: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """There a and b are off by 51, c is missing, and d has no counterpart here: 5 dB better in two clips of two."""
    for name in "ab":
        write(folder / "other" / name, media.read(folder / "refs" / f"{name}.png") + 51)
    write(folder / "other" / "d", media.read(folder / "refs" / "a.png"))
    write(folder / "refs" / "d", media.read(folder / "refs" / "a.png"))
    outputs = evaluate(against=str(folder / "other"), metrics=[{"type": "psnr"}, {"type": "sharpness"}])
    with (outputs / "differences.csv").open(newline="") as file:
        psnr, sharpness = csv.DictReader(file)
    assert (psnr["value"], psnr["better"], psnr["both"], psnr["wins"]) == ("psnr", "higher", "2", "2")
    numbers = [float(psnr[key]) for key in ("here", "there", "change")]
    both = (99 + FIVE) / 2 - LARGE
    assert numbers == pytest.approx([(99 + FIVE + LARGE) / 3, (99 + 2 * LARGE) / 3, both], rel=1e-5)
    assert (sharpness["better"], sharpness["wins"]) == ("", "")
    assert table(outputs / "against_clip_scores.csv").keys() == {"a", "b", "d"}
    assert json.loads((outputs / "against_summary.json").read_text())["samples"] == str(folder / "other")
    line = capsys.readouterr().out.splitlines()[-2]
    assert line.split() == ["psnr", "higher", "49.04", "42.32", "2", "+52.6", "2", "of", "2"]


def test_a_value_of_which_less_is_better_wins_by_being_less(evaluate: Run, folder: Path, write: Write) -> None:
    still = torch.full((3, 3, 12, 16), 90, dtype=torch.uint8)
    fro = still.clone()
    fro[:, 1] = 140
    write(folder / "calm" / "v", still)
    write(folder / "wild" / "v", fro)
    keys = {"references": None, "metrics": [{"type": "flicker"}]}
    outputs = evaluate(samples=str(folder / "calm"), against=str(folder / "wild"), **keys)
    rows = (outputs / "differences.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["flicker", "jerk", "flash"]
    assert all(row.endswith(",1") and row.split(",")[1] == "lower" for row in rows)


def test_a_run_without_a_single_value_fails_and_says_why(evaluate: Run, folder: Path) -> None:
    for path in (folder / "mine").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(
        RunError, match=r"none of 3 clips of .*mine could be measured; the first one: .*a\.png cannot be"
    ):
        evaluate()


def test_metrics_that_have_nothing_to_say_are_told(evaluate: Run) -> None:
    with pytest.raises(RunError, match=r"none of 3 clips .* no metric has a value for clips like these"):
        evaluate(metrics=[{"type": "flicker"}])


def test_a_run_that_is_stopped_keeps_what_it_has_measured(
    evaluate: Run, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The signal comes while the second of four clips is told to be damaged."""
    (folder / "mine" / "aa.png").write_bytes(b"damaged")
    with interrupted_at("aa.png cannot be read"):
        outputs = evaluate(against=str(folder / "refs"))
    assert list(scores(outputs)) == ["a", "aa"]
    assert "stopped by SIGINT: 2 of 4 clips are measured" in caplog.text
    assert not (outputs / "differences.csv").exists()


@contextmanager
def interrupted_at(text: str) -> Iterator[None]:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if text in record.getMessage():
                signal.raise_signal(signal.SIGINT)

    handler = Handler()
    logging.getLogger("vidgen").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("vidgen").removeHandler(handler)


def test_trackers_get_means_and_the_sheet(evaluate: Run) -> None:
    outputs = evaluate(trackers=[{"type": "csv"}, {"type": "report"}])
    name, value = (outputs / "scores.csv").read_text().splitlines()[1].split(",")[1:]
    assert (name, float(value)) == ("psnr", pytest.approx((99 + FIVE + LARGE) / 3))
    assert "worst_and_best.png" in (outputs / "index.html").read_text()


def test_a_dry_run_counts(folder: Path) -> None:
    keys = {"samples": str(folder / "mine"), "against": str(folder / "refs"), "outputs": str(folder / "out")}
    job = vidgen.build("job", "evaluate", metrics=[{"type": "flicker"}, {"type": "motion"}], **keys)
    told = {"samples": "3", "against": "3", "metrics": "flicker, motion", "outputs": str(folder / "out")}
    assert job.dry_run() == told
    assert not (folder / "out").exists()
