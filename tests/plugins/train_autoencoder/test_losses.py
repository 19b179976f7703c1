"""The losses by hand: sums, scales, warm-up, gradients. Equality with recorded numbers: tests/golden."""

import math

import pytest
import torch
from torch import nn
from vidgen.errors import UserError
from vidgen_autoencoders.posterior import Posterior
from vidgen_train_autoencoder.adversarial import (
    AdversarialLoss,
    DiscriminatorLoss,
    LecamEma,
    adaptive_weight,
    gradient_penalty,
    lecam_loss,
)
from vidgen_train_autoencoder.reconstruction import VAELoss, frames_of

SHAPE = (2, 3, 5, 4, 7)


class Constant(nn.Module):
    """A distance of 2 between any two pictures, which must have three channels."""

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        assert one.shape[1] == other.shape[1] == 3
        return torch.full((len(one), 1, 1, 1), 2.0)


def standard(count: int = 2) -> Posterior:
    """A standard normal: no divergence."""
    return Posterior(torch.zeros(count, 8, 2, 1, 1))


def test_frames_of_a_clip_come_one_after_the_other() -> None:
    video = torch.arange(2 * 3 * 5).view(2, 3, 5, 1, 1).float()
    frames = frames_of(video)
    assert frames.shape == (10, 3, 1, 1)
    assert frames[7].flatten().tolist() == video[1, :, 2].flatten().tolist()


def test_the_error_is_summed_over_a_frame_and_averaged_over_frames() -> None:
    """Every value is off by 0.5: 3 x 4 x 7 of them in a frame."""
    video = torch.randn(SHAPE)
    terms = VAELoss(perceptual_loss_weight=0)(video, video + 0.5, standard())
    assert terms.nll_loss.item() == pytest.approx(0.5 * 3 * 4 * 7, rel=1e-5)
    assert terms.weighted_nll_loss.item() == terms.nll_loss.item()
    assert terms.weighted_kl_loss.item() == 0


def test_the_perceptual_distance_is_added_to_every_value() -> None:
    video = torch.randn(SHAPE)
    loss = VAELoss(perceptual_loss_weight=0.1, perceptual=Constant())
    assert loss(video, video, standard()).nll_loss.item() == pytest.approx(0.2 * 3 * 4 * 7, rel=1e-5)
    assert loss(video, video, standard(), no_perceptual=True).nll_loss.item() == 0
    grey = video[:, :1]
    assert loss(grey, grey, standard()).nll_loss.item() == pytest.approx(0.2 * 4 * 7, rel=1e-5)


def test_the_scale_and_the_weights_of_frames() -> None:
    video = torch.zeros(SHAPE)
    weights = torch.zeros(10, 1, 1, 1)
    weights[4] = 10.0
    terms = VAELoss(logvar_init=0.7, perceptual_loss_weight=0)(video, video + 1, standard(), weights)
    each = 3 * 4 * 7 * (math.exp(-0.7) + 0.7)
    assert terms.nll_loss.item() == pytest.approx(each, rel=1e-5)
    assert terms.weighted_nll_loss.item() == pytest.approx(each, rel=1e-5)  # one frame of ten counts ten times


def test_the_divergence_is_averaged_over_clips() -> None:
    """Means of 2, variance 1: 2 nats for each of the 4 x 2 latents of a clip."""
    posterior = Posterior(torch.cat([torch.full((3, 4, 2, 1, 1), 2.0), torch.zeros(3, 4, 2, 1, 1)], dim=1))
    video = torch.zeros(3, 3, 1, 2, 2)
    assert VAELoss(kl_loss_weight=0.5)(video, video, posterior, no_perceptual=True).weighted_kl_loss.item() == 8
    for weight in (None, 0.0, -1.0):
        loss = VAELoss(kl_loss_weight=weight)
        assert loss(video, video, posterior, no_perceptual=True).weighted_kl_loss.item() == 0


def test_the_adaptive_weight_makes_both_gradients_equally_long() -> None:
    w = torch.tensor([3.0, 4.0], requires_grad=True)
    error, game = (w * torch.tensor([6.0, 8.0])).sum(), (w * torch.tensor([0.0, 0.5])).sum()
    assert adaptive_weight(error, game, w).item() == pytest.approx(10 / 0.5001, rel=1e-6)
    assert not adaptive_weight(error, game, w).requires_grad
    assert adaptive_weight(error, 0 * game, w).item() == pytest.approx(1e4)


def test_the_game_has_no_weight_before_its_start_or_without_a_factor() -> None:
    w = torch.tensor([1.0, -2.0], requires_grad=True)
    logits, error = w * 3, (w**2).sum()
    for factor, start, step in ((1.0, 5, 4), (0.0, -1, 4), (None, -1, 4)):
        loss = AdversarialLoss(factor, start, generator_loss_type="hinge")(logits, error, w, step)
        assert loss.item() == 0
    assert AdversarialLoss(1.0, 5, generator_loss_type="hinge")(logits, error, w, 5).item() != 0


def test_outside_training_the_game_has_no_weight_where_nothing_has_a_gradient() -> None:
    w = torch.tensor([1.0, -2.0], requires_grad=True)
    with torch.no_grad():
        logits, error = w * 3, (w**2).sum()
    loss = AdversarialLoss(1.0, -1)
    assert loss(logits, error, w, 0, is_training=False).item() == 0
    with pytest.raises(RuntimeError):
        loss(logits, error, w, 0)


def test_a_loss_without_formula_is_refused() -> None:
    with pytest.raises(UserError, match="'vanilla' has no formula; choose one of hinge, non-saturating"):
        AdversarialLoss(generator_loss_type="vanilla")
    with pytest.raises(UserError, match="'wgan' has no formula; choose one of hinge, vanilla, non-saturating"):
        DiscriminatorLoss(discriminator_loss_type="wgan")


def test_a_discriminator_that_is_sure_and_right_loses_nothing_by_hinge() -> None:
    real, fake = torch.full((3, 1, 2, 2), 1.5), torch.full((3, 1, 2, 2), -1.5)
    loss = DiscriminatorLoss(1.0, -1, "hinge")
    assert loss(real, fake, 0).weighted_d_adversarial_loss.item() == 0
    assert loss(fake, real, 0).weighted_d_adversarial_loss.item() == 2.5


def test_one_side_alone_counts_by_itself() -> None:
    real, fake = torch.randn(5), torch.randn(5)
    loss = DiscriminatorLoss(1.0, -1, "non-saturating")
    both = loss(real, fake, 0).weighted_d_adversarial_loss
    alone = loss(real, None, 0).weighted_d_adversarial_loss + loss(None, fake, 0).weighted_d_adversarial_loss
    torch.testing.assert_close(both, alone)


def test_lecam_counts_what_goes_beyond_the_other_side() -> None:
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([-2.0, 0.0])
    assert lecam_loss(real, fake, torch.tensor(0.5), torch.tensor(-1.0)).item() == (2 + 1) ** 2 + (0.5 + 1) ** 2
    assert lecam_loss(fake, real, torch.tensor(0.5), torch.tensor(-0.5)).item() == 0


def test_lecams_averages_move_by_a_thousandth_and_come_back() -> None:
    ema = LecamEma(torch.device("cpu"))
    for _ in range(2):
        ema.update(torch.tensor([1.0, 3.0]), torch.tensor([-5.0]))
    assert ema.real.item() == pytest.approx(2 * (1 - 0.999**2), rel=1e-5)
    other = LecamEma(torch.device("cpu"))
    other.load_state_dict(ema.state_dict())
    assert torch.equal(other.real, ema.real) and torch.equal(other.fake, ema.fake)


def test_a_slope_of_one_is_not_penalised() -> None:
    video = torch.randn(4, 3, 2, requires_grad=True)
    slope = torch.full((3, 2), 1 / math.sqrt(6))
    assert gradient_penalty(video, (video * slope).flatten(1).sum(dim=1)).item() == pytest.approx(0, abs=1e-10)
    assert gradient_penalty(video, (3 * video * slope).flatten(1).sum(dim=1)).item() == pytest.approx(4, rel=1e-5)


def test_lecam_and_penalty_want_what_they_are_made_of() -> None:
    real, fake = torch.randn(3), torch.randn(3)
    with pytest.raises(AssertionError, match="both averages"):
        DiscriminatorLoss(lecam_loss_weight=1.0)(real, fake, 0)
    with pytest.raises(AssertionError, match="the real video"):
        DiscriminatorLoss(gradient_penalty_loss_weight=1.0)(real, fake, 0)
