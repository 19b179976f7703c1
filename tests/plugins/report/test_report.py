"""The report tracker: its files, from a run folder's point of view."""

import json
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import av
import numpy as np
import pytest
from PIL import Image
from vidgen.errors import UserError
from vidgen.interfaces import Context, Media
from vidgen_report import ReportOptions
from vidgen_report.tracker import ReportTracker, build

NASTY = """<script>alert("1 & 'one'")</script>"""


class Elements(HTMLParser):
    """Start tags of a page as (tag, attributes), and its visible text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of all elements of one kind."""
        return [attributes for name, attributes in self.tags if name == tag]


def start(outputs: Path, *, step: int = 0, **options: object) -> ReportTracker:
    """A tracker in a run folder."""
    recipe = {"job": "train", "seed": 42, "model": {"type": "DiT-S/2", "depth": 3}, "scheduler": {"type": "rflow"}}
    return build(ReportOptions(**options), Context(outputs=outputs, step=step, recipe=recipe))


def write_clip(path: Path, prompt: str, *, colour: str = "red", size: tuple[int, int, int] = (5, 16, 24)) -> Media:
    """A clip of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames, height, width = size
    picture = np.asarray(Image.new("RGB", (width, height), colour))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return Media(path, prompt, size)


def read(outputs: Path) -> Elements:
    """The page."""
    return Elements((outputs / "index.html").read_text(encoding="utf-8"))


def videos(outputs: Path) -> list[str]:
    """Sources of the page's clips, in order."""
    return [unquote(video["src"] or "") for video in read(outputs).of("video")]


def write_metrics(outputs: Path, lines: str) -> None:
    """metrics.csv below its head."""
    (outputs / "metrics.csv").write_text(f"step,loss,lr,grad_norm,samples_per_s\n{lines}", encoding="utf-8")


def test_a_run_that_ended_before_there_was_anything_to_show_gets_no_page(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "vidgen")
    start(tmp_path).close()
    assert not list(tmp_path.iterdir()) and "report:" not in caplog.text
    start(tmp_path).scores(0, {"psnr": 30.0})
    start(tmp_path).close()
    assert f"report: {tmp_path / 'index.html'}" in caplog.text


def test_logging_draws_nothing(tmp_path: Path) -> None:
    start(tmp_path).log(1, {"loss": 1.0})
    assert list(tmp_path.iterdir()) == []


def test_clips_are_shown_with_prompt_step_and_size(tmp_path: Path) -> None:
    tracker = start(tmp_path, title="First try")
    tracker.media(1200, [write_clip(tmp_path / "samples" / "a b.mp4", "a red wall")])
    page = read(tmp_path)
    (video,) = page.of("video")
    assert video["src"] == "samples/a%20b.mp4"
    assert {"autoplay", "loop", "muted", "playsinline"} <= set(video)
    assert (video["width"], video["height"]) == ("24", "16")
    assert "a red wallstep 1,200 · 5 frames · 24 × 16" in page.text
    assert "seed 42 · scheduler rflow" in page.text
    assert "First try" in page.text
    assert {"contact_sheet.png", "index.html", "report.json"} <= {path.name for path in tmp_path.iterdir()}


def test_a_still_is_an_image(tmp_path: Path) -> None:
    Image.new("RGB", (24, 16), "red").save(tmp_path / "wall.png")
    start(tmp_path).media(0, [Media(tmp_path / "wall.png", NASTY, (1, 16, 24))])
    page = read(tmp_path)
    assert page.of("video") == []
    image = page.of("img")[0]
    assert (image["src"], image["alt"]) == ("wall.png", NASTY)
    assert "step" not in page.text


def test_prompts_names_and_titles_are_escaped(tmp_path: Path) -> None:
    outputs = tmp_path / "it's <b>&"
    context = Context(outputs=outputs, recipe={"prompts": [NASTY], "model": {"type": NASTY}, NASTY: 1, "seed": NASTY})
    tracker = build(ReportOptions(title=NASTY), context)
    tracker.scores(3, {NASTY: 0.5})
    tracker.media(3, [write_clip(outputs / "\"'<i>#?%.mp4", NASTY)])
    page = read(outputs)
    assert page.of("script") == page.of("i") == []
    assert page.text.count(NASTY) == 10  # title, heading, model, score, setting, prompt, four in the recipe
    assert [(outputs / path).is_file() for path in videos(outputs)] == [True]


def test_newest_clips_come_first_and_older_steps_are_folded(tmp_path: Path) -> None:
    tracker = start(tmp_path)
    for step in (10, 20, 30):
        tracker.media(step, [write_clip(tmp_path / f"{step}.mp4", f"at {step}")])
    assert videos(tmp_path) == ["30.mp4", "20.mp4", "10.mp4"]
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    opened = page.index("<details><summary>step 20, 1 clip<")
    assert page.index('src="30.mp4"') < opened < page.index('src="20.mp4"')


def test_clips_of_one_step_gather_over_calls_and_deleted_ones_are_left_out(tmp_path: Path) -> None:
    tracker = start(tmp_path)
    first, second = (write_clip(tmp_path / name, name) for name in ("1.mp4", "2.mp4"))
    tracker.media(5, [first])
    tracker.media(5, [second, first])
    assert videos(tmp_path) == ["1.mp4", "2.mp4"]
    first.path.unlink()
    tracker.close()
    assert videos(tmp_path) == ["2.mp4"]
    second.path.unlink()
    tracker.close()
    assert "None yet." in read(tmp_path).text


def test_a_resumed_run_keeps_what_came_up_to_its_step(tmp_path: Path) -> None:
    first = start(tmp_path)
    for step in (10, 20, 30):
        first.media(step, [write_clip(tmp_path / f"{step}.mp4", "")])
        first.scores(step, {"colour": step / 100, "shape": step / 50})
    second = start(tmp_path, step=20)
    second.media(40, [write_clip(tmp_path / "40.mp4", "")])
    second.scores(40, {"colour": 0.9})
    assert videos(tmp_path) == ["40.mp4", "20.mp4", "10.mp4"]
    kept = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [entry["step"] for entry in kept["samples"]] == [10, 20, 40]
    assert kept["scores"][1] == {"step": 20, "values": {"colour": 0.2, "shape": 0.4}}
    text = read(tmp_path).text
    table = text[text.index("Scores") : text.index("Samples")].split()
    assert table == ["Scores", "stepcolourshape", "400.9", "200.20.4", "100.10.2"]


def test_the_run_folder_can_be_moved(tmp_path: Path) -> None:
    start(tmp_path / "here").media(5, [write_clip(tmp_path / "here" / "samples" / "1.mp4", "")])
    (tmp_path / "here").rename(tmp_path / "there")
    start(tmp_path / "there", step=5).close()
    assert videos(tmp_path / "there") == ["samples/1.mp4"]


def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"samples": 3}', encoding="utf-8")
    with pytest.raises(UserError, match=r"report\.json was not written by the report tracker .* Move it away"):
        start(tmp_path)


def test_writing_leaves_no_half_files_behind(tmp_path: Path) -> None:
    write_metrics(tmp_path, "1,0.5,1e-4,1,1\n")
    tracker = start(tmp_path)
    tracker.media(1, [write_clip(tmp_path / "1.mp4", "")])
    tracker.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["1.mp4", "contact_sheet.png", "index.html", "loss.png", "metrics.csv", "report.json"]


def test_newest_numbers_and_the_loss_curve_are_shown(tmp_path: Path) -> None:
    write_metrics(tmp_path, "".join(f"{step},{10 / step},2e-4,1,7.25\n" for step in range(1, 2001)))
    start(tmp_path).close()
    page = read(tmp_path)
    assert "2,000step0.005" in page.text
    assert "0.0002learning rate7.25samples per second" in page.text
    assert Image.open(tmp_path / "loss.png").size == (1600, 900)
    assert [image["src"] for image in page.of("img")] == ["loss.png"]


@pytest.mark.parametrize(
    ("lines", "drawn"),
    [
        ("", False),
        ("x,y\n", False),
        ("1,nan,nan,,\n2,inf,,,\n", False),
        ("1,0.5,,,\n", True),
        ("3,0,0,0,0\n", True),
        ("1,0.5,1e-4,1,1\n2,0.4,1e-4,1,1\n3,0.", True),
        ("".join(f"{step},{-step},-1e-4,1,1\n" for step in range(1, 40)), True),
    ],
    ids=["no row", "no number", "no finite loss", "one row", "zeros", "half a row", "negative"],
)
def test_odd_metrics_do_not_break_the_page(tmp_path: Path, lines: str, drawn: bool) -> None:
    write_metrics(tmp_path, lines)
    start(tmp_path).close()
    assert (tmp_path / "loss.png").exists() == drawn
    assert [image["src"] for image in read(tmp_path).of("img")] == ["loss.png"] * drawn
