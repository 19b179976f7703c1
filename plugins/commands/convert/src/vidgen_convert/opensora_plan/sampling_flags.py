"""Flags of `opensora.sample.sample`, and what they take where they are left out."""

from collections.abc import Mapping
from typing import Any

from vidgen_convert.rule import needless, none, step, to
from vidgen_convert.script.flags import Flag, Flags

RANKS = "the launcher says it"
GIVEN_FRAMES = "or reference_path and mask_strategy, where prompts are given different files"

SAMPLING: Flags = {
    "--model_path": Flag(to("model.from_pretrained")),
    "--version": Flag(step("model.type", "v1_3 alone")),
    "--model_type": Flag(
        step("model.type", "t2v is OpenSoraT2V_v1_3-2B/122, inpaint and i2v OpenSoraInpaint_v1_3-2B/122")
    ),
    "--num_frames": Flag(to("num_frames"), int),
    "--height": Flag(step("image_size", "the first number"), int),
    "--width": Flag(step("image_size", "the second number"), int),
    "--device": Flag(none("parallel: {type: single, device: cuda:0}")),
    "--cache_dir": Flag(none("set HF_HOME=FOLDER in the environment")),
    "--caption_refiner": Flag(step("prompt_refiner", "{type: causal-lm, from_pretrained: FOLDER}")),
    "--refine_caption": Flag(needless("--caption_refiner says it"), None),
    "--enhance_video": Flag(none("make clips smoother or larger afterwards, with a program for it")),
    "--ae": Flag(step("vae.type", "WFVAE-8dim, WFVAE-4dim, or WFVAE, of which config.json decides the rest")),
    "--ae_path": Flag(to("vae.from_pretrained")),
    "--enable_tiling": Flag(to("vae.tiling"), None),
    "--save_memory": Flag(to("vae.save_memory"), None),
    "--text_encoder_name_1": Flag(to("text_encoder.from_pretrained")),
    "--text_encoder_name_2": Flag(none("the model of 1.3 takes one text encoder")),
    "--max_sequence_length": Flag(to("text_encoder.model_max_length"), int),
    "--save_img_path": Flag(to("outputs")),
    "--guidance_scale": Flag(to("scheduler.cfg_scale"), float),
    "--guidance_rescale": Flag(to("scheduler.guidance_rescale"), float),
    "--sample_method": Flag(step("scheduler.type", "euler-ancestral, or diffusers/... with the name of the class")),
    "--num_sampling_steps": Flag(to("scheduler.num_sampling_steps"), int),
    "--prediction_type": Flag(step("scheduler.prediction_type", "or scheduler.config of diffusers/...")),
    "--rescale_betas_zero_snr": Flag(step("scheduler.rescale_betas_zero_snr", "or in scheduler.config"), None),
    "--v1_5_scheduler": Flag(step("scheduler.beta_schedule", "scaled_linear, from 0.00085 to 0.012"), None),
    "--fps": Flag(to("fps"), int),
    "--text_prompt": Flag(step("prompts", "or prompt_path, of a .txt file"), str, many=True),
    "--seed": Flag(to("seed"), int),
    "--num_samples_per_prompt": Flag(to("num_samples"), int),
    "--compile": Flag(to("compile"), None),
    "--sp": Flag(step("parallel.sp_size", "all processes share one clip"), None),
    "--local_rank": Flag(needless(RANKS), int),
    "--world_size": Flag(needless(RANKS), int),
    "--conditional_pixel_values_path": Flag(step("conditions", GIVEN_FRAMES)),
    "--mask_type": Flag(step("conditions", "which frames of a video; pictures are placed by their number")),
    "--crop_for_hw": Flag(needless("pictures are scaled until they cover the clip, and the centre is cut out"), None),
    "--max_hxw": Flag(none("say image_size"), int),
    "--noise_strength": Flag(none("frames are shown as they are"), float),
}

DEFAULTS: Mapping[str, Any] = {
    "--model_path": "LanguageBind/Open-Sora-Plan-v1.3.0",
    "--num_frames": 1,
    "--height": 512,
    "--width": 512,
    "--text_encoder_name_1": "DeepFloyd/t5-v1_1-xxl",
    "--max_sequence_length": 512,
    "--save_img_path": "./sample_videos/t2v",
    "--guidance_scale": 7.5,
    "--sample_method": "PNDM",
    "--num_sampling_steps": 50,
    "--prediction_type": "epsilon",
    "--rescale_betas_zero_snr": False,
    "--fps": 24,
    "--seed": 42,
}
"""What the program takes for flags that are left out."""
