"""OpenSoraInpaint_v1_3: what it is shown of a clip."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from vidgen import UserError

Make = Callable[..., nn.Module]
Batch = dict[str, Tensor]


def test_what_a_new_model_is_shown_has_no_influence(fresh: Make, batch: Batch) -> None:
    model, t2v = fresh("inpaint"), fresh()
    t2v.load_state_dict({name: value for name, value in model.state_dict().items() if name in t2v.state_dict()})
    shown = {"masked_video": torch.randn(2, 3, 3, 4, 10), "video_mask": torch.ones(2, 5, 3, 4, 10)}
    assert torch.equal(model(**batch, **shown), t2v(**batch))


def test_without_both_nothing_is_shown(lively: Make, batch: Batch) -> None:
    model = lively("inpaint")
    nothing = {"masked_video": torch.zeros(2, 3, 3, 4, 10), "video_mask": torch.ones(2, 5, 3, 4, 10)}
    assert torch.equal(model(**batch), model(**batch, **nothing))


def test_frames_of_a_latent_may_differ(lively: Make, batch: Batch) -> None:
    model = lively("inpaint")
    shown = {"masked_video": torch.zeros(2, 3, 3, 4, 10), "video_mask": torch.ones(2, 5, 3, 4, 10)}
    before = model(**batch, **shown)
    shown["video_mask"][:, 2, 1] = 0
    assert not torch.allclose(model(**batch, **shown), before, atol=1e-3)


def test_padding_is_shown_to_nobody(lively: Make, batch: Batch) -> None:
    model, valid = lively("inpaint"), torch.ones(2, 3, 4, 10, dtype=torch.bool)
    valid[1, 2:], valid[1, :, :, 6:] = False, False
    shown = {"masked_video": torch.randn(2, 3, 3, 4, 10), "video_mask": torch.ones(2, 5, 3, 4, 10)}
    hidden = {key: torch.where(valid[:, None], value, float("nan")) for key, value in shown.items()}
    assert torch.equal(model(**batch, **hidden, valid=valid), model(**batch, **shown, valid=valid))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"masked_video": torch.zeros(2, 3, 3, 4, 10)}, "masked_video or video_mask without the other"),
        (
            {"masked_video": torch.zeros(2, 3, 3, 4, 10), "video_mask": torch.zeros(2, 4, 3, 4, 10)},
            r"video_mask of shape \(2, 4, 3, 4, 10\); it takes \(2, 5, 3, 4, 10\)",
        ),
        (
            {"masked_video": torch.zeros(2, 3, 3, 4, 9), "video_mask": torch.zeros(2, 5, 3, 4, 10)},
            "masked_video of shape",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused(fresh: Make, batch: Batch, given: Batch, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fresh("inpaint")(**batch, **given)
