"""Ratios of training masks: names, completion, refusals."""

import pytest
from vidgen.conditioning.mask_ratios import complete_ratios
from vidgen.errors import UserError


def test_what_is_missing_to_one_goes_to_clips_without_given_frames():
    assert complete_ratios({"image_head": 0.25}) == {"image_head": 0.25, "identity": 0.75}


def test_the_callers_ratios_stay_as_they_are():
    ratios = {"random": 0.5}
    complete_ratios(ratios)
    assert ratios == {"random": 0.5}


@pytest.mark.parametrize(
    ("written", "kind"),
    [("interpolate", "intepolate"), ("mask_no", "identity"), ("mask_quarter_head_tail", "quarter_head_tail")],
)
def test_other_names_for_the_same_masks_are_understood(written, kind):
    assert complete_ratios({written: 1.0}).get(kind) == 1.0


def test_a_sum_short_of_one_by_rounding_is_accepted():
    assert complete_ratios({"identity": 0.9999995}) == {"identity": 0.9999995}


def test_a_sum_above_one_by_rounding_leaves_nothing_rather_than_less_than_nothing():
    ratios = complete_ratios({f"image_{name}": share for name, share in (("head", 0.7), ("tail", 0.3000000001))})
    assert ratios["identity"] == 0.0


@pytest.mark.parametrize(
    ("ratios", "told"),
    [
        ({"image_head": 0.6, "random": 0.6}, r"the sum is 1.2 and must not be above 1: 0.6 image_head \+ 0.6 random"),
        ({"identity": 0.5, "image_head": 0.4}, r"the sum is 0.9 and must be 1.*leave identity out"),
        ({"image_haed": 0.5}, r"no masks called 'image_haed'.*did you mean image_head"),
        ({"image_head": -0.1}, "image_head is -0.1; a probability from 0 to 1"),
        ({"image_head": float("nan")}, "image_head is nan"),
        ({"image_head": True}, "image_head is True"),
        ({"image_head": "0.5"}, "image_head is '0.5'"),
        ({"identity": 0.5, "mask_no": 0.5}, "mask_no and another name of the same masks"),
    ],
)
def test_wrong_ratios_are_refused_with_what_would_be_right(ratios, told):
    with pytest.raises(UserError, match=f"(?s){told}"):
        complete_ratios(ratios)


def test_the_older_form_has_its_own_names_and_completes_nothing():
    assert complete_ratios({"mask_no": 0.75, "mask_image_head": 0.25}, "v1.1") == {"identity": 0.75, "image_head": 0.25}
    for ratios in ({"mask_no": 0.5}, {"identity": 1.0}, {}):
        with pytest.raises(UserError, match="mask_ratios"):
            complete_ratios(ratios, "v1.1")
