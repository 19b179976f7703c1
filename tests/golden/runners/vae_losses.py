"""Cases of autoencoder training: Open-Sora's losses, its perceptual distance and its patch discriminators."""

from pathlib import Path
from typing import Any

import torch
from comparing import close, inputs, outputs
from torch import Tensor, nn
from vidgen_autoencoders.posterior import Posterior
from vidgen_train_autoencoder.adversarial import AdversarialLoss, DiscriminatorLoss
from vidgen_train_autoencoder.discriminators import NLayerDiscriminator, NLayerDiscriminator3D
from vidgen_train_autoencoder.lpips import LPIPS
from vidgen_train_autoencoder.reconstruction import VAELoss
from weight_rule import check_listing, fill

NETWORKS: dict[str, type[nn.Module]] = {
    "LPIPS": LPIPS,
    "NLayerDiscriminator": NLayerDiscriminator,
    "NLayerDiscriminator3D": NLayerDiscriminator3D,
    "N_Layer_DISCRIMINATOR_3D": NLayerDiscriminator3D,
}
LOSSES = ("VAELoss", "AdversarialLoss", "DiscriminatorLoss")
PERCEPTUAL = "perceptual_loss_fn."


def matches(reference: str, case: dict[str, Any]) -> bool:
    """Whether the case's class is one of autoencoder training."""
    return reference.startswith("hpcaitech/Open-Sora") and _name(reference) in (*NETWORKS, *LOSSES)


def run(case: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> None:
    """Run one case. Raises: AssertionError, when a number or name differs or the case asks for something unknown."""
    name = _name(case["reference"])
    if not tensors:
        _run_listing(case, NETWORKS[name])
        return
    make = {"VAELoss": _vae_loss, "AdversarialLoss": _adversarial_loss, "DiscriminatorLoss": _discriminator_loss}
    given = inputs(tensors)
    made = make[name](case, given) if name in make else _network(case, NETWORKS[name], given)
    for key, wanted in outputs(tensors).items():
        assert key in made, f"no way to make {key}"
        close(key, made[key], wanted, case.get("tolerance_per_output", {}).get(key, case["tolerance"]))


def _name(reference: str) -> str:
    """`hpcaitech/Open-Sora v1.2.0 LPIPS (opensora/models/vae/lpips) ...`: the third word."""
    return reference.split()[2].rstrip(",")


def _run_listing(case: dict[str, Any], network: type[nn.Module]) -> None:
    with torch.device("meta"):
        module = network(**case["constructor"])
    check_listing(module, case["state_dict"])
    saved = module.state_dict()
    assert sum(p.numel() for p in module.parameters()) == case["parameters"]
    assert sum(b.numel() for name, b in module.named_buffers() if name in saved) == case["buffer_elements"]


def _network(case: dict[str, Any], network: type[nn.Module], given: dict[str, Tensor]) -> dict[str, Tensor]:
    module = network(**case["constructor"])
    fill(module, case["state_dict"], case["kept"])
    module.train({"train": True, "eval": False}[case["mode"]])
    result = "distance" if network is LPIPS else "logits"
    made = {result: module(**given, **case["call"])}
    return made | {f"after.{name}": value for name, value in module.state_dict().items()}


def _vae_loss(case: dict[str, Any], given: dict[str, Tensor]) -> dict[str, Tensor]:
    perceptual = LPIPS() if "state_dict" in case else None
    loss = VAELoss(**case["constructor"], perceptual=perceptual)
    if perceptual is not None:
        check_listing(loss, case["state_dict"])
        fill(perceptual, [[name.removeprefix(PERCEPTUAL), *rest] for name, *rest in case["state_dict"]], case["kept"])
    posterior = Posterior(given.pop("moments"))
    return loss(posterior=posterior, **given, **case["call"])._asdict()


def _adversarial_loss(case: dict[str, Any], given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The toy generator of the cases: h = a @ w, nll = sum |h - target| / 5, logits h @ b."""
    w = given["w"].requires_grad_()
    h = given["a"] @ w
    nll, fake_logits = (h - given["target"]).abs().sum() / 5, h @ given["b"]
    loss = AdversarialLoss(**case["constructor"])(fake_logits, nll, last_layer=w, **case["call"])
    (nll + loss).backward()
    assert w.grad is not None
    return {"adversarial_loss": loss, "nll": nll, "fake_logits": fake_logits, "grad_w": w.grad}


def _discriminator_loss(case: dict[str, Any], given: dict[str, Tensor]) -> dict[str, Tensor]:
    call: dict[str, Any] = {"real_logits": None, "fake_logits": None, **given, **case["call"]}
    if "w" in given:
        w, real_video = call.pop("w"), given["real_video"].requires_grad_()
        call["real_logits"] = torch.tanh(real_video @ w)
    terms = DiscriminatorLoss(**case["constructor"])(**call)
    return {
        "weighted_d_adversarial_loss": terms.weighted_d_adversarial_loss,
        "lecam_loss": terms.lecam_loss,
        "gradient_penalty": terms.gradient_penalty_loss,
        "real_logits_used": call["real_logits"],
    }
