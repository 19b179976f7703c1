"""What schedulers share: noise schedules, kinds of prediction, the loss, given frames."""

from typing import Any

import pytest
import torch
from torch import Tensor
from vidgen import UserError
from vidgen.rng import Draws
from vidgen_diffusion.betas import named_betas, spaced_betas
from vidgen_diffusion.frames import GivenFrames, mean_of_frames
from vidgen_diffusion.loss import DenoisingLoss
from vidgen_diffusion.padding import clip_sizes, noise_for
from vidgen_diffusion.prediction import Prediction, data_from, noise_from, target
from vidgen_diffusion.step_noise import StepNoise

SHAPE = (3, 2, 4, 5)
KINDS: tuple[Prediction, ...] = ("epsilon", "v_prediction", "sample")


def draws(batch: int) -> Draws:
    return Draws(3, [(row,) for row in range(batch)])


def latents(batch: int = 2, seed: int = 1) -> Tensor:
    return torch.randn((batch, *SHAPE), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["linear", "squaredcos_cap_v2", "quad", "const", "jsd", "warmup10", "warmup50"])
def test_every_schedule_adds_more_and_more_noise(name: str):
    betas = named_betas(name, 50)
    assert betas.shape == (50,) and betas.dtype == torch.float64 and betas.device.type == "cpu"
    assert (betas > 0).all() and (betas.diff() >= 0).all()


def test_schedules_are_made_on_the_cpu_in_a_dry_run():
    with torch.device("meta"):
        assert named_betas("quad", 7).tolist() and spaced_betas("warmup50", 0.1, 0.2, 4).tolist() == [
            0.1,
            0.2,
            0.2,
            0.2,
        ]


@pytest.mark.parametrize("kind", KINDS)
def test_data_and_noise_are_read_off_any_kind_of_prediction(kind: Prediction):
    x, noise = latents(), latents(seed=2)
    predicted, x_t = target(kind, x, noise, 0.8, 0.6), 0.8 * x + 0.6 * noise
    torch.testing.assert_close(data_from(kind, predicted, x_t, 0.8, 0.6), x)
    torch.testing.assert_close(noise_from(kind, predicted, x_t, 0.8, 0.6), noise)


def loss_of(**options: Any) -> DenoisingLoss:
    product = (1 - named_betas("linear", 1000)).cumprod(0)
    return DenoisingLoss(**{"alphas_cumprod": product, "kind": "epsilon", "bounds": (0, 999), **options})


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_knows_the_target_loses_nothing(kind: Prediction):
    loss, x, noise, t = loss_of(kind=kind), latents(), latents(seed=2), torch.tensor([3, 700])
    knows = loss.target(x, noise, t)
    losses = loss(lambda x, t: torch.cat([knows, x], dim=1), x, {}, noise=noise, t=t)
    assert losses["loss"].shape == (2,) and losses["loss"].abs().max() == 0


@pytest.mark.parametrize(("kind", "more"), [("epsilon", 0), ("v_prediction", 1)])
def test_errors_are_weighed_by_the_signal_to_noise_up_to_gamma(kind: Prediction, more: int):
    """arXiv 2303.09556, section 3.4."""
    loss, t = loss_of(kind=kind, snr_gamma=5.0), torch.tensor([0, 250, 999])
    product = loss.alphas_cumprod[t]
    snr = product / (1 - product)
    torch.testing.assert_close(loss.weights(t), (snr.clamp(max=5) / (snr + more)).float(), rtol=1e-3, atol=0)


def test_offset_noise_is_the_same_in_all_frames_and_pixels():
    plain, offset = (loss_of(noise_offset=o).draw_noise(draws(2), latents()) for o in (0.0, 0.5))
    shift = offset - plain
    assert shift.flatten(2).std(dim=2).max() < 1e-6 and shift.abs().max() > 0.05


def test_times_are_drawn_within_their_bounds():
    seen = []

    def model(x: Tensor, t: Tensor) -> Tensor:
        seen.append(t)
        return x

    loss_of(bounds=(250, 260))(model, latents(200), {}, draws=draws(200))
    assert seen[0].unique().tolist() == list(range(250, 261))


def with_padding() -> tuple[Tensor, Tensor]:
    """Errors of two clips, (2, 3, 2, 4, 5), and where they are no padding: the second has 1 frame of 3 rows."""
    valid = torch.zeros(2, 2, 4, 5)
    valid[0], valid[1, :1, :3] = 1, 1
    return latents().square(), valid


def test_the_mean_of_a_clip_leaves_its_padding_out():
    error, valid = with_padding()
    whole, smaller = error[0], error[1, :, :1, :3]
    torch.testing.assert_close(mean_of_frames(error, None, valid), torch.stack([whole.mean(), smaller.mean()]))
    error[1, :, 1] = torch.nan
    assert mean_of_frames(error, None, valid).isfinite().all()


def test_of_frames_and_padding_counts_what_both_admit():
    error, valid = with_padding()
    mask = torch.tensor([[False, True], [True, True]])
    expected = torch.stack([error[0, :, 1].mean(), error[1, :, :1, :3].mean()])
    torch.testing.assert_close(mean_of_frames(error, mask, valid), expected)


@pytest.mark.parametrize("of_batch", [True, False])
def test_padding_counts_for_nothing_in_each_clip_or_in_the_batch(of_batch: bool):
    x, (_, valid) = latents(), with_padding()
    call: dict[str, Any] = {"noise": latents(seed=2), "t": torch.tensor([3, 700])}
    error = (call["noise"] - x).square() * valid[:, None]
    losses = loss_of(of_batch=of_batch)(lambda noisy, t: x, x, {}, **call, valid=valid)
    sums, counts = error.sum(dim=(1, 2, 3, 4)), 3 * valid.sum(dim=(1, 2, 3))
    expected = sums.sum() / counts.sum() if of_batch else (sums / counts).mean()
    torch.testing.assert_close(losses["loss"].mean(), expected)


def test_a_padded_clip_gets_the_noise_it_gets_alone():
    _, valid = with_padding()
    assert clip_sizes(valid) == [(2, 4, 5), (1, 3, 5)]
    noise, alone = noise_for(draws(2), latents(), valid), Draws(3, [(1,)])
    assert torch.equal(noise[0], draws(2).normal("noise", SHAPE)[0])
    assert torch.equal(noise[1, :, :1, :3], alone.normal("noise", (3, 1, 3, 5))[0])
    assert not noise[1, :, 1:].any() and not noise[1, :, :, 3:].any()
    assert torch.equal(noise_for(draws(2), latents(), None), draws(2).normal("noise", SHAPE))


def test_padding_of_another_shape_is_refused():
    with pytest.raises(UserError, match=r"valid has shape \(2, 2\), but the latents need \(2, 2, 4, 5\)"):
        loss_of()(lambda x, t: x, latents(), {}, draws=draws(2), valid=torch.ones(2, 2))


def test_frames_outside_the_mask_are_shown_clean_and_not_learned():
    x, noise, mask = latents(), latents(seed=2), torch.tensor([[True, False], [True, True]])
    seen: dict[str, Tensor] = {}

    def model(noisy: Tensor, t: Tensor, x_mask: Tensor) -> Tensor:
        seen.update(x=noisy, mask=x_mask)
        return 0 * noisy

    losses = loss_of()(model, x, {}, noise=noise, t=torch.tensor([3, 700]), mask=mask)
    assert torch.equal(seen["x"][0, :, 1], x[0, :, 1]) and torch.equal(seen["mask"], mask)
    torch.testing.assert_close(losses["loss"], mean_of_frames(noise.square(), mask))
    torch.testing.assert_close(losses["loss"][0], noise[0, :, 0].square().mean())


def test_given_frames_are_shown_clean_until_their_share_of_time():
    z, mask, times = latents(), torch.tensor([[0.0, 1.0], [0.5, 1.0]]), torch.tensor([900.0, 500.0, 100.0])
    frames = GivenFrames(mask, z, times, 1000, draws(2))
    assert frames.active.tolist() == [
        [[False, True], [False, True]],
        [[False, True], [True, True]],
        [[False, True], [True, True]],
    ]
    x = latents(seed=5)
    shown = frames.shown(0, x)
    assert torch.equal(shown[:, :, 0], z[:, :, 0]) and torch.equal(shown[:, :, 1], x[:, :, 1])
    assert torch.equal(frames.data(1, x)[1], x[1])
    finished = frames.finish(x)
    assert torch.equal(finished[0, :, 0], z[0, :, 0]) and torch.equal(finished[1], x[1])


def test_edited_frames_start_as_noisy_as_the_others():
    z, mask = latents(), torch.tensor([[0.0, 1.0], [0.5, 1.0]])
    frames = GivenFrames(mask, z, torch.tensor([900.0]), 1000, draws(2))
    start = frames.start(0.6, 0.8)
    assert torch.equal(start[:, :, 1], z[:, :, 1])
    noise = (start[1, :, 0] - 0.6 * z[1, :, 0]) / 0.8
    torch.testing.assert_close(noise, draws(2).normal("edited", SHAPE)[1, :, 0])


def test_kept_frames_need_no_noise_but_edited_ones_do():
    GivenFrames(torch.tensor([[0.0, 1.0]]), latents(1), torch.tensor([900.0]), 1000, None)
    with pytest.raises(UserError, match="random numbers are needed for edited frames"):
        GivenFrames(torch.tensor([[0.5, 1.0]]), latents(1), torch.tensor([900.0]), 1000, None)


def test_noise_drawn_ahead_is_that_of_its_address_in_any_order():
    noise = StepNoise(draws(2), latents().double(), [3, 2, 1])
    for i in (3, 2, 2, 5, 1, 1):
        assert torch.equal(noise(i), draws(2).normal("step", SHAPE, step=i).double())
