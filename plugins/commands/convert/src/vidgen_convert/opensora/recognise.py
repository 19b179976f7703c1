"""Which job a configuration is for, and which release of Open-Sora it was written for."""

from collections.abc import Mapping
from typing import Any, Literal

from vidgen.errors import UserError

from vidgen_convert.settings import Settings

Job = Literal["train", "sample", "encode", "train-autoencoder", "reconstruct", "search-batch-size"]
Release = Literal["1.0", "1.1", "1.2"]

AUTOENCODERS = ("OpenSoraVAE_V1_2", "VideoAutoencoderPipeline", "VideoAutoencoderKL")
LOSSES = ("use_real_rec_loss", "use_z_rec_loss", "mixed_strategy", "discriminator_start")
TRAINS = ("lr", "epochs", "plugin", "grad_clip", "ckpt_every", "mask_ratios")
SAMPLES = ("save_dir", "prompt_path", "prompt", "scheduler.num_sampling_steps")
KEEPS_FEATURES = ("save_text_features", "save_compressed_text_features")


def job_of(settings: Settings, file: str) -> Job:
    """The job. Raises: UserError, when there is none like it, or nothing tells which."""
    if "num_eval_timesteps" in settings:
        raise UserError(
            f"{file} measures the loss of a trained model at fixed times (num_eval_timesteps), which is no job here: "
            "it is measured while a model is trained. Write held_out: {rows: 100, timesteps: 10} into the recipe of "
            "the training"
        )
    if settings.value("model.type") in AUTOENCODERS or settings.has_section("model.vae_2d"):
        return "train-autoencoder" if _any(settings, (*TRAINS, "discriminator_start")) else "reconstruct"
    if "base" in settings or "base_step_time" in settings or _searches(settings.value("bucket_config")):
        return "search-batch-size"
    if _any(settings, KEEPS_FEATURES):
        return "encode"
    if _any(settings, TRAINS):
        return "train"
    if _any(settings, SAMPLES):
        return "sample"
    raise UserError(
        f"{file}: nothing tells whether it trains (lr, epochs, plugin, ...) or samples (prompt_path, save_dir, ...). "
        "Give a whole configuration of Open-Sora 1.0, 1.1 or 1.2"
    )


def release_of(settings: Settings) -> Release:
    """The release whose defaults hold."""
    model, vae = str(settings.value("model.type", "")), str(settings.value("vae.type", ""))
    newest = ("STDiT3" in model, vae == "OpenSoraVAE_V1_2", settings.value("scheduler.type") == "rflow")
    if any(newest) or model in AUTOENCODERS or _any(settings, ("aes", "flow", "save_fps", "ema_decay", "adam_eps")):
        return "1.2"
    dated = ("data_path", "root", "use_image_transform")
    if "STDiT2" in model or (settings.has_section("dataset") and not _any(settings, dated)):
        return "1.1"
    return "1.0"


def _any(settings: Settings, keys: tuple[str, ...]) -> bool:
    return any(key in settings for key in keys)


def _searches(buckets: Any) -> bool:
    """Whether all entries are (guess, range): two whole numbers, of which the first is no probability."""
    if not isinstance(buckets, Mapping):
        return False
    entries = [entry for one in buckets.values() if isinstance(one, Mapping) for entry in one.values()]
    return bool(entries) and all(map(_is_range, entries)) and any(entry[0] > 1 for entry in entries)


def _is_range(entry: Any) -> bool:
    return isinstance(entry, list | tuple) and len(entry) == 2 and all(type(one) is int for one in entry)
