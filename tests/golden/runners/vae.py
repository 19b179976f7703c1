"""Cases of the autoencoders of Open-Sora 1.2: image and temporal parts, the whole, posteriors, sizes, listings."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from comparing import close, inputs, outputs
from einops import rearrange
from torch import Tensor, nn
from vidgen.interfaces import Context, Size3
from vidgen_autoencoder_kl import TemporalDecoderOptions, VideoAutoencoderKLOptions, frames, temporal_decoder
from vidgen_autoencoders.posterior import Posterior
from vidgen_opensora_vae import OpenSoraVAEOptions, PipelineOptions, SpatialOptions, TemporalOptions, build
from vidgen_opensora_vae.pipeline import VideoAutoencoderPipeline
from weight_rule import check_listing, fill

Made = dict[str, Tensor]
OF_NO_EFFECT = ("cache_dir", "local_files_only")  # where the reference looked for files
SUMS = ("kl", "kl_other", "nll")
CONFIGS = ("autoencoder_kl_config", "autoencoder_config")


class RecordedDraws:
    """Stands for `vidgen.rng.Draws`: recorded noise by purpose, (B, ...) each."""

    def __init__(self, **noises: Tensor) -> None:
        self.noises = noises

    def normal(self, purpose: str, shape: Sequence[int], *, device: Any = "cpu", step: int = 0) -> Tensor:
        noise = self.noises[purpose.replace(" ", "_")]
        assert tuple(noise.shape[1:]) == tuple(shape), f"{purpose}: {tuple(shape)} asked, {tuple(noise.shape)} recorded"
        return noise


def matches(reference: str, case: dict[str, Any]) -> bool:
    """Whether the case's class is one of this family that vidgen has."""
    return reference.startswith("hpcaitech/Open-Sora") and _name(reference) in RUN


def run(case: dict[str, Any], tensors: Made, folder: Path) -> None:
    """Run one case. Raises: AssertionError, when a number or name differs or the case asks for something unknown."""
    name = _name(case["reference"])
    if "tables" in case:
        _run_sizes(case)
        return
    if not tensors:
        _run_listing(case, name)
        return
    wanted = outputs(tensors)
    made = RUN[name](case, inputs(tensors))
    for key, value in wanted.items():
        assert key in made, f"no way to make {key}"
        if case["constructor"].get("deterministic") and key in SUMS:  # the number 0, in whatever shape
            made[key] = made[key].sum().expand(value.shape)
        close(key, made[key], value, case.get("tolerance_per_output", {}).get(key, case["tolerance"]))


def _run_posterior(case: dict[str, Any], given: Made) -> Made:
    posterior = Posterior(given["moments"], **case["constructor"])
    made = {"mode": posterior.mode(), "std": posterior.std, "var": posterior.var, "kl": posterior.kl()}
    made |= {"mean": posterior.mean, "logvar": posterior.logvar}
    made |= {"log_std": posterior.std.log(), "log_var": posterior.var.log()}
    if "other_moments" in given:
        made["kl_other"] = posterior.kl(Posterior(given["other_moments"]))
    if "sample" in given:
        made["nll"] = posterior.nll(given["sample"])
    if "noise" in given:
        made["sample"] = posterior.sample(given["noise"])
    return made


def _run_frames(case: dict[str, Any], given: Made) -> Made:
    vae = _filled(case, _frame_autoencoder(case["constructor"]))
    made = {}
    if "x" in given:
        x = given["x"]
        posterior = vae.posterior(x)
        draws = RecordedDraws(posterior=_of_clips(given["noise"], len(x)))
        made = {"z": vae.encode(x, draws), "z_mean": vae.encode(x)}
        made["moments"] = rearrange(posterior.moments, "b c t h w -> (b t) c h w")
    if "latents" in given:
        made["decoded"] = vae.decode(given["latents"])
    return made


def _run_temporal_decoder(case: dict[str, Any], given: Made) -> Made:
    return {"decoded": _filled(case, _temporal_decoder(case["constructor"])).decode(given["latents"])}


def _run_temporal(case: dict[str, Any], given: Made) -> Made:
    vae = _filled(case, _temporal_autoencoder(case["constructor"]), size=_temporal_size)
    num_frames, made = case["call"].get("num_frames"), {}
    if "x" in given:
        num_frames = given["x"].shape[2] if num_frames is None else num_frames
        posterior = vae.encode(given["x"])
        z = posterior.sample(given["noise"]) if "noise" in given else posterior.mode()
        made = {"z": z, "moments": posterior.moments, "mean": posterior.mean, "kl": posterior.kl()}
        made["recon"] = vae.decode(z, num_frames)
    if "latents" in given:
        made["decoded"] = vae.decode(given["latents"], num_frames)
    return made


def _run_pipeline(case: dict[str, Any], given: Made) -> Made:
    vae = _filled(case, _pipeline(case["constructor"]))
    made = {}
    if "x" in given:
        made |= _encoded(case, vae, given)
    if "latents" in given:
        made |= _decoded(case, vae, given["latents"])
    return made


def _encoded(case: dict[str, Any], vae: VideoAutoencoderPipeline, given: Made) -> Made:
    x = given["x"]
    draws = RecordedDraws(
        posterior_of_frames=_of_clips(given["noise_spatial"], len(x)), posterior=given["noise_temporal"]
    )
    parts = vae.encode_parts(x, draws)
    last = case.get("latent_chunks", [parts.z.shape[2]])[-1]
    moments = parts.posterior.moments[:, :, -last:]
    made = {"z": vae.encode(x, draws), "x_z": parts.x_z, "last_chunk_moments": moments}
    if case["constructor"].get("cal_loss"):
        there_and_back = vae(x, draws)
        made |= {"z": parts.z, "x_rec": there_and_back.video, "x_z_rec": there_and_back.x_z}
        made["kl"] = Posterior(moments).kl()
    return made


def _decoded(case: dict[str, Any], vae: VideoAutoencoderPipeline, latents: Tensor) -> Made:
    if not case["constructor"].get("cal_loss"):
        return {"decoded": vae.decode(latents, case["call"]["num_frames"])}
    video, x_z = vae.decode_parts(latents, case["call"]["num_frames"])
    return {"decoded": video, "decoded_x_z": x_z}


def _run_sizes(case: dict[str, Any]) -> None:
    """Sizes of the full autoencoder for several lengths of pieces. An axis left open (None) is left out, which is as
    good, since the axes do not depend on one another."""
    for table in case["tables"]:
        with torch.device("meta"):
            vae = build.build_opensora_vae(
                OpenSoraVAEOptions(micro_frame_size=table["micro_frame_size"]), Context(load_weights=False)
            )
        for given, wanted in table["pairs"]:
            _check_size(vae.latent_size, given, wanted)


def _run_listing(case: dict[str, Any], name: str) -> None:
    with torch.device("meta"):
        model = LISTED[name](case["constructor"])
    check_listing(model, case["state_dict"])
    saved = model.state_dict()
    assert sum(parameter.numel() for parameter in model.parameters()) == case["parameters"]
    assert sum(value.numel() for key, value in model.named_buffers() if key in saved) == case["buffer_elements"]


def _filled(case: dict[str, Any], model: Any, size: Callable[[Any, Size3], Size3] | None = None) -> Any:
    """The model with the case's weights, in its mode; its latent size checked where the case has one."""
    if "latent_size" in case:
        sizes = case["latent_size"]
        _check_size(
            lambda whole: size(model, whole) if size else model.latent_size(whole), sizes["input"], sizes["output"]
        )
    fill(model, case["state_dict"], case["kept"])
    return model.train({"train": True, "eval": False}[case["mode"]]).requires_grad_(False)


def _check_size(
    latent_size: Callable[[Size3], Size3], given: Sequence[int | None], wanted: Sequence[int | None]
) -> None:
    frames, rows, columns = (64 if length is None else length for length in given)
    made = latent_size((frames, rows, columns))
    shown = [None if was is None else one for was, one in zip(given, made, strict=True)]
    assert shown == list(wanted), f"latent size of {given}: {shown}, wanted {wanted}"


def _temporal_size(vae: Any, video_size: Size3) -> Size3:
    return vae.latent_frames(video_size[0]), video_size[1], video_size[2]


def _frame_autoencoder(constructor: Mapping[str, Any]) -> nn.Module:
    return frames.build(VideoAutoencoderKLOptions(**_options(constructor)), _context())


def _temporal_decoder(constructor: Mapping[str, Any]) -> nn.Module:
    return temporal_decoder.build(TemporalDecoderOptions(**_options(constructor)), _context())


def _temporal_autoencoder(constructor: Mapping[str, Any], kind: str = "VAE_Temporal") -> nn.Module:
    return build.temporal_autoencoder(TemporalOptions(**{"type": kind, **_options(constructor)}))


def _pipeline(constructor: Mapping[str, Any]) -> nn.Module:
    if "vae_2d" not in constructor:
        return _opensora_vae(constructor)
    given = dict(constructor)
    parts = {
        "vae_2d": SpatialOptions(**_options(given.pop("vae_2d"))),
        "vae_temporal": TemporalOptions(**_options(given.pop("vae_temporal"))),
    }
    return build.build(PipelineOptions(**_options(given), **parts), _context())


def _opensora_vae(constructor: Mapping[str, Any]) -> nn.Module:
    given = dict(constructor)
    temporal = given.pop("vae_temporal", {})
    parts = {
        "vae_2d": SpatialOptions(**_options({key: given.pop(key) for key in CONFIGS if key in given})),
        "vae_temporal": TemporalOptions(
            **_options({} if isinstance(temporal, str) else temporal)
        ),  # words: the default
    }
    return build.build_opensora_vae(OpenSoraVAEOptions(**_options(given), **parts), _context())


def _options(constructor: Mapping[str, Any]) -> dict[str, Any]:
    """The case's constructor arguments as options here."""
    return dict(_renamed(constructor))


def _renamed(constructor: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in constructor.items():
        if key in CONFIGS:
            yield "config", value
        elif key not in OF_NO_EFFECT:
            yield key, tuple(value) if isinstance(value, list) else value


def _context() -> Context:
    return Context(load_weights=False)


def _of_clips(noise: Tensor, clips: int) -> Tensor:
    """Recorded frame by frame, clip after clip, (B T, C, H, W) -> (B, C, T, H, W)."""
    return rearrange(noise, "(b t) c h w -> b c t h w", b=clips)


def _name(reference: str) -> str:
    """`hpcaitech/Open-Sora v1.2.0 NAME ...` -> NAME."""
    return reference.split()[2].rstrip(",;")


RUN: dict[str, Callable[[dict[str, Any], Made], Made]] = {
    "VideoAutoencoderKL": _run_frames,
    "VideoAutoencoderKLTemporalDecoder": _run_temporal_decoder,
    "VAE_Temporal": _run_temporal,
    "VAE_Temporal_SD": _run_temporal,
    "VideoAutoencoderPipeline": _run_pipeline,
    "OpenSoraVAE_V1_2": _run_pipeline,
    "DiagonalGaussianDistribution": _run_posterior,
}
LISTED: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    "VideoAutoencoderKL": _frame_autoencoder,
    "VideoAutoencoderKLTemporalDecoder": _temporal_decoder,
    "VAE_Temporal": _temporal_autoencoder,
    "VAE_Temporal_SD": lambda constructor: _temporal_autoencoder(constructor, "VAE_Temporal_SD"),
    "VideoAutoencoderPipeline": _pipeline,
    "OpenSoraVAE_V1_2": _opensora_vae,
}
