"""From flags of Open-Sora-Plan's training to `job: train`."""

from collections.abc import Mapping
from math import gcd
from pathlib import Path
from typing import Any

from vidgen_convert.draft import Draft
from vidgen_convert.opensora_plan.common_steps import (
    V1_5_BETAS,
    name_autoencoder,
    name_text_encoder,
    share_clips,
    to_config,
)
from vidgen_convert.opensora_plan.mask_config import mask_ratios_in
from vidgen_convert.parallel import choose_parallel
from vidgen_convert.settings import Setting, Settings

DTYPES: Mapping[str, str] = {"no": "fp32", "fp16": "fp16", "bf16": "bf16"}
DECAYS: Mapping[str, str] = {name: name.partition("_")[0] for name in ("constant", "constant_with_warmup", "linear")}
DECAYS = {**DECAYS, "cosine": "cosine"}
LOGIT_NORMAL = "logit_normal"
WEIGHTINGS = ("sigma_sqrt", "cosmap")
ENGINES = ("zero3", "zero2", "ddp")
MASK_CONFIG: Mapping[str, float] = {"i2v": 5.0, "transition": 4.0, "random_temporal": 1.0}
DEFAULT_TEXT = "The video showcases a scene with coherent and clear visuals."


def finish_training(settings: Settings, launcher: Settings, draft: Draft, *, processes: int, inpaints: bool) -> None:
    """What a table cannot say of a training. processes: that the launcher starts."""
    draft.put("dataset.type", "OpenSoraPlanData")
    draft.put("bucketer.type", "grouped")
    name_autoencoder(settings, draft)
    name_text_encoder(draft)
    _choose_scheduler(settings, draft, inpaints=inpaints)
    _choose_size(settings, draft)
    _start_from(settings, draft)
    _set_types(settings, draft)
    _optimize(settings, draft)
    _choose_length(settings, draft)
    _report(settings, draft)
    _share(settings, launcher, draft, processes)
    if inpaints:
        _show_frames(settings, draft)
    if draft.get("checkpoint.keep") is None:
        draft.put("checkpoint.keep", None, "null keeps all, as Open-Sora-Plan does")
    if draft.get("model.sparse1d") is False:
        draft.put("model.sparse_n", 1)


def _choose_scheduler(settings: Settings, draft: Draft, *, inpaints: bool) -> None:
    if settings.value("--rf_scheduler"):
        _flow(settings, draft)
        return
    if settings.value("--cogvideox_scheduler"):
        config = to_config(draft, "prediction_type", "rescale_betas_zero_snr")
        draft.put("scheduler.type", "diffusers/CogVideoXDDIMScheduler")
        draft.put("scheduler.config", config)
        return
    draft.put("scheduler.type", "euler-ancestral")
    if settings.value("--v1_5_scheduler"):
        for key, value in V1_5_BETAS.items():
            draft.put(f"scheduler.{key}", value)
    if inpaints:
        draft.put("scheduler.timestep_sampling", "stratified", "as Open-Sora-Plan trains inpainting")


def _flow(settings: Settings, draft: Draft) -> None:
    for key in ("prediction_type", "rescale_betas_zero_snr", "snr_gamma", "noise_offset"):
        draft.take(f"scheduler.{key}")
    draft.put("scheduler.type", "diffusers/FlowMatchEulerDiscreteScheduler")
    draft.put("scheduler.flow_target", "flow")
    weighting = settings.value("--weighting_scheme", LOGIT_NORMAL)
    if weighting == LOGIT_NORMAL:
        draft.put("scheduler.sample_method", "logit-normal")
        draft.put("scheduler.loc", settings.value("--logit_mean", 0.0))
        draft.put("scheduler.scale", settings.value("--logit_std", 1.0))
    elif weighting in WEIGHTINGS:
        draft.put("scheduler.loss_weighting", weighting)


def _choose_size(settings: Settings, draft: Draft) -> None:
    """One size for all samples is the recipe's own."""
    height, width = settings.value("--max_height"), settings.value("--max_width")
    if settings.value("--force_resolution") and height and width:
        draft.put("image_size", [height, width])
        for key in ("max_height", "max_width"):
            draft.take(f"dataset.{key}")
    rate = settings.value("--sample_rate", 1)
    if rate != 1:
        draft.put("frame_interval", rate)


def _start_from(settings: Settings, draft: Draft) -> None:
    weights = settings.value("--pretrained") or settings.value("--pretrained_transformer_model_path")
    resume = settings.value("--resume_from_checkpoint")
    if weights:
        draft.put("model.from_pretrained", weights)
    if resume == "latest":
        draft.put("resume", "latest")
    elif resume:
        note = "a checkpoint of Open-Sora-Plan gives weights, not optimizer and position"
        draft.put("model.from_pretrained", f"{str(resume).rstrip('/')}/model", note)


def _set_types(settings: Settings, draft: Draft) -> None:
    dtype = DTYPES.get(settings.value("--mixed_precision", "no"), "fp32")
    draft.put("dtype", dtype)
    if dtype != "fp32" and draft.get("text_encoder") is not None:
        draft.put("text_encoder.dtype", dtype)
    if dtype == "bf16" and not settings.value("--vae_fp32"):
        draft.put("vae.dtype", dtype)


def _optimize(settings: Settings, draft: Draft) -> None:
    draft.put("optimizer.betas", [settings.value("--adam_beta1"), settings.value("--adam_beta2")])
    schedule = settings.value("--lr_scheduler")
    decay = DECAYS.get(schedule)
    if decay is None:
        known = ", ".join(DECAYS)
        _lose(settings, draft, "--lr_scheduler", f"constant is taken; there are {known}")
    draft.put("optimizer.decay", decay or "constant")
    if schedule == "constant":
        draft.put(
            "optimizer.warmup_steps", 0, "lr_scheduler constant takes no warm-up, whatever --lr_warmup_steps says"
        )
    else:
        draft.put("optimizer.warmup_steps", settings.value("--lr_warmup_steps"))
    if str(settings.value("--optimizer", "adamw")).lower() != "adamw":
        _lose(settings, draft, "--optimizer", "AdamW is the optimizer here")
    if settings.value("--use_ema"):
        draft.put("ema.decay", settings.value("--ema_decay"))
        draft.put("ema.start_step", settings.value("--ema_start_step", 0))
        draft.put("ema.warmup", True)
    else:
        draft.put("ema", None, "the script has no --use_ema")


def _show_frames(settings: Settings, draft: Draft) -> None:
    file = settings.value("--mask_config")
    if file and draft.get("frame_masks.ratios") is None:
        found = mask_ratios_in(Path(file))
        note = f"of {file}" if found else f"those of the published file; {file} cannot be read here: write yours"
        draft.put("frame_masks.ratios", found or dict(MASK_CONFIG), note)
    tenths = round(10 * settings.value("--default_text_ratio", 0.0))
    if tenths:
        unit = gcd(tenths, 10)
        draft.put("dropped_captions", [""] * ((10 - tenths) // unit) + [DEFAULT_TEXT] * (tenths // unit))


def _choose_length(settings: Settings, draft: Draft) -> None:
    if draft.get("max_steps") is None:
        draft.put("epochs", settings.value("--num_train_epochs"))


def _report(settings: Settings, draft: Draft) -> None:
    wanted = settings.value("--report_to")
    trackers: list[dict[str, Any]] = [{"type": "csv"}]
    if wanted in ("tensorboard", "all"):
        trackers.append({"type": "tensorboard"})
    if wanted in ("wandb", "all"):
        name = settings.value("--log_name")
        trackers.append({"type": "wandb", "mode": "online"} | ({"name": name} if name else {}))
    if wanted not in ("tensorboard", "wandb", "all"):
        _lose(settings, draft, "--report_to", "there are csv, report, tensorboard and wandb")
    draft.put("trackers", trackers)


def _share(settings: Settings, launcher: Settings, draft: Draft, processes: int) -> None:
    ranks = settings.value("--sp_size", 1)
    config = str(launcher.value("--config_file", ""))
    if ranks > 1:
        share_clips(draft, ranks)
        draft.put("dataset.sp_size", ranks)
        share = processes * settings.value("--train_batch_size") * settings.value("--gradient_accumulation_steps", 1)
        total = share // ranks * settings.value("--train_sp_batch_size", 1)
        draft.put(
            "dataset.total_batch_size", total, "processes * batch * accumulation // sp_size * train_sp_batch_size"
        )
    elif config:
        _choose_engine(Setting("--config_file", config, launcher.place("--config_file")), draft)


def _choose_engine(file: Setting, draft: Draft) -> None:
    """By the name of accelerate's configuration, which is not read."""
    engine = next((name for name in ENGINES if name in file.value), None)
    if engine is None:
        draft.lose(file, f"its name tells of none of {', '.join(ENGINES)}; write parallel: {{type: ...}}")
        return
    choose_parallel(engine, 1, draft)
    if "offload" in file.value:
        draft.lose(file, "nothing is moved to the CPU; zero3 takes the least memory of the device")


def _lose(settings: Settings, draft: Draft, flag: str, why: str) -> None:
    draft.lose(Setting(flag, settings.value(flag), settings.place(flag)), why)
