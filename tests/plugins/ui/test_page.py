"""The page in a real browser: type a prompt, get a clip, see it play."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from vidgen.engine import media

FRAME = """(async () => {
  const v = document.querySelector('video'); v.pause(); v.currentTime = 0.001;
  await new Promise((done) => v.addEventListener('seeked', done, {once: true}));
  const c = document.createElement('canvas'); c.width = v.videoWidth; c.height = v.videoHeight;
  c.getContext('2d').drawImage(v, 0, 0);
  return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data];
})()"""


@pytest.fixture
def page(browser: Any, client: Any) -> Any:
    browser.open(client.address)
    return browser


def state(page: Any, number: int) -> str:
    return page.run(f"(document.querySelector('[data-number=\"{number}\"] .state') || {{}}).textContent || ''")


def test_a_prompt_becomes_a_clip_that_plays_and_looks_as_the_file_does(page: Any, client: Any) -> None:
    page.type("#prompt", "a red circle moving left")
    page.type("#num_frames", "36")
    page.type("#num_sampling_steps", "3")
    page.type("#seed", "11")
    page.click("#make")
    page.wait("document.querySelector('video') && document.querySelector('video').readyState >= 3")
    assert page.run("document.querySelector('video').currentTime = 0") == 0
    page.wait("document.querySelector('video').currentTime > 0.2")
    assert not page.run("document.querySelector('video').paused")
    assert page.run("document.querySelector('video').duration") == pytest.approx(36 / 24, abs=0.05)
    path = Path(client.get("/clips")[0]["file"])
    shown = np.array(page.run(FRAME), dtype=float).reshape(128, 192, 4)[..., :3]
    written = media.read(path)[:, 0].permute(1, 2, 0).numpy()
    assert np.abs(shown - written).mean() < 6  # of 255: browsers convert colours a little otherwise
    assert written.std() > 10
    assert "3" in page.run("document.querySelector('.settings').textContent")


def test_a_picture_of_the_page_shows_the_form_and_nothing_beyond_its_sides(page: Any, tmp_path: Path) -> None:
    page.picture(tmp_path / "page.png")
    pixels = np.asarray(Image.open(tmp_path / "page.png").convert("RGB"))
    assert pixels.std() > 5
    assert page.run("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_wrong_size_is_told_in_words_beside_the_button(page: Any) -> None:
    page.type("#prompt", "a blue square")
    page.type("#rows", "9")
    page.click("#make")
    text = page.wait("document.getElementById('error').textContent")
    assert "9" in text and "8" in text and "Traceback" not in text
    assert page.run("document.querySelectorAll('.clip').length") == 0


def test_a_size_can_be_asked_by_its_name(page: Any) -> None:
    page.type("#prompt", "a blue square")
    page.click("input[value=named]")
    assert not page.run("document.getElementById('rows').checkVisibility()")
    page.run("document.getElementById('resolution').value = '240p'")
    page.run("document.getElementById('aspect_ratio').value = '9:16'")
    page.click("#make")
    assert "426" in page.wait("document.getElementById('error').textContent")  # no multiple of this model's patch


def test_what_is_no_number_is_told_by_its_name(page: Any) -> None:
    page.type("#prompt", "a blue square")
    page.type("#seed", "many")
    page.click("#make")
    assert "seed" in page.wait("document.getElementById('error').textContent")


def test_cancel_ends_what_runs_and_what_waits(page: Any) -> None:
    page.type("#prompt", "a green triangle")
    page.type("#num_sampling_steps", "100000")
    page.click("#make")
    page.wait("/step [1-9]/.test(document.querySelector('[data-number=\"1\"] .state')?.textContent || '')")
    assert page.run("document.querySelector('[data-number=\"1\"] progress').value") > 0
    page.click("#make")
    page.wait("document.querySelector('[data-number=\"2\"]') !== null")
    assert state(page, 2) == "waiting"
    page.click('[data-number="2"] .cancel')
    page.wait("document.querySelector('[data-number=\"2\"]').dataset.state === 'cancelled'")
    page.click('[data-number="1"] .cancel')
    page.wait("document.querySelector('[data-number=\"1\"]').dataset.state === 'cancelled'")
    assert page.run("document.querySelector('video')") is None


def test_a_video_asks_for_its_frames_and_a_place_can_be_any_frame(page: Any, client: Any, tmp_path: Path) -> None:
    colours = torch.tensor([[20, 120, 220]] * 3, dtype=torch.uint8)  # of three frames, each of one grey
    video = colours[..., None, None].expand(3, 3, 8, 12)
    path = media.write(tmp_path / "steps", video, 24, {})
    page.type("#prompt", "it moves")
    page.choose_file("#file", path)
    page.wait("document.querySelector('.reference .frames')?.checkVisibility()")
    page.wait("!document.getElementById('make').disabled")
    page.type(".reference .frames input", "-1..")
    page.run(
        "(() => {const place = document.querySelector('.place'); place.value = 'at';"
        " place.dispatchEvent(new Event('change'))})()"
    )
    page.type(".reference .at input", "2")
    page.click("#make")
    page.wait("document.querySelector('video') !== null")
    found = media.read(Path(client.get("/clips")[0]["file"]))[:, 2].float().mean(dim=(1, 2))
    np.testing.assert_allclose(found.numpy(), (220, 220, 220), atol=6)


def test_a_chosen_picture_is_given_to_the_clip(page: Any, client: Any, tmp_path: Path) -> None:
    Image.new("RGB", (12, 8), (200, 30, 30)).save(tmp_path / "red one.png")
    page.type("#prompt", "it moves")
    page.choose_file("#file", tmp_path / "red one.png")
    page.wait("document.querySelector('.reference .name')?.textContent === 'red one.png'")
    page.wait("!document.getElementById('make').disabled")
    page.click("#make")
    page.wait("document.querySelector('video') !== null")
    (clip,) = client.get("/clips")
    first = media.read(Path(clip["file"]))[:, 0].float().mean(dim=(1, 2))
    assert "#...." in clip["settings"]["given frames"]
    np.testing.assert_allclose(first.numpy(), (200, 30, 30), atol=6)


def test_nothing_is_fetched_from_elsewhere(page: Any, client: Any) -> None:
    names = page.wait(
        "(() => {const names = performance.getEntriesByType('resource').map((entry) => entry.name);"
        " return names.length > 3 && names})()"
    )
    assert all(name.startswith(client.address) for name in names)


def test_settings_of_a_clip_come_back_into_the_form(page: Any) -> None:
    page.type("#prompt", "a green triangle")
    page.type("#rows", "12")
    page.type("#seed", "5")
    page.click("#make")
    page.wait("document.querySelector('video') !== null")
    page.type("#rows", "16")
    page.type("#seed", "6")
    page.type("#prompt", "something else")
    page.click(".again")
    values = page.run("['prompt', 'rows', 'seed'].map((id) => document.getElementById(id).value)")
    assert values == ["a green triangle", "12", "5"]
