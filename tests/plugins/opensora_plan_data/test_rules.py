"""Options to rules."""

from pathlib import Path

import pytest
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen_opensora_plan_data import OpenSoraPlanDataOptions
from vidgen_opensora_plan_data.rules import make_rules


def rules(context=None, **options):
    return make_rules(OpenSoraPlanDataOptions(data=Path("data.txt"), **options), context or Context())


def test_what_the_options_leave_open_is_the_recipes():
    context = Context(num_frames=45, image_size=(24, 56), latent_stride=(2, 8, 8), batch_size=3, num_ranks=2)
    made = rules(context, force_resolution=True)
    assert (made.num_frames, made.max_height, made.max_width, made.ae_stride_t) == (45, 24, 56, 2)
    assert made.total_batch_size == 6


def test_a_total_batch_is_what_an_optimizer_step_sees():
    """The specification's train_batch_size * processes * gradient_accumulation_steps; ranks that share a clip count as
    one among `num_ranks`."""
    context = Context(batch_size=3, num_ranks=2, recipe={"accumulation_steps": 5})
    assert rules(context, force_resolution=True).total_batch_size == 30


def test_options_come_before_the_recipe():
    context = Context(num_frames=45, image_size=(24, 56), latent_stride=(2, 8, 8), batch_size=3)
    made = rules(
        context, num_frames=29, max_height=16, max_width=40, ae_stride_t=4, total_batch_size=0, force_resolution=True
    )
    assert (made.num_frames, made.max_height, made.max_width, made.ae_stride_t) == (29, 16, 40, 4)
    assert made.total_batch_size == 0


def test_areas_are_given_or_a_quarter_or_from_sides():
    assert rules(max_hxw=1000).areas == (250, 1000)
    assert rules(max_hxw=1000, min_hxw=7).areas == (7, 1000)
    assert rules(max_height=48, max_width=64, min_height=30, min_width=32).areas == (960, 3072)
    assert rules(max_hxw=1000, min_height=30, min_width=32).areas == (250, 1000)


@pytest.mark.parametrize("sides", [{}, {"max_height": 48, "max_width": 64}, {"min_height": 30}])
def test_sizes_left_open_are_refused_with_the_ways_to_give_them(sides):
    with pytest.raises(
        UserError, match=r"how large samples are is left open. Set `max_hxw` .* `force_resolution: true`"
    ):
        rules(**sides)


@pytest.mark.parametrize(
    ("options", "offered"),
    [
        ({"num_frames": 30}, "29, 33, 37"),
        ({"num_frames": 16}, "29, 33, 37"),
        ({"num_frames": 50, "sp_size": 2}, "45, 53, 61"),
        ({"num_frames": 31, "ae_stride_t": 8}, "33, 41, 49"),
    ],
)
def test_a_length_that_no_clip_can_have_is_refused_with_those_that_they_can(options, offered):
    with pytest.raises(
        UserError, match=rf"no clip can have {options['num_frames']} frames: .* clips have {offered}, ..."
    ):
        rules(force_resolution=True, **options)


@pytest.mark.parametrize(
    "options", [{"num_frames": 30, "drop_short_ratio": 0.5}, {"num_frames": 1}, {"num_frames": 93}]
)
def test_a_length_that_some_clips_come_near_or_that_means_images_is_taken(options):
    assert rules(force_resolution=True, **options).num_frames == options["num_frames"]
