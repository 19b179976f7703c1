"""Flags of Open-Sora's scripts `train.py`, `inference.py`, `inference-long.py` and `search_bs.py`.

Each sets a key of the configuration that stands before it, which is then converted like the others.
"""

from vidgen_convert.rule import none, to
from vidgen_convert.script.flags import Flag, Flags

TRUE, FALSE = ("yes", "true", "t", "y", "1"), ("no", "false", "f", "n", "0")


def boolean(text: str) -> bool:
    """A switch that is given a value. `--wandb False` is false here. Raises: ValueError."""
    if text.lower() not in (*TRUE, *FALSE):
        raise ValueError(text)
    return text.lower() in TRUE


GENERAL: Flags = {
    "--seed": Flag(to("seed"), int),
    "--ckpt-path": Flag(to("model.from_pretrained")),
    "--batch-size": Flag(to("batch_size"), int),
    "--outputs": Flag(to("outputs")),
    "--flash-attn": Flag(to("model.enable_flash_attn"), boolean),
    "--layernorm-kernel": Flag(to("model.enable_layernorm_kernel"), boolean),
    "--resolution": Flag(to("resolution")),
    "--data-path": Flag(to("dataset.data_path")),
    "--dtype": Flag(to("dtype")),
}

SAMPLING: Flags = {
    "--save-dir": Flag(to("save_dir")),
    "--sample-name": Flag(to("sample_name")),
    "--start-index": Flag(to("start_index"), int),
    "--end-index": Flag(to("end_index"), int),
    "--num-sample": Flag(to("num_sample"), int),
    "--prompt-as-path": Flag(to("prompt_as_path"), None),
    "--verbose": Flag(to("verbose"), int),
    "--prompt-path": Flag(to("prompt_path")),
    "--prompt": Flag(to("prompt"), str, many=True),
    "--llm-refine": Flag(to("llm_refine"), boolean),
    "--prompt-generator": Flag(to("prompt_generator")),
    "--num-frames": Flag(to("num_frames")),
    "--fps": Flag(to("fps"), int),
    "--save-fps": Flag(to("save_fps"), int),
    "--image-size": Flag(to("image_size"), int, many=True),
    "--frame-interval": Flag(to("frame_interval"), int),
    "--aspect-ratio": Flag(to("aspect_ratio")),
    "--watermark": Flag(to("watermark"), boolean),
    "--num-sampling-steps": Flag(to("scheduler.num_sampling_steps"), int),
    "--cfg-scale": Flag(to("scheduler.cfg_scale"), float),
    "--loop": Flag(to("loop"), int),
    "--condition-frame-length": Flag(to("condition_frame_length"), int),
    "--reference-path": Flag(to("reference_path"), str, many=True),
    "--mask-strategy": Flag(to("mask_strategy"), str, many=True),
    "--aes": Flag(to("aes"), float),
    "--flow": Flag(to("flow"), float),
    "--camera-motion": Flag(to("camera_motion")),
}

TRAINING: Flags = {
    "--lr": Flag(to("lr"), float),
    "--wandb": Flag(to("wandb"), boolean),
    "--load": Flag(to("load")),
    "--start-from-scratch": Flag(to("start_from_scratch"), None),
    "--warmup-steps": Flag(to("warmup_steps"), int),
}

SEARCHING: Flags = {
    "--base-resolution": Flag(none("write search.base: [resolution, frames]")),
    "--base-frames": Flag(none("write search.base: [resolution, frames]"), int),
    "--batch-size-start": Flag(none("write search.bucket_config: resolution, frames, [guess, range]"), int),
    "--batch-size-end": Flag(none("write search.bucket_config: resolution, frames, [guess, range]"), int),
    "--batch-size-step": Flag(none("write search.scan_step, with search.algorithm: v1.1"), int),
    "--active-steps": Flag(none("write search.steps"), int),
}

FLAGS: Flags = {**GENERAL, **SAMPLING, **TRAINING, **SEARCHING}
