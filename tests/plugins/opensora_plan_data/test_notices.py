"""Sentences on how good a clip looks."""

import numpy as np
import pytest
from vidgen_opensora_plan_data.notices import notices, with_notice


@pytest.mark.parametrize("score", [None, 4.26, 5.0, 5.74])
def test_a_clip_without_score_or_with_a_usual_one_keeps_its_caption(score):
    assert with_notice("a cat", score, np.random.default_rng(0), image=False) == "a cat"


@pytest.mark.parametrize(("score", "quality"), [(4.25, "low"), (0.0, "low"), (5.75, "high"), (10.0, "high")])
@pytest.mark.parametrize("image", [False, True])
def test_a_remarkable_score_is_told_before_or_behind(score, quality, image):
    sentences = notices(score, image=image)
    assert len(set(sentences)) == 10
    assert all(quality in sentence.lower() for sentence in sentences)
    made = {with_notice("a cat", score, np.random.default_rng(seed), image=image) for seed in range(300)}
    assert made == {f"{s} a cat" for s in sentences} | {f"a cat {s}" for s in sentences}


def test_images_are_not_called_videos():
    assert not any("video" in sentence for sentence in notices(1.0, image=True))
    assert not any("image" in sentence for sentence in notices(1.0, image=False))
