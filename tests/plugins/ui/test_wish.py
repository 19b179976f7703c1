from pathlib import Path
from typing import Any

import pytest
from vidgen.errors import UserError
from vidgen_ui.uploads import Upload
from vidgen_ui.wish import asked

PLAIN: dict[str, Any] = {
    **{"job": "sample", "seed": 3, "num_frames": 5, "image_size": None, "resolution": "240p", "aspect_ratio": "9:16"},
    **{"prompts": ["-"], "prompt_path": "many.txt", "num_samples": 4, "conditions": [{"image": "a.png"}]},
    "scheduler": {"type": "rflow", "num_sampling_steps": 9, "cfg_scale": 4.0, "loss": "l2"},
}


def uploaded(number: int) -> Upload:
    kind = "video" if number == 2 else "image"
    return Upload(number=number, name="x", kind=kind, path=Path(f"/u/{number}"))


def test_what_the_page_leaves_open_is_as_in_the_recipe_but_one_clip_is_made() -> None:
    recipe = asked(PLAIN, {"prompt": "p"}, uploaded)
    assert recipe["prompts"] == ["p"] and recipe["prompt_path"] is None and recipe["num_samples"] == 1
    assert recipe["conditions"] == [] and recipe["allow_download"] is False
    kept = ("seed", "num_frames", "resolution", "aspect_ratio", "scheduler")
    assert {key: recipe[key] for key in kept} == {key: PLAIN[key] for key in kept}


def test_a_size_in_pixels_stands_in_place_of_the_recipes_named_one() -> None:
    recipe = asked(PLAIN, {"prompt": "p", "image_size": [8, 12]}, uploaded)
    assert (recipe["image_size"], recipe["resolution"], recipe["aspect_ratio"]) == ([8, 12], None, None)


def test_a_size_by_its_name_stands_in_place_of_the_recipes_pixels() -> None:
    plain = {**PLAIN, "image_size": [8, 12], "resolution": None, "aspect_ratio": None}
    recipe = asked(plain, {"prompt": "p", "resolution": "144p", "aspect_ratio": "1:1"}, uploaded)
    assert (recipe["image_size"], recipe["resolution"], recipe["aspect_ratio"]) == (None, "144p", "1:1")


def test_steps_and_guidance_are_the_schedulers_and_the_rest_of_it_stays() -> None:
    recipe = asked(PLAIN, {"prompt": "p", "num_sampling_steps": 2, "cfg_scale": 1.5, "seed": 8}, uploaded)
    assert recipe["scheduler"] == {"type": "rflow", "num_sampling_steps": 2, "cfg_scale": 1.5, "loss": "l2"}
    assert recipe["seed"] == 8 and PLAIN["scheduler"]["num_sampling_steps"] == 9


def test_references_become_conditions_by_kind_of_file() -> None:
    wish = {"prompt": "p", "references": [{"file": 1, "at": -1}, {"file": 2, "frames": "-8..", "edit": 0.4}]}
    assert asked(PLAIN, wish, uploaded)["conditions"] == [
        {"image": "/u/1", "at": -1},
        {"video": "/u/2", "frames": "-8..", "edit": 0.4},
    ]


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        ({}, "prompt: it is empty"),
        ({"prompt": "  \n"}, "prompt: it is empty"),
        ({"prompt": 3}, "prompt: it is empty"),
        ({"prompt": "p", "model": {}}, "model: no such key; known: prompt"),
        ({"prompt": "p", "outputs": "/"}, "outputs: no such key"),
        ({"prompt": "p", "references": {}}, "references: expected a list"),
        ({"prompt": "p", "references": ["a.png"]}, "references: expected a list"),
        ({"prompt": "p", "references": [{"image": "/etc/a.png"}]}, "references: file: expected the number"),
        ({"prompt": "p", "references": [{"file": True}]}, "references: file: expected the number"),
    ],
)
def test_what_the_page_may_not_ask_is_refused(wish: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        asked(PLAIN, wish, uploaded)
