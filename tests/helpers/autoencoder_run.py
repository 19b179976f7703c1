"""A run of `job: train-autoencoder` small enough to make many of."""

from typing import Any

TINY: dict[str, Any] = {
    "type": "VideoAutoencoderPipeline",
    "vae_2d": {
        "config": {
            "block_out_channels": [4, 4],
            "down_block_types": ["DownEncoderBlock2D"] * 2,
            "up_block_types": ["UpDecoderBlock2D"] * 2,
            "layers_per_block": 1,
            "latent_channels": 4,
            "norm_num_groups": 2,
        }
    },
    "vae_temporal": {
        "filters": 4,
        "num_res_blocks": 1,
        "channel_multipliers": [1, 2],
        "temporal_downsample": [True],
        "num_groups": 2,
    },
}
RECIPE: dict[str, Any] = {
    "job": "train-autoencoder",
    "seed": 7,
    "batch_size": 2,
    "num_workers": 0,
    "num_frames": 3,
    "image_size": [12, 16],
    "dataset": {"type": "moving-shapes", "rows": 6},
    "vae": TINY,
    "optimizer": {"lr": 1e-2, "warmup_steps": 2},
    "log": {"every": 1},
    "checkpoint": {"every": 0},
    "evaluate": None,
    "max_steps": 4,
}
