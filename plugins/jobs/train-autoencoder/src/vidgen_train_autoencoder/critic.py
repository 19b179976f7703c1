"""The discriminator of a run: what it says of clips, and its own steps."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from vidgen.engine.optimization import set_learning_rate
from vidgen.interfaces import Parallel
from vidgen.recipe.schema import OptimizerOptions
from vidgen.rng import address

from vidgen_train_autoencoder.adversarial import AdversarialLoss, DiscriminatorLoss, LecamEma
from vidgen_train_autoencoder.care import detour, take_into_care
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


class Lesson(NamedTuple):
    """Of one step: the scalar to be minimised, and the means of the logits."""

    total: Tensor
    real_logits: Tensor
    fake_logits: Tensor


class Critic:
    """Trained by turns with the autoencoder, with an optimizer of its own. parallel: an engine of its own.

    Its batch norms take the statistics of this rank's clips, and their running means are averaged over ranks.
    """

    def __init__(
        self, options: DiscriminatorOptions, optimizer: OptimizerOptions, parallel: Parallel, seed: int
    ) -> None:
        self.options, self.parallel = options, parallel
        self.network = build_discriminator(options, seed).to(parallel.device)
        self._held, self.optimizer = take_into_care(self.network, parallel, optimizer)
        self.max_norm = optimizer.grad_clip
        self.ema = LecamEma(parallel.device, world=parallel.world)
        self.generator_loss = AdversarialLoss(
            options.factor, options.start, options.generator_factor, options.generator_loss_type, parallel.world
        )
        self.loss = DiscriminatorLoss(
            options.factor,
            options.start,
            options.discriminator_loss_type,
            options.lecam_loss_weight,
            options.gradient_penalty_loss_weight,
            parallel.world,
        )

    def plays(self, video: Tensor, step: int) -> bool:
        """Whether clips (B, 3, T, H, W) are long enough for it, and the game has begun."""
        enough = self.options.type == "2d" or video.shape[2] >= fewest_frames(self.options.n_layers)
        return enough and step >= self.options.start

    def adversarial(self, rebuilt: Tensor, nll_loss: Tensor, last_layer: Tensor, step: int) -> Tensor:
        """What reconstructions (B, 3, T, H, W) lose to it, a scalar; its own weights gather no gradient."""
        logits = detour(lambda seen: self._held(self._logits, seen), rebuilt)
        return self.generator_loss(logits, nll_loss, last_layer, step)

    def learn(self, real: Tensor, rebuilt: Tensor, step: int, lr: float) -> tuple[dict[str, Tensor], Tensor]:
        """One step of its own on clips (B, 3, T, H, W). Returns numbers for the log, and the norm of its gradient
        before clipping."""
        lesson: Lesson = self._held(self._lesson, real, rebuilt, step)
        self.parallel.backward(lesson.total)
        set_learning_rate(self.optimizer, lr)
        norm = self.parallel.step(self.max_norm)
        self._share_running_means()
        told = {"discriminator": lesson.total, "real_logits": lesson.real_logits, "fake_logits": lesson.fake_logits}
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

    def _lesson(self, real: Tensor, rebuilt: Tensor, step: int) -> Lesson:
        real = real.detach().requires_grad_(self.loss.gradient_penalty_loss_weight > 0)
        real_logits, fake_logits = self._logits(real), self._logits(rebuilt)
        self.ema.update(real_logits, fake_logits)
        terms = self.loss(real_logits, fake_logits, step, self.ema.real, self.ema.fake, real)
        total = terms.weighted_d_adversarial_loss + terms.lecam_loss + terms.gradient_penalty_loss
        return Lesson(total, real_logits.detach().mean(), fake_logits.detach().mean())

    def _share_running_means(self) -> None:
        """Nothing is computed with them; ranks are to save the same."""
        world, means = self.parallel.world, [one for one in self.network.buffers() if one.is_floating_point()]
        if world.size > 1 and means:
            shared = world.mean(torch.cat([one.flatten() for one in means])).split([one.numel() for one in means])
            for one, mean in zip(means, shared, strict=True):
                one.copy_(mean.view_as(one))

    def _logits(self, video: Tensor) -> Tensor:
        with self.parallel.autocast():
            seen = frames_of(video) if self.options.type == "2d" else video
            return self.network(seen).float()
