"""Keys of Open-Sora 1.2's configurations that train or try an autoencoder. There, `model` is the autoencoder."""

from vidgen_convert.opensora.changes import frames, number
from vidgen_convert.opensora.dataset_keys import DATASET
from vidgen_convert.opensora.encoder_keys import CACHE, OFFLINE
from vidgen_convert.opensora.training_keys import OPTIMIZATION
from vidgen_convert.rule import Table, needless, none, same, step, to

MEASURES = "reconstruct tells PSNR and SSIM of every clip"

_NETWORK: Table = {
    "model.type": to("vae.type"),
    "model.from_pretrained": to("vae.from_pretrained"),
    "model.force_huggingface": to("vae.force_huggingface"),
    "model.freeze_vae_2d": to("vae.freeze_vae_2d"),
    "model.micro_frame_size": to("vae.micro_frame_size"),
    "model.micro_batch_size": to("vae.micro_batch_size"),
    "model.subfolder": to("vae.subfolder"),
    "model.shift": to("vae.shift"),
    "model.scale": to("vae.scale"),
    "model.cal_loss": needless("a job asks the autoencoder for what it compares"),
    "model.cache_dir": none(CACHE),
    "model.local_files_only": none(OFFLINE),
    **{f"model.vae_2d.{key}": to(f"vae.vae_2d.{key}") for key in ("type", "from_pretrained", "subfolder")},
    "model.vae_2d.micro_batch_size": to("vae.vae_2d.micro_batch_size"),
    "model.vae_2d.cache_dir": none(CACHE),
    "model.vae_2d.local_files_only": none(OFFLINE),
    **{
        f"model.vae_temporal.{key}": to(f"vae.vae_temporal.{key}")
        for key in ("type", "from_pretrained", "in_out_channels", "latent_embed_dim", "embed_dim", "filters")
    },
    **{
        f"model.vae_temporal.{key}": to(f"vae.vae_temporal.{key}")
        for key in ("num_res_blocks", "channel_multipliers", "temporal_downsample", "num_groups", "activation_fn")
    },
}

AUTOENCODER_TRAINING: Table = {
    **{key: rule for key, rule in OPTIMIZATION.items() if key != "fps"},
    **{key: rule for key, rule in DATASET.items() if key not in ("bucket_config", "num_bucket_build_workers")},
    **_NETWORK,
    **same("use_real_rec_loss", "use_z_rec_loss", "use_image_identity_loss", "mixed_strategy"),
    "mixed_image_ratio": step("mixed_image_ratio", "counts with mixed_strategy: mixed_video_image alone"),
    "perceptual_loss_weight": step("perceptual_loss_weight", "with perceptual_weights: the files of VGG16 and LPIPS"),
    "kl_loss_weight": to("kl_loss_weight", number),
    "logvar_init": to("logvar_init", number),
    "grad_checkpoint": none("autoencoders are trained without; lower batch_size or image_size where memory is short"),
    "accumulation_steps": none("autoencoders are trained without"),
    "discriminator.type": step("discriminator.type", "NLayerDiscriminator is 2d, N_Layer_DISCRIMINATOR_3D is 3d"),
    "discriminator.input_nc": needless("videos have 3 channels"),
    "discriminator.ndf": to("discriminator.ndf"),
    "discriminator.n_layers": to("discriminator.n_layers"),
    "discriminator.use_actnorm": none("the discriminator normalises by batch"),
    "discriminator.from_pretrained": none("a discriminator starts anew, and goes on with `resume`"),
    "discriminator_start": to("discriminator.start"),
    "discriminator_factor": to("discriminator.factor", number),
    "generator_factor": to("discriminator.generator_factor", number),
    "generator_loss_type": to("discriminator.generator_loss_type"),
    "discriminator_loss_type": to("discriminator.discriminator_loss_type"),
    "lecam_loss_weight": to("discriminator.lecam_loss_weight", number),
    "gradient_penalty_loss_weight": to("discriminator.gradient_penalty_loss_weight", number),
}

RECONSTRUCTION: Table = {
    **_NETWORK,
    **same("seed", "dtype", "frame_interval"),
    **{key: DATASET[key] for key in ("dataset.type", "dataset.data_path", "dataset.transform_name")},
    **{key: DATASET[key] for key in ("dataset.num_frames", "dataset.image_size", "dataset.frame_interval")},
    "num_frames": to("num_frames", frames),
    "image_size": to("image_size"),
    "save_dir": step("outputs", "the folder of the files"),
    "num_samples": to("max_clips"),
    "batch_size": none("clips are reconstructed one at a time"),
    "num_workers": none("clips are read one at a time"),
    "cal_stats": none(MEASURES),
    "log_stats_every": none(MEASURES),
    "perceptual_loss_weight": none(MEASURES),
    "kl_loss_weight": none(MEASURES),
    "use_real_rec_loss": none(MEASURES),
    "use_z_rec_loss": none(MEASURES),
    "use_image_identity_loss": none(MEASURES),
}
