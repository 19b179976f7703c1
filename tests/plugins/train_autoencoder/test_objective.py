"""What a step learns from, with an autoencoder whose every number is known."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from vidgen.engine.feed import Feed
from vidgen.engine.single import Single
from vidgen.interfaces import Context
from vidgen.recipe.schema import OptimizerOptions
from vidgen.rng import Draws
from vidgen_autoencoders.posterior import Posterior
from vidgen_train_autoencoder.critic import Critic
from vidgen_train_autoencoder.objective import Objective
from vidgen_train_autoencoder.recipe import DiscriminatorOptions
from vidgen_train_autoencoder.train import AutoencoderTraining, TrainAutoencoderJob

VIDEO = (2, 3, 4, 8, 6)
LATENTS = (2, 5, 4, 2, 3)
GAME: dict[str, Any] = {"ndf": 2, "n_layers": 1}


class Known(nn.Module):
    """Reconstructs pixels 0.25 too bright and spatial latents of 1 as 3, draws latents of 1.5, means of 2."""

    latent_channels, stride = 5, (1, 4, 2)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.seen = torch.empty(0)

    @property
    def last_layer(self) -> nn.Parameter:
        return self.weight

    def encode_parts(self, video: Tensor, draws: Draws | None = None) -> Any:
        self.seen = video
        frames = video.shape[2]
        latents = torch.ones(LATENTS)[:, :, :frames]
        moments = torch.cat([torch.full_like(latents, 2.0), torch.zeros_like(latents)], dim=1)
        return type("Parts", (), {"z": 1.5 * latents, "posterior": Posterior(moments), "x_z": latents})

    def decode_parts(self, z: Tensor, num_frames: int) -> tuple[Tensor, Tensor]:
        brighter = (self.seen + 0.25) * self.weight.view(1, 3, 1, 1, 1)
        return brighter, 2 * z * self.weight.mean()


def outcome(recipe: Any, frames: int = 4, critic: Critic | None = None, step: int = 0) -> Any:
    vae = Known()
    objective = Objective(recipe.job.options, vae, Single(torch.device("cpu"), torch.float32), critic)
    draws = Draws(0, [(0, 0), (0, 1)])
    return objective(draws.uniform("video", VIDEO[1:])[:, :, :frames] - 0.5, draws, step), vae


def test_every_term_is_what_its_name_says(recipe_of: Callable[..., Any]) -> None:
    """A frame has 3 x 8 x 6 pixels and 5 x 2 x 3 latents; a clip 4 times as many latents of 2 nats each."""
    recipe = recipe_of(use_z_rec_loss=True, kl_loss_weight=0.01)
    numbers = outcome(recipe)[0].numbers
    assert {name: value.item() for name, value in numbers.items()} == pytest.approx(
        {"loss": 36 + 2.4 + 60, "latents": 2 * 30, "pixels": 0.25 * 144, "kl": 0.01 * 2 * 120, "l1": 0.25}, rel=1e-5
    )


def test_single_frames_draw_their_latents_towards_the_spatial_ones(recipe_of: Callable[..., Any]) -> None:
    changes = {"use_image_identity_loss": True, "mixed_strategy": "mixed_video_random", "use_real_rec_loss": False}
    recipe = recipe_of(**changes)
    assert outcome(recipe, frames=1)[0].numbers["identity"].item() == pytest.approx(0.5 * 30)
    assert outcome(recipe, frames=2)[0].numbers["identity"].item() == 0


def test_the_game_adds_to_the_total_and_leaves_no_gradient_in_the_discriminator(recipe_of: Callable[..., Any]) -> None:
    recipe = recipe_of(discriminator={**GAME, "start": 3}, kl_loss_weight=0.0)
    parallel = Single(torch.device("cpu"), torch.float32)
    critic = Critic(DiscriminatorOptions(**GAME, start=3), OptimizerOptions(), parallel, seed=0)
    before, _ = outcome(recipe, critic=critic, step=2)
    after, vae = outcome(recipe, critic=critic, step=3)
    assert before.numbers["adversarial"] == 0 and before.total == before.numbers["loss"]
    assert after.numbers["loss"].item() == pytest.approx(36, rel=1e-5)
    assert after.total.item() == pytest.approx(36 + after.numbers["adversarial"].item(), rel=1e-5)
    assert after.numbers["adversarial"] != 0
    after.total.backward()
    assert vae.weight.grad is not None
    assert all(p.grad is None and p.requires_grad for p in critic.network.parameters())


def test_a_gradient_of_the_pixels_and_of_the_game_weigh_alike(recipe_of: Callable[..., Any]) -> None:
    """The adaptive weight, halved: at the last layer the game's gradient is half as long as that of the error."""
    recipe = recipe_of(discriminator=GAME, kl_loss_weight=0.0)
    critic = Critic(
        DiscriminatorOptions(**GAME), OptimizerOptions(), Single(torch.device("cpu"), torch.float32), seed=0
    )
    found, vae = outcome(recipe, critic=critic)
    (both,) = torch.autograd.grad(found.total, vae.weight)
    alone, other = outcome(recipe_of(kl_loss_weight=0.0))
    (error,) = torch.autograd.grad(alone.total, other.weight)
    assert (both - error).norm().item() == pytest.approx(0.5 * error.norm().item(), rel=0.05)


def test_no_step_waits_for_the_device(recipe_of: Callable[..., Any], tmp_path: Path) -> None:
    """Between loggings nothing reads a number back, with every loss switched on."""

    class CountReads(TorchDispatchMode):
        reads = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            CountReads.reads += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.item.default)
            return func(*args, **(kwargs or {}))

    game = {**GAME, "lecam_loss_weight": 0.5, "gradient_penalty_loss_weight": 0.1}
    recipe = recipe_of(discriminator=game, use_z_rec_loss=True, ema={"decay": 0.9})
    context = Context(registry=recipe.registry, recipe=recipe.plain())
    job = TrainAutoencoderJob(recipe.job.options, context)
    parallel = Single(torch.device("cpu"), torch.float32)
    training = AutoencoderTraining(job.recipe, job.context, None, parallel)
    feed = Feed(
        training.dataset, training.stream, job.recipe, seed=0, outputs=tmp_path, device=training.parallel.device
    )
    batch = next(iter(feed))
    training.train_step(batch)
    with CountReads():
        training.train_step(batch)
    assert CountReads.reads == 0
