"""Keys of `vae = dict(...)` and `text_encoder = dict(...)` in configurations of Open-Sora."""

from vidgen_convert.rule import Table, needless, none, same

CACHE = "set HF_HOME=FOLDER in the environment: it holds for everything that comes from Hugging Face"
OFFLINE = "set HF_HUB_OFFLINE=1 in the environment: it holds for everything that comes from Hugging Face"

VAE: Table = {
    **same("vae.type", "vae.from_pretrained", "vae.force_huggingface", "vae.subfolder", "vae.micro_batch_size"),
    **same("vae.micro_frame_size", "vae.freeze_vae_2d", "vae.shift", "vae.scale", "vae.scaling_factor"),
    "vae.cal_loss": needless("a job asks the autoencoder for what it compares"),
    "vae.cache_dir": none(CACHE),
    "vae.local_files_only": none(OFFLINE),
}

TEXT_ENCODER: Table = {
    **same("text_encoder.type", "text_encoder.from_pretrained", "text_encoder.model_max_length"),
    **same("text_encoder.shardformer", "text_encoder.num_classes"),
    "text_encoder.cache_dir": none(CACHE),
    "text_encoder.local_files_only": none(OFFLINE),
}
