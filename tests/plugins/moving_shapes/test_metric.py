"""The metric moving-shapes: right on true clips, silent on everything else, and blind to all but the pixels."""

import numpy as np
import pytest
import torch
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen_moving_shapes import MetricOptions, MovingShapesOptions
from vidgen_moving_shapes.dataset import build as build_dataset
from vidgen_moving_shapes.metric import build, judge
from vidgen_moving_shapes.shapes import COMBINATIONS, caption

NOTHING = {"colour": 0.0, "shape": 0.0, "direction": 0.0}
ALL = {"colour": 1.0, "shape": 1.0, "direction": 1.0}


def score(clips, prompts):
    metric = build(MetricOptions(), Context())
    for clip, prompt in zip(clips, prompts, strict=True):
        metric.update(clip, prompt)
    return metric.compute()


def true_clips(frames, size, *, seed=0, rows=48, **options):
    dataset = build_dataset(MovingShapesOptions(rows=rows, **options), Context(seed=seed))
    samples = [dataset.get(row, frames, size, np.random.default_rng(0)) for row in range(rows)]
    return [sample.video for sample in samples], [sample.text for sample in samples]


def noisy(clip, spread, seed):
    noise = np.random.default_rng(seed).normal(0.0, spread, clip.shape)
    return torch.from_numpy((clip.numpy() + noise).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("frames", "size"), [(8, (16, 16)), (2, (16, 20)), (5, (32, 24)), (9, (64, 64))])
def test_true_clips_score_full_marks_also_with_mild_noise(frames, size, seed):
    clips, prompts = true_clips(frames, size, seed=seed)
    assert score(clips, prompts) == ALL
    assert score([noisy(clip, 16.0, seed) for clip in clips], prompts) == ALL


@pytest.mark.parametrize("background", [(128, 128, 128), (255, 255, 255), (20, 30, 60)])
def test_true_clips_on_other_backgrounds_score_full_marks(background):
    assert score(*true_clips(6, (24, 24), background=background)) == ALL


def test_wrong_prompts_score_what_chance_gives():
    """Every clip under every prompt: 1 colour in 4, 1 shape in 3, 1 direction in 4."""
    clips, prompts = true_clips(4, (16, 16))
    pairs = [(clip, prompt) for clip in clips for prompt in prompts]
    rates = score(*zip(*pairs, strict=True))
    assert rates == pytest.approx({"colour": 1 / 4, "shape": 1 / 3, "direction": 1 / 4})


def test_each_rate_looks_at_its_own_word():
    clips, _ = true_clips(4, (16, 16))
    others = {"red": "blue", "circle": "square", "left": "up"}
    red_circle_left = clips[0]
    assert score([red_circle_left], ["a blue circle moving left"]) == {**ALL, "colour": 0.0}
    assert score([red_circle_left], ["a red square moving left"]) == {**ALL, "shape": 0.0}
    assert score([red_circle_left], ["a red circle moving up"]) == {**ALL, "direction": 0.0}
    assert score([red_circle_left], [" ".join(["a", *others.values()])]) == NOTHING


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_empty_clip_shows_nothing(value):
    prompts = [caption(*combination) for combination in COMBINATIONS]
    assert score([torch.full((3, 8, 16, 16), value, dtype=torch.uint8)] * 48, prompts) == NOTHING


@pytest.mark.parametrize("size", [(16, 16), (64, 64)])
def test_noise_shows_nothing(size):
    prompts = [caption(*combination) for combination in COMBINATIONS]
    rng = np.random.default_rng(3)
    even = [torch.from_numpy(rng.integers(0, 256, (3, 6, *size), dtype=np.uint8)) for _ in prompts]
    normal = [torch.from_numpy((rng.normal(128, 64, (3, 6, *size))).clip(0, 255).astype(np.uint8)) for _ in prompts]
    assert score(even, prompts) == NOTHING
    assert score(normal, prompts) == NOTHING


def test_specks_of_the_right_colour_are_no_object():
    rng = np.random.default_rng(4)
    red = torch.tensor((230, 40, 40), dtype=torch.uint8)[:, None, None, None]
    specks = torch.from_numpy(rng.random((6, 16, 16)) < 0.2) * red
    assert score([specks], ["a red circle moving left"]) == NOTHING


def test_a_static_clip_has_colour_and_shape_but_no_direction():
    clips, prompts = true_clips(5, (16, 16))
    stills = [clip[:, 2:3].expand(-1, 5, -1, -1) for clip in clips]
    assert score(stills, prompts) == {**ALL, "direction": 0.0}
    assert score([clip[:, 2:3] for clip in clips], prompts) == {**ALL, "direction": 0.0}


def test_a_clip_played_backwards_moves_the_other_way():
    clips, _ = true_clips(5, (16, 16))
    opposite = {"left": "right", "right": "left", "up": "down", "down": "up"}
    prompts = [caption(colour, shape, opposite[direction]) for colour, shape, direction in COMBINATIONS]
    assert score([clip.flip(1) for clip in clips], prompts) == ALL


def test_a_diagonal_has_no_direction():
    dataset = build_dataset(MovingShapesOptions(object_size=(0.3, 0.3)), Context())
    still = dataset.get(0, 1, (16, 16), np.random.default_rng(0)).video[:, 0]
    diagonal = torch.stack([still.roll((step, step), dims=(1, 2)) for step in (-3, -1, 1, 3)], dim=1)
    seen = judge(diagonal.numpy())
    assert (seen.colour, seen.shape, seen.direction) == ("red", "circle", None)


def test_an_object_that_vanishes_halfway_shows_nothing():
    clips, prompts = true_clips(8, (16, 16))
    for clip in clips:
        clip[:, 4:] = 0
    assert score(clips, prompts) == NOTHING


def test_a_colour_outside_the_palette_is_no_colour():
    clips, prompts = true_clips(4, (16, 16))
    grey = [clip.amax(dim=0, keepdim=True).expand(3, -1, -1, -1) for clip in clips]
    assert score(grey, prompts) == NOTHING


def test_the_verdict_depends_on_pixels_alone():
    """The same pixels get the same verdict in any order, among any others and under any prompt."""
    clips, _ = true_clips(4, (16, 16))
    verdicts = [judge(clip.numpy()) for clip in clips]
    assert [judge(clip.clone().numpy()) for clip in reversed(clips)] == verdicts[::-1]
    for verdict, combination in zip(verdicts, COMBINATIONS, strict=True):
        assert (verdict.colour, verdict.shape, verdict.direction) == combination


def test_a_metric_that_saw_nothing_reports_nothing():
    assert score([], []) == {}


@pytest.mark.parametrize("prompt", ["a cat", "a red circle", "a red blue circle moving left", ""])
def test_a_prompt_of_another_kind_is_refused_with_an_example(prompt):
    with pytest.raises(UserError, match=r"one colour .*one shape .*one direction .*a red circle moving left"):
        score([torch.zeros(3, 2, 8, 8, dtype=torch.uint8)], [prompt])
    with pytest.raises(UserError, match=r"one colour .*one shape .*one direction .*a red circle moving left"):
        build(MetricOptions(), Context()).check(prompt)


def test_each_clip_has_its_own_marks():
    """The second clip is put under the third one's prompt: another direction, the same colour and shape."""
    clips, prompts = true_clips(4, (16, 16))
    metric = build(MetricOptions(), Context())
    assert metric.update(clips[1], prompts[1]) == ALL
    assert metric.update(clips[1], prompts[2]) == {**ALL, "direction": 0.0}
    assert metric.compute() == {**ALL, "direction": 0.5}
