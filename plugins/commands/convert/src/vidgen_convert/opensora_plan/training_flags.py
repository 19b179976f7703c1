"""Flags of Open-Sora-Plan's `train_t2v_diffusers.py` and `train_inpaint.py`, and what they take when left out."""

from collections.abc import Mapping
from typing import Any

from vidgen_convert.rule import needless, none, step, to
from vidgen_convert.script.flags import Flag, Flags

CACHE = "set HF_HOME=FOLDER in the environment"
PRODIGY = "AdamW is the optimizer; name its lr, betas, eps and weight_decay"
IMAGES = "images and videos are told apart by their files"
SHARES = {"t2v": "t2iv", "i2v": "i2v", "transition": "transition", "v2v": "continuation", "clear_video": "clear"}
VALIDATION = step("sample", "a section with prompts, `every` and the scheduler's own steps and scale")


def _same(target: str, *names: str, read: Any = int) -> dict[str, Flag]:
    return {f"--{name}": Flag(to(f"{target}{name}"), read) for name in names}


DATA: Flags = {
    "--dataset": Flag(needless("OpenSoraPlanData is the only one of that form")),
    "--data": Flag(to("dataset.data")),
    **_same("dataset.", "max_height", "max_width", "min_height", "min_width", "max_hxw", "min_hxw", "hw_stride"),
    **_same("dataset.", "train_fps", "speed_factor", "drop_short_ratio", read=float),
    "--num_frames": Flag(to("num_frames"), int),
    "--force_resolution": Flag(to("dataset.force_resolution"), None),
    "--group_data": Flag(to("bucketer.group_data"), None),
    "--sample_rate": Flag(step("frame_interval", "1 is all that is published"), int),
    "--train_batch_size": Flag(to("batch_size"), int),
    "--dataloader_num_workers": Flag(to("num_workers"), int),
    "--trained_data_global_step": Flag(none("a resumed run knows its place in the data"), int),
    "--use_decord": Flag(needless("videos are read by PyAV"), None),
    "--skip_low_resolution": Flag(none("min_hxw leaves small samples out"), None),
    "--max_height_for_img": Flag(none(IMAGES), int),
    "--max_width_for_img": Flag(none(IMAGES), int),
    "--use_img_from_vid": Flag(none("write stills into the annotations"), None),
    "--use_image_num": Flag(none("write stills into the annotations"), int),
    "--ood_img_ratio": Flag(none("leave them out of the annotations"), float),
    "--use_motion": Flag(none("write the motion into the captions"), None),
    "--cfg": Flag(to("model.class_dropout_prob"), float),
    "--model_max_length": Flag(to("text_encoder.model_max_length"), int),
}

NETWORKS: Flags = {
    "--model": Flag(to("model.type")),
    "--pretrained": Flag(step("model.from_pretrained", "--resume_from_checkpoint goes before it")),
    "--pretrained_transformer_model_path": Flag(step("model.from_pretrained", "of inpainting: T2V weights are taken")),
    **_same("model.", "interpolation_scale_t", "interpolation_scale_h", "interpolation_scale_w", read=float),
    "--sparse1d": Flag(to("model.sparse1d"), None),
    "--sparse_n": Flag(to("model.sparse_n"), int),
    "--skip_connection": Flag(none("the published model of 1.3 has none"), None),
    "--adapt_vae": Flag(none("the published model of 1.3 has none"), None),
    "--gradient_checkpointing": Flag(to("grad_checkpoint"), None),
    "--ae": Flag(step("vae.type", "WFVAE-8dim, WFVAE-4dim, or WFVAE, of which config.json decides the rest")),
    "--ae_path": Flag(to("vae.from_pretrained")),
    "--vae_fp32": Flag(step("vae.dtype", "fp32; else that of --mixed_precision"), None),
    "--enable_tiling": Flag(to("vae.tiling"), None),
    "--extra_save_mem": Flag(
        to("vae.save_memory", note="the text encoder's after_use: free gives memory up, too"), None
    ),
    "--text_encoder_name_1": Flag(to("text_encoder.from_pretrained")),
    "--text_encoder_name_2": Flag(none("the model of 1.3 takes one text encoder")),
    "--cache_dir": Flag(none(CACHE)),
}

DIFFUSION: Flags = {
    **_same("scheduler.", "prediction_type", read=str),
    **_same("scheduler.", "snr_gamma", "noise_offset", read=float),
    "--rescale_betas_zero_snr": Flag(to("scheduler.rescale_betas_zero_snr"), None),
    "--v1_5_scheduler": Flag(step("scheduler.beta_schedule", "scaled_linear, from 0.00085 to 0.012"), None),
    "--cogvideox_scheduler": Flag(step("scheduler.type", "diffusers/CogVideoXDDIMScheduler"), None),
    "--rf_scheduler": Flag(
        step("scheduler.type", "diffusers/FlowMatchEulerDiscreteScheduler, flow_target: flow"), None
    ),
    "--weighting_scheme": Flag(step("scheduler.loss_weighting", "and sample_method, with --rf_scheduler")),
    "--logit_mean": Flag(step("scheduler.loc", "with --rf_scheduler"), float),
    "--logit_std": Flag(step("scheduler.scale", "with --rf_scheduler"), float),
    "--mode_scale": Flag(none("times are drawn uniformly or logit-normally"), float),
}

RUN: Flags = {
    "--seed": Flag(to("seed"), int),
    "--output_dir": Flag(to("outputs")),
    "--logging_dir": Flag(needless("trackers write into the run's folder")),
    "--report_to": Flag(step("trackers", "{type: tensorboard}, {type: wandb}, or all")),
    "--log_interval": Flag(to("log.every"), int),
    "--log_name": Flag(step("trackers", "name of wandb's run")),
    "--checkpointing_steps": Flag(to("checkpoint.every"), int),
    "--checkpoints_total_limit": Flag(to("checkpoint.keep"), int),
    "--resume_from_checkpoint": Flag(step("resume", "latest, or a folder of a run of vidgen")),
    "--enable_tracker": Flag(VALIDATION, None),
    "--num_sampling_steps": Flag(to("scheduler.num_sampling_steps"), int),
    "--guidance_scale": Flag(to("scheduler.cfg_scale"), float),
    "--enable_profiling": Flag(none("vidgen-run RECIPE --dry-run counts, metrics.csv measures"), None),
    "--local_rank": Flag(needless("the launcher says it"), int),
    "--sp_size": Flag(step("parallel.sp_size", "and dataset.sp_size"), int),
    "--train_sp_batch_size": Flag(step("dataset.total_batch_size", "it is part of that number"), int),
}

OPTIMIZATION: Flags = {
    "--num_train_epochs": Flag(step("epochs", "where --max_train_steps is silent"), int),
    "--max_train_steps": Flag(to("max_steps"), int),
    "--gradient_accumulation_steps": Flag(to("accumulation_steps"), int),
    "--optimizer": Flag(step("optimizer", "AdamW is the only one")),
    "--learning_rate": Flag(to("optimizer.lr"), float),
    "--scale_lr": Flag(none("write the rate that you want as optimizer.lr"), None),
    "--lr_warmup_steps": Flag(step("optimizer.warmup_steps", "which `constant` leaves out"), int),
    "--lr_scheduler": Flag(step("optimizer.decay", "constant, linear or cosine")),
    "--use_8bit_adam": Flag(none("AdamW keeps its moments in float32"), None),
    "--adam_beta1": Flag(step("optimizer.betas", "the first"), float),
    "--adam_beta2": Flag(step("optimizer.betas", "the second"), float),
    "--adam_weight_decay": Flag(to("optimizer.weight_decay"), float),
    "--adam_weight_decay_text_encoder": Flag(none("the text encoder is not trained"), float),
    "--adam_epsilon": Flag(to("optimizer.eps"), float),
    "--max_grad_norm": Flag(to("optimizer.grad_clip"), float),
    "--prodigy_decouple": Flag(none(PRODIGY)),
    "--prodigy_use_bias_correction": Flag(none(PRODIGY)),
    "--prodigy_safeguard_warmup": Flag(none(PRODIGY)),
    "--prodigy_beta3": Flag(none(PRODIGY), float),
    "--prodigy_d_coef": Flag(none(PRODIGY), float),
    "--use_ema": Flag(step("ema", "without it, ema: null"), None),
    "--ema_decay": Flag(step("ema.decay", "with --use_ema"), float),
    "--ema_start_step": Flag(step("ema.start_step", "with --use_ema"), int),
    "--offload_ema": Flag(none("the average stays on the device of the run"), None),
    "--foreach_ema": Flag(needless("the average is always updated in groups of tensors"), None),
    "--mixed_precision": Flag(step("dtype", "fp16, bf16; no is fp32")),
    "--allow_tf32": Flag(
        none("set TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1 in the environment; bf16 does not need it"), None
    ),
}

INPAINTING: Flags = {
    "--mask_config": Flag(step("frame_masks", "the published ratios are taken")),
    **{f"--{name}_ratio": Flag(to(f"frame_masks.ratios.{kind}"), float) for name, kind in SHARES.items()},
    **_same("frame_masks.", "min_clear_ratio", "max_clear_ratio", read=float),
    "--default_text_ratio": Flag(step("dropped_captions", "the empty text, and a sentence that fits any video"), float),
}

TRAINING: Flags = {**DATA, **NETWORKS, **DIFFUSION, **RUN, **OPTIMIZATION, **INPAINTING}

DEFAULTS: Mapping[str, Any] = {
    "--train_batch_size": 16,
    "--text_encoder_name_1": "DeepFloyd/t5-v1_1-xxl",
    "--model_max_length": 512,
    "--prediction_type": "epsilon",
    "--rescale_betas_zero_snr": False,
    "--sparse1d": False,
    "--group_data": False,
    "--checkpointing_steps": 500,
    "--learning_rate": 1e-4,
    "--lr_scheduler": "constant",
    "--lr_warmup_steps": 500,
    "--adam_beta1": 0.9,
    "--adam_beta2": 0.999,
    "--adam_weight_decay": 1e-2,
    "--adam_epsilon": 1e-15,
    "--max_grad_norm": 1.0,
    "--ema_decay": 0.9999,
    "--report_to": "tensorboard",
    "--num_train_epochs": 100,
    "--cfg": 0.1,
}
"""What the programs take for flags that are left out, where vidgen's defaults differ or may come to."""
