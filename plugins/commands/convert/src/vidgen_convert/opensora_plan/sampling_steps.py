"""From flags of Open-Sora-Plan's sampling to `job: sample`."""

from collections.abc import Mapping
from typing import Any

from vidgen_convert.draft import Draft
from vidgen_convert.opensora_plan.common_steps import V1_5_BETAS, name_autoencoder, name_text_encoder, share_clips
from vidgen_convert.opensora_plan.giving_steps import give_frames
from vidgen_convert.settings import Setting, Settings

MODELS: Mapping[str, str] = {
    "t2v": "OpenSoraT2V_v1_3-2B/122",
    "inpaint": "OpenSoraInpaint_v1_3-2B/122",
    "i2v": "OpenSoraInpaint_v1_3-2B/122",
}
OWN_METHOD = "EulerAncestralDiscrete"
CLASSES: Mapping[str, str] = {"CogVideoX": "CogVideoXDDIMScheduler"}
"""Methods that are not called as their class of diffusers without `Scheduler`."""
WITHOUT_RESCALING = ("PNDM", "DEISMultistep", "HeunDiscrete", "KDPM2AncestralDiscrete", "DPMSolverSinglestep")
"""Methods whose class does not rescale betas."""
WITHOUT_SPACING = ("DPMSolverSinglestep",)
"""Methods whose class is not told how its steps are spaced."""
TEMPLATE = "high quality, high aesthetic, {}"
DEFECTS = "Open-Sora-Plan samples against a list of defects: write it as negative_prompt"


def finish_sampling(settings: Settings, draft: Draft, processes: int) -> None:
    """What a table cannot say of a sampling. processes: that the launcher starts."""
    draft.put("model.type", MODELS.get(settings.value("--model_type", "t2v"), MODELS["t2v"]))
    name_autoencoder(settings, draft)
    name_text_encoder(draft)
    draft.put("image_size", [settings.value("--height"), settings.value("--width")])
    draft.put("dtype", "fp16", "as the script's program; bf16 is steadier where the GPU has it")
    draft.put("text_encoder.dtype", "fp16")
    _choose_prompts(settings, draft)
    give_frames(settings, draft)
    _choose_scheduler(settings, draft)
    refiner = settings.value("--caption_refiner")
    if refiner:
        draft.put("prompt_refiner", {"type": "causal-lm", "from_pretrained": refiner})
    if settings.value("--sp"):
        share_clips(draft, processes)
    elif processes > 1:
        draft.put("parallel.type", "ddp", "each process samples its share of the prompts")


def _choose_prompts(settings: Settings, draft: Draft) -> None:
    prompts = settings.value("--text_prompt", [])
    if len(prompts) == 1 and prompts[0].endswith("txt"):
        draft.put("prompt_path", prompts[0], DEFECTS)
    else:
        draft.put("prompts", prompts, DEFECTS)
    draft.put("prompt_template", TEMPLATE, "as Open-Sora-Plan puts around every prompt")


def _choose_scheduler(settings: Settings, draft: Draft) -> None:
    method = settings.value("--sample_method")
    rescales = bool(settings.value("--rescale_betas_zero_snr"))
    process: dict[str, Any] = {
        "prediction_type": settings.value("--prediction_type"),
        "rescale_betas_zero_snr": rescales,
        **(V1_5_BETAS if settings.value("--v1_5_scheduler") else {}),
    }
    if method == OWN_METHOD:
        draft.put("scheduler.type", "euler-ancestral")
        for key, value in process.items():
            draft.put(f"scheduler.{key}", value)
        return
    draft.put("scheduler.type", f"diffusers/{CLASSES.get(method, f'{method}Scheduler')}")
    if method == "FlowMatchEulerDiscrete":
        draft.put("scheduler.flow_target", "flow")
        return
    if method not in WITHOUT_SPACING:
        process["timestep_spacing"] = "trailing" if rescales else "leading"
    if method in WITHOUT_RESCALING and process.pop("rescale_betas_zero_snr"):
        key = "--rescale_betas_zero_snr"
        draft.lose(Setting(key, True, settings.place(key)), f"{method}Scheduler of diffusers does not rescale betas")
    draft.put("scheduler.config", process)
