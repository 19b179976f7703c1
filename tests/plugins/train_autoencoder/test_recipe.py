"""Mistakes between keys, found before anything starts."""

from collections.abc import Callable
from typing import Any

import pytest
from vidgen.errors import RecipeError

Load = Callable[..., Any]

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no length": ({"max_steps": None}, "max_steps: missing"),
    "no loss": ({"use_real_rec_loss": False}, "use_real_rec_loss: every loss is switched off: there is nothing to"),
    "weight without a path": (
        {"perceptual_loss_weight": 0.1},
        "perceptual_weights: perceptual_loss_weight is 0.1, but no file of weights is named",
    ),
    "path without a weight": (
        {"perceptual_weights": ["vgg.pth"]},
        "perceptual_weights: of no use: perceptual_loss_weight is 0",
    ),
    "perception of latents": (
        {
            "perceptual_loss_weight": 0.1,
            "perceptual_weights": ["v"],
            "use_real_rec_loss": False,
            "use_z_rec_loss": True,
        },
        "perceptual_loss_weight: counts for the error of the pixels, which this recipe does not learn from",
    ),
    "no images mixed in": (
        {"mixed_strategy": "mixed_video_image"},
        "mixed_image_ratio: with 0, mixed_video_image cuts no batch",
    ),
    "a share of nothing": (
        {"mixed_strategy": "mixed_video_random", "mixed_image_ratio": 0.2},
        "mixed_image_ratio: no share of images is taken by mixed_video_random",
    ),
    "a share above one": ({"mixed_image_ratio": 1.5}, "mixed_image_ratio: 'mixed_image_ratio' must be <= 1"),
    "identity without images": (
        {"use_image_identity_loss": True},
        "use_image_identity_loss: counts for single frames, but every clip has 3",
    ),
    "a game after the end": (
        {"discriminator": {"n_layers": 1, "start": 4}},
        "discriminator.start: the discriminator would start at step 4, but training ends after 4",
    ),
    "clips too short": (
        {"discriminator": {"type": "3d", "n_layers": 1}},
        "discriminator.type: 3d with 1 layers needs clips of 6 frames, num_frames is 3",
    ),
    "pictures too small": (
        {"discriminator": {"n_layers": 3}},
        "discriminator.n_layers: 3 layers need 24 rows and columns, image_size is 12x16",
    ),
    "a type that there is not": ({"discriminator": {"type": "4d"}}, "discriminator.type: expected one of 2d, 3d"),
}


@pytest.mark.parametrize(("changes", "text"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_contradiction_is_told_at_its_key(recipe_of: Load, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_of(**changes)
    assert text in str(caught.value)


def test_all_contradictions_are_told_at_once(recipe_of: Load) -> None:
    with pytest.raises(RecipeError, match="3 problems; nothing was started"):
        recipe_of(use_image_identity_loss=True, perceptual_loss_weight=0.1, discriminator={"n_layers": 3})
