"""Cases of Open-Sora-Plan's autoencoder: whole and in chunks, its wavelets, listings."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from comparing import close, inputs, outputs
from torch import Tensor
from vidgen.interfaces import Context
from vidgen_autoencoders.posterior import Posterior
from vidgen_wfvae import WFVAEOptions
from vidgen_wfvae.autoencoder import WFVAE
from vidgen_wfvae.build import build
from vidgen_wfvae.chunks import Chunk
from vidgen_wfvae.wavelets import ClipWavelet, FrameWavelet, InverseClipWavelet, InverseFrameWavelet
from weight_rule import check_listing, fill

MODEL, WAVELETS = "WFVAEModel", "HaarWaveletTransform3D"
Made = dict[str, Tensor]


class RecordedDraws:
    """Stands for `vidgen.rng.Draws`: the recorded noise, whatever is asked for."""

    def __init__(self, noise: Tensor) -> None:
        self.noise = noise

    def normal(self, purpose: str, shape: object, *, device: object = "cpu", step: int = 0) -> Tensor:
        assert tuple(self.noise.shape[1:]) == tuple(shape)  # type: ignore[arg-type]
        return self.noise


def matches(reference: str, case: dict[str, Any]) -> bool:
    """Whether the case is of the autoencoder or of the wavelets it is made of."""
    return reference.startswith("PKU-YuanGroup/Open-Sora-Plan") and reference.split()[2] in (MODEL, WAVELETS)


def run(case: dict[str, Any], tensors: Made, folder: Path) -> None:
    """Run one case. Raises: AssertionError, when a number or name differs or the case asks for something unknown."""
    if not tensors:
        _run_listing(case)
        return
    runner: Callable[[dict[str, Any], Made], Made] = _model if case["reference"].split()[2] == MODEL else _wavelets
    made = runner(case, inputs(tensors))
    for key, wanted in outputs(tensors).items():
        assert key in made, f"no way to make {key}"
        close(key, made[key], wanted, case.get("tolerance_per_output", {}).get(key, case["tolerance"]))


def _model(case: dict[str, Any], given: Made) -> Made:
    vae = _filled(case)
    made = {}
    if "x" in given:
        made |= _encoded(vae, given)
    if "z" in given:
        made["decoded"] = vae.decode_draws(given["z"])
        made["decoded_from_latent"] = vae.decode(given["z"]).transpose(1, 2)
    return made


def _encoded(vae: WFVAE, given: Made) -> Made:
    """Lengths that do not come back when decoded are encoded, too, but not by `encode`."""
    posterior = vae.posterior(given["x"])
    made = {"moments": posterior.moments, "mean": posterior.mean, "mode": posterior.mode(), "kl": _kl(posterior)}
    if "noise" in given:
        made["sample"] = posterior.sample(given["noise"])
        made["latent"] = vae.latents(made["sample"])
        if given["x"].shape[2] % vae.stride[0] == 1:
            encoded = vae.encode(given["x"], RecordedDraws(given["noise"]))  # type: ignore[arg-type]
            assert torch.equal(encoded, made["latent"])
    return made


def _kl(posterior: Posterior) -> Tensor:
    """The reference sums over channels, frames and rows alone: (B, W)."""
    columns = posterior.moments.split(1, dim=-1)
    return torch.stack([Posterior(column).kl() for column in columns], dim=1)


def _wavelets(case: dict[str, Any], given: Made) -> Made:
    chunk = Chunk()
    clip, frame = ClipWavelet()(given["x"], chunk), FrameWavelet()(given["x"], chunk)
    return {
        "haar3d": clip,
        "inverse3d": InverseClipWavelet()(clip, chunk),
        "haar2d": frame,
        "inverse2d": InverseFrameWavelet()(frame, chunk),
    }


def _run_listing(case: dict[str, Any]) -> None:
    with torch.device("meta"):
        vae = build(WFVAEOptions(**_options(case["constructor"])), Context(load_weights=False))
    check_listing(vae, case["state_dict"])
    saved = vae.state_dict()
    assert sum(parameter.numel() for parameter in vae.parameters()) == case["parameters"]
    assert sum(value.numel() for name, value in vae.named_buffers() if name in saved) == case["buffer_elements"]


def _filled(case: dict[str, Any]) -> WFVAE:
    vae = build(WFVAEOptions(**_options(case["constructor"]), **_options(case["call"])), Context())
    fill(vae, case["state_dict"], case["kept"])
    return vae.train({"train": True, "eval": False}[case["mode"]]).requires_grad_(False)


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
