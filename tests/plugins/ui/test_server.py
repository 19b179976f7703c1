"""The server as programs see it; what a browser makes of it is in test_page.py."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
from PIL import Image
from vidgen.engine import media
from vidgen.errors import UserError
from vidgen_ui.server import PageServer


def picture(size: tuple[int, int] = (12, 8)) -> bytes:
    file = BytesIO()
    Image.new("RGB", size, (10, 200, 90)).save(file, format="PNG")
    return file.getvalue()


def test_fields_begin_with_the_recipes_values(client: Any) -> None:
    start = client.get("/start")
    assert start["model"] == "STDiT2" and start["takes_references"] is True
    assert start["fields"] == {
        **{"negative_prompt": None, "image_size": [8, 12], "resolution": None, "aspect_ratio": None},
        **{"num_frames": 5, "num_sampling_steps": 2, "cfg_scale": 4.0, "seed": 42},
    }
    assert "240p" in start["resolutions"] and "9:16" in start["aspect_ratios"]


def test_a_clip_is_what_its_recipe_makes_when_it_is_run_alone(client: Any, tmp_path: Path) -> None:
    wish = {"prompt": "a red/../circle", "seed": 9, "num_sampling_steps": 3, "cfg_scale": 2.0, "image_size": [12, 8]}
    status, clip = client.post("/clips", {**wish, "num_frames": 3, "negative_prompt": "blue"})
    assert status == 200 and clip["settings"] == {
        **{"negative prompt": "blue", "size": "12 x 8", "frames": "3", "steps": "3", "guidance": "2", "seed": "9"}
    }
    clip = client.ended(clip["number"])
    assert clip["state"] == "done", clip["text"]
    assert (clip["done"], clip["total"]) == (3, 3)
    path = Path(clip["file"])
    assert path.relative_to(tmp_path) == Path("ui/0001/sample_0000.mp4")
    again = tmp_path / "again"
    vidgen.run(vidgen.load_recipe(path.with_name("recipe.yaml"), [f"outputs={again}"]))
    other = again / "sample_0000.mp4"
    assert torch.equal(media.read(path), media.read(other))
    assert media.provenance(path) == media.provenance(other) != {}


def test_a_clip_is_sent_whole_and_in_part(client: Any) -> None:
    client.post("/clips", {"prompt": "a red circle"})
    whole = Path(client.ended(1)["file"]).read_bytes()
    status, body, headers = client.ask("GET", "/clips/1")
    assert (status, body, headers["Content-Type"]) == (200, whole, "video/mp4")
    status, body, headers = client.ask("GET", "/clips/1", headers={"Range": "bytes=5-16"})
    assert (status, body, headers["Content-Range"]) == (206, whole[5:17], f"bytes 5-16/{len(whole)}")


def test_one_frame_is_a_picture(client: Any) -> None:
    client.post("/clips", {"prompt": "a red circle", "num_frames": 1})
    clip = client.ended(1)
    assert clip["kind"] == "image" and client.ask("GET", "/clips/1")[2]["Content-Type"] == "image/png"


def test_only_what_this_session_made_is_served(client: Any) -> None:
    for path in ("/clips/1", "/clips/0", "/clips/../page.py", "/server.py", "/%2e%2e/server.py", "//etc/passwd", "/ui"):
        assert client.ask("GET", path)[0] == 404, path
    assert client.post("/clips/1/cancel")[0] == 404
    assert client.post("/start")[0] == 404


@pytest.mark.parametrize("headers", [{"Host": "example.org"}, {"Origin": "http://example.org"}, {"Origin": "null"}])
def test_requests_that_other_sites_sent_are_refused(client: Any, headers: dict[str, str]) -> None:
    assert client.ask("GET", "/clips", headers=headers)[0] == 403
    assert client.ask("POST", "/clips", b'{"prompt": "a"}', headers)[0] == 403
    assert client.get("/clips") == []


def test_the_page_may_load_from_here_alone(client: Any) -> None:
    status, _, headers = client.ask("GET", "/")
    assert status == 200 and "default-src 'self'" in headers["Content-Security-Policy"]
    for path in ("/", "/page.js", "/page.css"):
        assert b"http:" not in client.ask("GET", path)[1] and b"https:" not in client.ask("GET", path)[1]


@pytest.mark.parametrize(
    ("wish", "texts"),
    [
        ({"prompt": ""}, ["prompt: it is empty"]),
        ({"prompt": "a", "image_size": [9, 12]}, ["9", "8"]),
        ({"prompt": "a", "image_size": [0, 12]}, ["image_size", "0"]),
        ({"prompt": "a", "image_size": ["many", 12]}, ["image_size", "many"]),
        ({"prompt": "a", "num_frames": "4 weeks"}, ["num_frames", "4 weeks"]),
        ({"prompt": "a", "num_sampling_steps": 0}, ["num_sampling_steps", "0"]),
        ({"prompt": "a", "cfg_scale": float("nan")}, ["cfg_scale", "nan"]),
        ({"prompt": "a", "seed": -1, "num_sampling_steps": 0}, ["seed", "num_sampling_steps"]),
        ({"prompt": "a", "resolution": "240p", "aspect_ratio": "9:99"}, ["aspect_ratio", "9:99"]),
        ({"prompt": 'a{"reference_path"'}, ["prompt 0"]),
        ({"prompt": "a", "references": [{"file": 4}]}, ["there is no file 4"]),
        (["a"], ["no mapping"]),
    ],
)
def test_wrong_wishes_are_refused_with_words(client: Any, wish: Any, texts: list[str]) -> None:
    status, answer = client.post("/clips", wish)
    assert status == 400 and all(text in answer["error"] for text in texts), answer
    assert "Traceback" not in answer["error"] and "recipe:" not in answer["error"]
    assert client.get("/clips") == []


def test_what_is_no_json_is_refused(client: Any) -> None:
    for body in (b"{", b"\xff", b"[" * 100_000):
        assert client.ask("POST", "/clips", body)[0] == 400
    assert client.ask("POST", "/clips", b"1" * (2**23))[0] == 413


def test_a_sent_picture_is_given_at_the_place_that_is_asked(client: Any) -> None:
    status, body, _ = client.ask("POST", "/references?name=my%20cat.png", picture())
    assert status == 200 and b'"my cat.png"' in body
    client.post("/clips", {"prompt": "a", "references": [{"file": 1, "at": -1, "edit": 0.0}]})
    clip = client.ended(1)
    assert clip["state"] == "done", clip["text"]
    assert "....#" in clip["settings"]["given frames"] and "0001-my cat.png" in clip["settings"]["given frames"]
    assert "/" not in clip["settings"]["given frames"]
    last = media.read(Path(clip["file"]))[:, -1].float().mean(dim=(1, 2))
    torch.testing.assert_close(last, torch.tensor([10.0, 200.0, 90.0]), rtol=0, atol=6)


def test_a_reference_that_does_not_fit_is_told(client: Any) -> None:
    client.ask("POST", "/references?name=a.png", picture())
    for reference, text in (
        ({"file": 1, "at": 5}, "there is no frame 5"),
        ({"file": 1, "edit": 1.5}, "edit"),
        ({"file": 1, "frames": "..3"}, "an image has one frame"),
        ({"file": 1, "place": 3}, "no such key"),
    ):
        status, answer = client.post("/clips", {"prompt": "a", "references": [reference]})
        assert status == 400 and text in answer["error"], answer


def test_a_sent_file_that_is_no_picture_is_refused(client: Any) -> None:
    status, body, _ = client.ask("POST", "/references?name=a.txt", b"words")
    assert status == 400 and b"neither a picture" in body
    status, body, _ = client.ask("POST", "/references?name=a.png", b"words")
    assert status == 500 and b"cannot be read" in body and b"Traceback" not in body


def test_a_port_that_is_taken_is_told(client: Any, studio: Any) -> None:
    with pytest.raises(UserError, match=f"--port: {client.port} cannot be used"):
        PageServer(client.port, studio, None, None)


def test_only_this_machine_can_reach_it(client: Any) -> None:
    assert client.address == f"http://127.0.0.1:{client.port}"
