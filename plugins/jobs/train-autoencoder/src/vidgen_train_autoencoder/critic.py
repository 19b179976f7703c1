"""The discriminator of a run: what it says of clips, and its own steps."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from vidgen.engine.optimization import make_optimizer, set_learning_rate
from vidgen.interfaces import Parallel
from vidgen.recipe.schema import OptimizerOptions
from vidgen.rng import address

from vidgen_train_autoencoder.adversarial import AdversarialLoss, DiscriminatorLoss, LecamEma
from vidgen_train_autoencoder.discriminators import NLayerDiscriminator, NLayerDiscriminator3D, initialise
from vidgen_train_autoencoder.recipe import DiscriminatorOptions, fewest_frames
from vidgen_train_autoencoder.reconstruction import frames_of

NETWORKS = {"2d": NLayerDiscriminator, "3d": NLayerDiscriminator3D}


def build_discriminator(options: DiscriminatorOptions, seed: int) -> nn.Module:
    """The network with start values that depend on the seed alone, on the default device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(address(seed, "initial weights of the discriminator"))
        network = NETWORKS[options.type](3, options.ndf, options.n_layers)
        initialise(network)
    return network


class Critic:
    """Trained by turns with the autoencoder, with an optimizer of its own. parallel: an engine of its own."""

    def __init__(
        self, options: DiscriminatorOptions, optimizer: OptimizerOptions, parallel: Parallel, seed: int
    ) -> None:
        self.options, self.parallel = options, parallel
        self.network = build_discriminator(options, seed).to(parallel.device)
        self.optimizer = parallel.prepare(self.network, partial(make_optimizer, options=optimizer))
        self.max_norm = optimizer.grad_clip
        self.ema = LecamEma(parallel.device)
        self.generator_loss = AdversarialLoss(
            options.factor, options.start, options.generator_factor, options.generator_loss_type
        )
        self.loss = DiscriminatorLoss(
            options.factor,
            options.start,
            options.discriminator_loss_type,
            options.lecam_loss_weight,
            options.gradient_penalty_loss_weight,
        )

    def plays(self, video: Tensor, step: int) -> bool:
        """Whether clips (B, 3, T, H, W) are long enough for it, and the game has begun."""
        enough = self.options.type == "2d" or video.shape[2] >= fewest_frames(self.options.n_layers)
        return enough and step >= self.options.start

    def adversarial(self, rebuilt: Tensor, nll_loss: Tensor, last_layer: Tensor, step: int) -> Tensor:
        """What reconstructions (B, 3, T, H, W) lose to it, a scalar; its own weights gather no gradient."""
        with self._frozen():
            logits = self._logits(rebuilt)
        return self.generator_loss(logits, nll_loss, last_layer, step)

    def learn(self, real: Tensor, rebuilt: Tensor, step: int, lr: float) -> tuple[dict[str, Tensor], Tensor]:
        """One step of its own on clips (B, 3, T, H, W). Returns numbers for the log, and the norm of its gradient
        before clipping."""
        real = real.detach().requires_grad_(self.loss.gradient_penalty_loss_weight > 0)
        real_logits, fake_logits = self._logits(real), self._logits(rebuilt)
        self.ema.update(real_logits, fake_logits)
        terms = self.loss(real_logits, fake_logits, step, self.ema.real, self.ema.fake, real)
        total = terms.weighted_d_adversarial_loss + terms.lecam_loss + terms.gradient_penalty_loss
        self.parallel.backward(total)
        set_learning_rate(self.optimizer, lr)
        norm = self.parallel.step(self.max_norm)
        told = {"discriminator": total, "real_logits": real_logits.mean(), "fake_logits": fake_logits.mean()}
        return {name: value.detach().float() for name, value in told.items()}, norm

    def silence(self) -> dict[str, Tensor]:
        """What `learn` would tell of a step in which it does not play."""
        zero = torch.zeros((), device=self.parallel.device)
        return dict.fromkeys(("discriminator", "real_logits", "fake_logits"), zero)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers beside weights and optimizer."""
        return {"ema": self.ema.state_dict(), "parallel": self.parallel.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self.ema.load_state_dict(state["ema"])
        self.parallel.load_state_dict(state["parallel"])

    def _logits(self, video: Tensor) -> Tensor:
        with self.parallel.autocast():
            seen = frames_of(video) if self.options.type == "2d" else video
            return self.network(seen).float()

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        self.network.requires_grad_(False)
        try:
            yield
        finally:
            self.network.requires_grad_(True)
