"""The game between autoencoder and discriminator: what each loses.

Sources: arXiv 2012.09841, section 3.1 (the adaptive weight); arXiv 2104.03310 (LeCam); arXiv 1704.00028 (gradient
penalty). Values as in Open-Sora 1.2's AdversarialLoss and DiscriminatorLoss.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus
from vidgen.errors import UserError
from vidgen.mesh import World

from vidgen_train_autoencoder.care import over_ranks

LARGEST_WEIGHT = 1e4
TINY = 1e-4

GENERATOR: Mapping[str, Callable[[Tensor], Tensor]] = {
    "hinge": lambda logits: -logits.mean(),
    "non-saturating": lambda logits: softplus(-logits).mean(),
}
DISCRIMINATOR = ("hinge", "vanilla", "non-saturating")


class AdversarialLoss:
    """What the autoencoder loses to the discriminator.

    discriminator_factor: null or 0 switches it off. discriminator_start: the first step, counted from 0, in which it
    counts. generator_factor: beside the adaptive weight. generator_loss_type: hinge or non-saturating. world: ranks
    over which the gradients that are compared are averaged; None: there is one.
    Raises: UserError for another type; Open-Sora accepts `vanilla`, but has no formula for it.
    """

    def __init__(
        self,
        discriminator_factor: float | None = 1.0,
        discriminator_start: int = 50001,
        generator_factor: float = 0.5,
        generator_loss_type: str = "non-saturating",
        world: World | None = None,
    ) -> None:
        self.discriminator_factor, self.discriminator_start = discriminator_factor, discriminator_start
        self.generator_factor, self._world = generator_factor, world or World()
        self._loss = GENERATOR[_known("generator_loss_type", generator_loss_type, tuple(GENERATOR))]

    def __call__(
        self, fake_logits: Tensor, nll_loss: Tensor, last_layer: Tensor, global_step: int, *, is_training: bool = True
    ) -> Tensor:
        """fake_logits: of reconstructions, any shape. nll_loss: their error, a scalar. last_layer: the decoder's last
        weight, at which both gradients are compared. Returns a scalar. Outside training, where nothing has a gradient,
        it is 0."""
        loss = self._loss(fake_logits)
        factor = warmed_up(self.discriminator_factor or 0.0, self.discriminator_start, global_step)
        graded = nll_loss.requires_grad and loss.requires_grad
        if factor == 0 or not (graded or is_training):
            return torch.zeros_like(loss)
        return adaptive_weight(nll_loss, loss, last_layer, self._world) * self.generator_factor * factor * loss


class DiscriminatorTerms(NamedTuple):
    """Scalars; what is switched off is 0."""

    weighted_d_adversarial_loss: Tensor
    lecam_loss: Tensor
    gradient_penalty_loss: Tensor


class DiscriminatorLoss:
    """What the discriminator loses. lecam_loss_weight, gradient_penalty_loss_weight: null or 0 leaves them out; neither
    waits for discriminator_start. world: ranks over which LeCam takes the mean of logits; None: there is one.
    Raises: UserError for an unknown type."""

    def __init__(
        self,
        discriminator_factor: float | None = 1.0,
        discriminator_start: int = 50001,
        discriminator_loss_type: str = "non-saturating",
        lecam_loss_weight: float | None = None,
        gradient_penalty_loss_weight: float | None = None,
        world: World | None = None,
    ) -> None:
        self._world = world or World()
        self.discriminator_factor, self.discriminator_start = discriminator_factor, discriminator_start
        self.kind = _known("discriminator_loss_type", discriminator_loss_type, DISCRIMINATOR)
        self.lecam_loss_weight = lecam_loss_weight or 0.0
        self.gradient_penalty_loss_weight = gradient_penalty_loss_weight or 0.0

    def __call__(
        self,
        real_logits: Tensor | None,
        fake_logits: Tensor | None,
        global_step: int,
        lecam_ema_real: Tensor | None = None,
        lecam_ema_fake: Tensor | None = None,
        real_video: Tensor | None = None,
    ) -> DiscriminatorTerms:
        """real_logits, fake_logits: any shape; one may be missing with `non-saturating`. lecam_ema_*: running means of
        the logits, for LeCam. real_video: what real_logits were made of, with a gradient, for the penalty."""
        given = real_logits if real_logits is not None else fake_logits
        assert given is not None, "logits of one side at least"
        lecam = penalty = given.new_zeros(())
        if self.lecam_loss_weight > 0:
            assert real_logits is not None and fake_logits is not None
            assert lecam_ema_real is not None and lecam_ema_fake is not None, "LeCam needs both averages"
            real, fake = (over_ranks(self._world, logits.mean()) for logits in (real_logits, fake_logits))
            lecam = self.lecam_loss_weight * lecam_loss(real, fake, lecam_ema_real, lecam_ema_fake)
        if self.gradient_penalty_loss_weight > 0:
            assert real_logits is not None and real_video is not None, "the penalty needs the real video"
            penalty = self.gradient_penalty_loss_weight * gradient_penalty(real_video, real_logits)
        factor = warmed_up(self.discriminator_factor or 0.0, self.discriminator_start, global_step)
        return DiscriminatorTerms(factor * self._adversarial(real_logits, fake_logits), lecam, penalty)

    def _adversarial(self, real: Tensor | None, fake: Tensor | None) -> Tensor:
        if self.kind == "hinge":
            assert real is not None and fake is not None, "hinge compares both sides"
            return 0.5 * (relu(1 - real).mean() + relu(1 + fake).mean())
        both = [softplus(sign * side).mean() for sign, side in ((-1, real), (1, fake)) if side is not None]
        return 0.5 * torch.stack(both).sum()


class LecamEma:
    """Running means of a discriminator's logits on real and on reconstructed input, on their device; 0 at the start.

    world: ranks over which means are taken; None: there is one."""

    def __init__(self, device: torch.device, decay: float = 0.999, world: World | None = None) -> None:
        self.decay, self._world = decay, world or World()
        self.real = self.fake = torch.zeros((), device=device)

    @torch.no_grad()
    def update(self, real_logits: Tensor, fake_logits: Tensor) -> None:
        """average = decay * average + (1 - decay) * mean."""
        means = torch.stack([logits.float().mean() for logits in (real_logits, fake_logits)])
        real, fake = self._world.mean(means)
        self.real = self.decay * self.real + (1 - self.decay) * real
        self.fake = self.decay * self.fake + (1 - self.decay) * fake

    def state_dict(self) -> dict[str, float]:
        """Plain numbers; float32 values survive JSON exactly."""
        return {"real": float(self.real), "fake": float(self.fake)}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Take back what `state_dict` gave."""
        self.real, self.fake = (torch.tensor(state[name], device=self.real.device) for name in ("real", "fake"))


def adaptive_weight(nll_loss: Tensor, generator_loss: Tensor, last_layer: Tensor, world: World | None = None) -> Tensor:
    """How much larger the gradient of the error is at the last layer, 0 to 10,000; a constant to the gradient. world:
    ranks over which both gradients are averaged before their lengths are taken."""
    losses = nll_loss, generator_loss
    found = [torch.autograd.grad(loss, last_layer, retain_graph=True)[0].float() for loss in losses]
    error, game = (world or World()).mean(torch.stack(found))
    return (error.norm() / (game.norm() + TINY)).clamp(0.0, LARGEST_WEIGHT).detach()


def warmed_up(factor: float, start: int, global_step: int) -> float:
    """`factor` from step `start` on, 0 before; 0 for a factor that is not above it."""
    return factor if factor > 0 and global_step >= start else 0.0


def lecam_loss(real_logits: Tensor, fake_logits: Tensor, ema_real: Tensor, ema_fake: Tensor) -> Tensor:
    """How far each side has gone beyond where the other has been."""
    return relu(real_logits.mean() - ema_fake) ** 2 + relu(ema_real - fake_logits.mean()) ** 2


def gradient_penalty(real_video: Tensor, real_logits: Tensor) -> Tensor:
    """(|gradient of the logits' sum| - 1)^2, the norm over all values of a sample, mean over samples."""
    (gradient,) = torch.autograd.grad(real_logits.sum(), real_video, create_graph=True)
    return ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()


def _known(key: str, name: str, names: tuple[str, ...]) -> str:
    if name not in names:
        raise UserError(f"{key}: {name!r} has no formula; choose one of {', '.join(names)}.")
    return name
