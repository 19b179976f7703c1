"""Keys at the top of Open-Sora's training configurations."""

from vidgen_convert.opensora.changes import frames, number, size
from vidgen_convert.opensora.dataset_keys import DATASET
from vidgen_convert.opensora.encoder_keys import TEXT_ENCODER, VAE
from vidgen_convert.opensora.model_keys import MODEL
from vidgen_convert.opensora.scheduler_keys import SCHEDULER
from vidgen_convert.rule import Table, needless, none, same, step, to

SIZES = "models are told the sizes that they ask for"

OPTIMIZATION: Table = {
    **same("seed", "dtype", "batch_size", "epochs", "grad_checkpoint", "frame_interval", "fps"),
    "num_frames": to("num_frames", frames),
    "image_size": to("image_size", size),
    "lr": to("optimizer.lr", number),
    "grad_clip": to("optimizer.grad_clip", number),
    "weight_decay": to("optimizer.weight_decay", number),
    "adam_eps": to("optimizer.eps", number),
    "warmup_steps": to("optimizer.warmup_steps"),
    "ema_decay": to("ema.decay", number),
    "log_every": to("log.every"),
    "ckpt_every": to("checkpoint.every"),
    "accumulation_steps": to("accumulation_steps"),
    "outputs": step("outputs", "the run's own folder; Open-Sora made a numbered one in it"),
    "load": step("resume", "a checkpoint's or run's folder, or `latest`"),
    "start_from_scratch": step("model.from_pretrained", "beside `load`: its weights alone; a new run needs no switch"),
    "wandb": step("trackers", "add {type: wandb}"),
    "plugin": step("parallel.type", "zero2 or zero2-seq"),
    "sp_size": step("parallel.sp_size", "with zero2-seq"),
    "multi_resolution": needless(SIZES),
}

TRAINING: Table = {
    **OPTIMIZATION,
    **MODEL,
    **VAE,
    **TEXT_ENCODER,
    **SCHEDULER,
    **DATASET,
    "mask_ratios": to("mask_ratios"),
    "load_video_features": step("features", "{cache: FOLDER, mode: read}; made by the same recipe with job=encode"),
    "load_text_features": step("features", "{cache: FOLDER, mode: read}; made by the same recipe with job=encode"),
    "save_text_features": step("job", "encode; captions are always kept with the latents"),
    "save_compressed_text_features": none("captions are kept as the text encoder gives them; models project them"),
    "save_dir": step("features.cache", "of configurations that keep features"),
    "bin_size": to("features.shard_size"),
    "start_index": none("several ranks may encode into one cache at once; what is there is not made again"),
    "end_index": none("several ranks may encode into one cache at once; what is there is not made again"),
    "vae_out_channels": needless("the autoencoder is named in the recipe, and says it"),
    "text_encoder_output_dim": needless("the text encoder is named in the recipe, and says it"),
    "text_encoder_model_max_length": needless("the text encoder is named in the recipe, and says it"),
    "log_time": needless("metrics.csv has data_wait, encode_share and samples_per_s"),
    "num_eval_timesteps": none(
        "write held_out: {timesteps: N} into the recipe of the training, for rows that are not trained on"
    ),
}
