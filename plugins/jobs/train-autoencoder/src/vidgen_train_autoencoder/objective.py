"""What the autoencoder learns from in one step: Open-Sora 1.2's sum of losses."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from vidgen.interfaces import Parallel
from vidgen.rng import Draws

from vidgen_train_autoencoder.critic import Critic
from vidgen_train_autoencoder.lpips import load_lpips
from vidgen_train_autoencoder.recipe import TrainAutoencoderRecipe
from vidgen_train_autoencoder.reconstruction import VAELoss


class Outcome(NamedTuple):
    """Of one step.

    total: the scalar to be minimised. numbers: `loss`, which is the total without the game against the discriminator,
    so that it falls as reconstructions get better, and its terms; scalars without gradient. rebuilt: (B, 3, T, H, W),
    without gradient.
    """

    total: Tensor
    numbers: dict[str, Tensor]
    rebuilt: Tensor


class Objective:
    """vae: a `TrainableAutoencoder`. critic: where the recipe has a discriminator.

    Raises: UserError or RunError, when the weights of the perceptual distance cannot be had.
    """

    def __init__(self, recipe: TrainAutoencoderRecipe, vae: Any, parallel: Parallel, critic: Critic | None) -> None:
        self.recipe, self.vae, self.parallel, self.critic = recipe, vae, parallel, critic
        perceptual = load_lpips(recipe.perceptual_weights).to(parallel.device) if recipe.perceptual_weights else None
        self.loss = VAELoss(recipe.logvar_init, recipe.perceptual_loss_weight, recipe.kl_loss_weight, perceptual)

    def __call__(self, video: Tensor, draws: Draws, step: int) -> Outcome:
        """video: (B, 3, T, H, W) in [-1, 1]. step: counted from 0."""
        with self.parallel.autocast():
            parts = self.vae.encode_parts(video, draws)
            rebuilt, x_z = self.vae.decode_parts(parts.z, video.shape[2])
        rebuilt = rebuilt.float()
        terms = self._latent_terms(parts, x_z)
        adversarial = video.new_zeros(())
        plays = self.critic is not None and self.critic.plays(video, step)
        if self.recipe.use_real_rec_loss or plays:
            with self.parallel.autocast():
                pixels = self.loss(video, rebuilt, parts.posterior)
            if self.recipe.use_real_rec_loss:
                terms |= {"pixels": pixels.weighted_nll_loss, "kl": pixels.weighted_kl_loss}
            if self.critic is not None and plays:
                adversarial = self.critic.adversarial(rebuilt, pixels.nll_loss, self.vae.last_layer, step)
        error = torch.stack(list(terms.values())).sum()
        told = {"loss": error, **terms} | ({"adversarial": adversarial} if self.critic is not None else {})
        told["l1"] = (video - rebuilt).abs().mean()
        numbers = {name: value.detach() for name, value in told.items()}
        return Outcome(error + adversarial, numbers, rebuilt.detach())

    def _latent_terms(self, parts: Any, x_z: Tensor) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        given, drawn = parts.x_z.float(), parts.z.float()
        if self.recipe.use_z_rec_loss:
            terms["latents"] = self._error(given, x_z.float(), parts)
        if self.recipe.use_image_identity_loss:
            alone = given.shape[2] == 1
            terms["identity"] = self._error(given, drawn, parts) if alone else given.new_zeros(())
        return terms

    def _error(self, one: Tensor, other: Tensor, parts: Any) -> Tensor:
        return self.loss(one, other, parts.posterior, no_perceptual=True).weighted_nll_loss
