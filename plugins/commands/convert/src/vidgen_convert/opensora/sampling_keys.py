"""Keys at the top of Open-Sora's sampling configurations."""

from vidgen_convert.opensora.changes import frames, number, resolution, size, texts
from vidgen_convert.opensora.encoder_keys import TEXT_ENCODER, VAE
from vidgen_convert.opensora.model_keys import MODEL
from vidgen_convert.opensora.scheduler_keys import SCHEDULER
from vidgen_convert.opensora.training_keys import SIZES
from vidgen_convert.rule import Table, needless, none, same, step, to

REFINE = "name a model on this machine: prompt_refiner: {type: causal-lm, from_pretrained: FOLDER}"

SAMPLING: Table = {
    **MODEL,
    **VAE,
    **TEXT_ENCODER,
    **SCHEDULER,
    **same("seed", "dtype", "batch_size", "fps", "frame_interval", "save_fps", "loop", "condition_frame_length"),
    **same("condition_frame_edit", "align", "aspect_ratio", "aes", "flow", "camera_motion", "sample_name"),
    **same("prompt_as_path", "start_index", "end_index"),
    "resolution": to("resolution", resolution),
    "num_frames": to("num_frames", frames),
    "image_size": to("image_size", size),
    "prompt": to("prompts", texts),
    "prompt_path": step("prompt_path", "`prompt` goes before it, as in Open-Sora"),
    "num_sample": to("num_samples"),
    "num_sampling_steps": to("scheduler.num_sampling_steps"),
    "cfg_scale": to("scheduler.cfg_scale", number),
    "save_dir": step("outputs", "the folder of the files"),
    "outputs": step("outputs", "`save_dir` goes before it"),
    "reference_path": to("reference_path", texts),
    "mask_strategy": to("mask_strategy", texts),
    "multi_resolution": needless(SIZES),
    "verbose": none("progress is always shown, and the log is in the run's folder"),
    "watermark": none("put it on the files afterwards, with ffmpeg"),
    "llm_refine": none(REFINE),
    "prompt_generator": none(REFINE),
    "dataset.type": none("a sample job reads prompts alone"),
    "plugin": step("parallel.type", "ranks share the prompts out"),
    "sp_size": step("parallel.sp_size", "with zero2-seq"),
    "num_workers": none("a sample job reads no data"),
}
