"""Launch scripts of Open-Sora-Plan 1.3, and of Open-Sora, become recipes that load."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import vidgen

Convert = Callable[..., Any]

TRAINING = r"""#!/bin/bash
export NCCL_ALGO=Ring WANDB_KEY="secret-key"
PROJECT='plan'
STEPS=1000  # in all
SIZE="--max_height 352 --max_width 640"
# one node
accelerate launch \
    --config_file scripts/accelerate_configs/deepspeed_zero2_config.yaml --num_processes 8 \
    opensora/train/train_t2v_diffusers.py \
    --model OpenSoraT2V_v1_3-2B/122 \
    --text_encoder_name_1 google/mt5-xxl \
    --cache_dir "../../cache dir/" \
    --dataset t2v \
    --data "data.txt" \
    --ae WFVAEModel_D8_4x8x8 --ae_path "weights/latent8" \
    --sample_rate 1 --num_frames 93 $SIZE --interpolation_scale_t 1.0 \
    --gradient_checkpointing --train_batch_size=4 --dataloader_num_workers 16 \
    --gradient_accumulation_steps=2 --max_train_steps=${STEPS} \
    --learning_rate=1e-5 --lr_scheduler="constant" --lr_warmup_steps=500 \
    --mixed_precision="bf16" --report_to="wandb" --checkpointing_steps=250 --allow_tf32 \
    --model_max_length 512 --use_ema --ema_decay 0.999 --cfg 0.2 \
    --resume_from_checkpoint="latest" --speed_factor 1.5 --drop_short_ratio 0.0 --pretrained "" \
    --hw_stride 32 --sparse1d --sparse_n 4 --train_fps 16 --seed ${SEED:-1234} \
    --group_data --use_decord --prediction_type "v_prediction" --snr_gamma 5.0 --force_resolution \
    --rescale_betas_zero_snr --output_dir="runs/${PROJECT}" 2>&1 | tee log.txt
"""


@pytest.fixture
def annotated(here: Path) -> Path:
    """The current folder, with a list of annotations."""
    (here / "data.txt").write_text("clips,clips.json\n")
    return here


def test_a_training_script_has_every_flag(annotated: Path, converted: Convert) -> None:
    made = converted(TRAINING, "train.sh")
    recipe = made.recipe
    wanted = {
        "job": "train",
        "seed": 1234,
        "outputs": "runs/plan",
        "max_steps": 1000,
        "batch_size": 4,
        "num_frames": 93,
    }
    wanted |= {
        "image_size": [352, 640],
        "dtype": "bf16",
        "accumulation_steps": 2,
        "resume": "latest",
        "num_workers": 16,
    }
    assert {key: recipe[key] for key in wanted} == wanted
    data = {"data": "data.txt", "train_fps": 16.0, "speed_factor": 1.5, "drop_short_ratio": 0.0, "hw_stride": 32}
    data |= {"force_resolution": True, "max_height": None, "sp_size": 1}
    assert {key: recipe["dataset"][key] for key in data} == data
    assert (recipe["bucketer"]["type"], recipe["bucketer"]["group_data"]) == ("grouped", True)
    model = {"type": "OpenSoraT2V_v1_3-2B/122", "sparse1d": True, "sparse_n": 4, "class_dropout_prob": 0.2}
    assert {key: recipe["model"][key] for key in model} == model
    vae = {"type": "WFVAE-8dim", "from_pretrained": "weights/latent8", "dtype": "bf16"}
    assert {key: recipe["vae"][key] for key in vae} == vae
    text = {"type": "t5", "from_pretrained": "google/mt5-xxl", "model_max_length": 512, "dtype": "bf16"}
    assert {key: recipe["text_encoder"][key] for key in text} == text
    scheduler = {"type": "euler-ancestral", "prediction_type": "v_prediction", "snr_gamma": 5.0}
    scheduler |= {"rescale_betas_zero_snr": True}
    assert {key: recipe["scheduler"][key] for key in scheduler} == scheduler
    optimizer = {"lr": 1e-5, "eps": 1e-15, "weight_decay": 0.01, "warmup_steps": 0, "grad_clip": 1.0}
    assert {key: recipe["optimizer"][key] for key in optimizer} == optimizer
    assert (recipe["ema"]["decay"], recipe["checkpoint"]["every"], recipe["checkpoint"]["keep"]) == (0.999, 250, None)


def test_what_has_no_counterpart_is_told_and_no_secret_is_written(annotated: Path, converted: Convert) -> None:
    made = converted(TRAINING, "train.sh")
    assert "train.sh:12: --cache_dir = '../../cache dir/': set HF_HOME=FOLDER" in made.done.err
    assert "--use_decord = True: videos are read by PyAV" in made.done.err
    assert "the script starts 8 processes: vidgen-run RECIPE --nproc 8" in made.text
    assert "set in the environment, as before: NCCL_ALGO, WANDB_KEY" in made.text
    assert "secret-key" not in made.text + made.done.err
    assert "warm-up, whatever --lr_warmup_steps says" in made.done.err


def test_flags_that_are_left_out_have_the_programs_defaults(annotated: Path, converted: Convert) -> None:
    recipe = converted(
        "torchrun opensora/train/train_t2v_diffusers.py --model OpenSoraT2V_v1_3-2B/122 --data data.txt "
        "--num_frames 29 --max_hxw 262144 --lr_scheduler cosine",
        "train.sh",
    ).recipe
    assert (recipe["batch_size"], recipe["epochs"], recipe["ema"], recipe["dtype"]) == (16, 100, None, "fp32")
    assert (recipe["optimizer"]["lr"], recipe["optimizer"]["warmup_steps"]) == (1e-4, 500)
    assert (recipe["optimizer"]["decay"], recipe["model"]["sparse1d"], recipe["model"]["sparse_n"]) == (
        "cosine",
        False,
        1,
    )
    assert (recipe["scheduler"]["prediction_type"], recipe["scheduler"]["rescale_betas_zero_snr"]) == ("epsilon", False)
    assert (recipe["dataset"]["max_hxw"], recipe["bucketer"]["group_data"]) == (262144, False)


def test_ranks_that_share_clips_count_in_the_total_batch(annotated: Path, here: Path, run: Convert) -> None:
    (here / "train.sh").write_text(TRAINING.replace("--sample_rate 1", "--sp_size 4 --train_sp_batch_size 2"))
    out = run("train.sh").out
    assert "sp_size: 4" in out
    assert "total_batch_size: 32" in out  # 8 processes * 4 samples * 2 accumulated // 4 ranks * 2


@pytest.mark.parametrize(
    ("name", "engine", "said"),
    [
        ("deepspeed_zero3_config.yaml", "zero3", ""),
        ("deepspeed_zero2_offload_config.yaml", "zero2", "nothing is moved to the CPU"),
        ("ddp_config.yaml", "ddp", ""),
        ("mine.yaml", "single", "its name tells of none of zero3, zero2, ddp"),
    ],
)
def test_the_launchers_configuration_says_how_work_is_shared(
    annotated: Path, converted: Convert, name: str, engine: str, said: str
) -> None:
    made = converted(TRAINING.replace("deepspeed_zero2_config.yaml", name), "train.sh")
    assert made.recipe["parallel"]["type"] == engine
    assert said in made.done.err


def test_rectified_flow_is_a_scheduler_of_diffusers(annotated: Path, converted: Convert) -> None:
    flags = "--rf_scheduler --weighting_scheme logit_normal --logit_mean 0.5 --logit_std 1.5"
    scheduler = converted(TRAINING.replace("--snr_gamma 5.0", flags), "train.sh").recipe["scheduler"]
    wanted = {"type": "diffusers/FlowMatchEulerDiscreteScheduler", "flow_target": "flow", "loc": 0.5, "scale": 1.5}
    assert {key: scheduler[key] for key in wanted} == wanted
    assert scheduler["sample_method"] == "logit-normal"


def test_inpainting_draws_its_times_in_shares(annotated: Path, converted: Convert) -> None:
    text = TRAINING.replace("train_t2v_diffusers.py", "train_inpaint.py").replace("OpenSoraT2V", "OpenSoraInpaint")
    flags = "--t2v_ratio 0.1 --v2v_ratio 0.4 --min_clear_ratio 0.2 --default_text_ratio 0.6"
    recipe = converted(text.replace("--sample_rate 1", flags), "train.sh").recipe
    assert recipe["scheduler"]["timestep_sampling"] == "stratified"
    assert recipe["frame_masks"]["ratios"] == {"t2iv": 0.1, "continuation": 0.4}
    assert recipe["frame_masks"]["min_clear_ratio"] == 0.2
    assert [bool(one) for one in recipe["dropped_captions"]] == [False, False, True, True, True]


def test_a_file_of_masks_is_named(annotated: Path, converted: Convert) -> None:
    text = TRAINING.replace("train_t2v_diffusers.py", "train_inpaint.py").replace("OpenSoraT2V", "OpenSoraInpaint")
    made = converted(text.replace("--sample_rate 1", "--mask_config masks.yaml"), "train.sh")
    assert made.recipe["frame_masks"]["ratios"] == {"i2v": 5.0, "transition": 4.0, "random_temporal": 1.0}
    assert made.recipe["dropped_captions"] == [""]
    assert "masks.yaml cannot be read here: write yours" in made.done.err


def test_a_file_of_masks_is_read_where_it_lies(annotated: Path, converted: Convert) -> None:
    Path("masks.yaml").write_text(
        "min_clear_ratio: 0.25\nmask_type_ratio_dict_video: {t2iv: 0, i2v: 8, continuation: 2.5}\n"
        "mask_type_ratio_dict_image: {clear: 1}\n"
    )
    text = TRAINING.replace("train_t2v_diffusers.py", "train_inpaint.py").replace("OpenSoraT2V", "OpenSoraInpaint")
    made = converted(text.replace("--sample_rate 1", "--mask_config masks.yaml"), "train.sh")
    assert made.recipe["frame_masks"]["ratios"] == {"i2v": 8.0, "continuation": 2.5}


OWN = "EulerAncestralDiscrete"
SAMPLING = r"""
CUDA_VISIBLE_DEVICES=0,1 torchrun --nnodes=1 --nproc_per_node 2 --master_port 29513 \
    -m opensora.sample.sample --model_path weights/model_ema --version v1_3 \
    --num_frames 93 --height 352 --width 640 --text_encoder_name_1 "weights/mt5-xxl" \
    --text_prompt "a cat on a mat" 'it costs $5' --ae WFVAEModel_D8_4x8x8 --ae_path weights/vae \
    --save_img_path "./out" --fps 18 --guidance_scale 7.5 --num_sampling_steps 100 \
    --max_sequence_length 512 --sample_method EulerAncestralDiscrete --seed 1234 \
    --num_samples_per_prompt 3 --rescale_betas_zero_snr --prediction_type "v_prediction" --enable_tiling
"""


def test_a_sampling_script_has_every_flag(converted: Convert) -> None:
    made = converted(SAMPLING, "sample.sh")
    recipe = made.recipe
    wanted = {"job": "sample", "num_frames": 93, "image_size": [352, 640], "fps": 18.0, "outputs": "out", "seed": 1234}
    wanted |= {"prompts": ["a cat on a mat", "it costs $5"], "num_samples": 3, "dtype": "fp16"}
    assert {key: recipe[key] for key in wanted} == wanted
    assert recipe["parallel"]["type"] == "ddp", "of two processes"
    assert (recipe["model"]["type"], recipe["model"]["from_pretrained"]) == (
        "OpenSoraT2V_v1_3-2B/122",
        "weights/model_ema",
    )
    scheduler = {"type": "euler-ancestral", "num_sampling_steps": 100, "cfg_scale": 7.5, "rescale_betas_zero_snr": True}
    assert {key: recipe["scheduler"][key] for key in scheduler} == scheduler
    assert recipe["vae"]["tiling"] is True
    assert "--master_port = '29513': start the same command on every node" in made.done.err


@pytest.mark.parametrize(
    ("method", "kind", "config"),
    [
        ("DDIM", "DDIMScheduler", {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}),
        ("PNDM", "PNDMScheduler", {"timestep_spacing": "trailing"}),
        ("CogVideoX", "CogVideoXDDIMScheduler", {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}),
    ],
)
def test_other_methods_are_schedulers_of_diffusers(
    converted: Convert, method: str, kind: str, config: dict[str, Any]
) -> None:
    scheduler = converted(SAMPLING.replace("EulerAncestralDiscrete", method), "sample.sh").recipe["scheduler"]
    assert scheduler["type"] == f"diffusers/{kind}"
    assert scheduler["config"] == {"prediction_type": "v_prediction", **config}


METHODS = {
    "EulerAncestralDiscrete": "euler-ancestral",
    "CogVideoX": "diffusers/CogVideoXDDIMScheduler",
    **{
        method: f"diffusers/{method}Scheduler"
        for method in (
            *("DDIM", "EulerDiscrete", "DDPM", "DPMSolverMultistep", "DPMSolverSinglestep", "PNDM", "HeunDiscrete"),
            *("DEISMultistep", "KDPM2AncestralDiscrete", "FlowMatchEulerDiscrete"),
        )
    },
}


@pytest.mark.parametrize("flags", ["--rescale_betas_zero_snr", "--v1_5_scheduler"])
@pytest.mark.parametrize("method", list(METHODS))
def test_the_scheduler_of_every_method_can_be_built(converted: Convert, method: str, flags: str) -> None:
    text = SAMPLING.replace(OWN, method).replace("--rescale_betas_zero_snr", flags)
    made = converted(text, "sample.sh")
    scheduler = made.recipe["scheduler"]
    assert scheduler.pop("type") == METHODS[method]
    assert callable(vidgen.build("scheduler", METHODS[method], **scheduler).sample)
    rescales = "zero_snr" not in flags or "does not rescale betas" not in made.done.err
    told = ("PNDM", "DEISMultistep", "HeunDiscrete", "KDPM2AncestralDiscrete", "DPMSolverSinglestep")
    assert rescales == ("zero_snr" not in flags or method not in told)


def test_a_file_of_prompts_and_a_refiner_are_named(converted: Convert) -> None:
    text = SAMPLING.replace("\"a cat on a mat\" 'it costs $5'", "prompts.txt --caption_refiner weights/refiner")
    recipe = converted(text, "sample.sh").recipe
    assert (recipe["prompt_path"], recipe["prompts"]) == ("prompts.txt", [])
    assert recipe["prompt_refiner"]["from_pretrained"] == "weights/refiner"


def test_three_mistakes_are_told_at_once(here: Path, run: Convert) -> None:
    text = SAMPLING.replace("--fps 18", "--fps fast").replace("--seed 1234", "--seed").replace("--sp\n", "")
    (here / "bad.sh").write_text(text.replace("--enable_tiling", "--enable_tiling yes"))
    done = run("bad.sh", "-o", "made.yaml")
    assert done.status == 2
    assert done.err == (
        "bad.sh:6: --fps is given 'fast', where a number is wanted\n"
        "    write it as the program would take it\n"
        "bad.sh:7: --seed takes one value, but is given none\n"
        "    write it as the program would take it\n"
        "bad.sh:8: --enable_tiling is a switch and takes no value, but is given 'yes'\n"
        "    write it as the program would take it\n"
        "3 problems; nothing was written."
    )
    assert not (here / "made.yaml").exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("--fps 18", "--fps $(nproc)", "$(nproc) would have to be run"),
        ("--fps 18", "--fps `nproc`", "`nproc` would have to be run"),
        ("--fps 18", "--fps ${RATE}", "$RATE is not set in this script"),
        ("\nCUDA", "\nif true; then\nCUDA", "`if` is not carried out"),
        ("\nCUDA", "\nfor i in 1 2; do\nCUDA", "`for` is not carried out"),
        ("--width 640", "--width 640\n    # narrower\n    --compile", "--compile begins a command of its own"),
        ('"a cat', "a cat", "a quote is not closed"),
    ],
)
def test_shell_that_would_have_to_be_run_is_refused(here: Path, run: Convert, old: str, new: str, said: str) -> None:
    (here / "bad.sh").write_text(SAMPLING.replace(old, new, 1))
    done = run("bad.sh")
    assert done.status == 2
    assert said in done.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo hello", "starts no program that is known"),
        ("python opensora/train/train_causalvae.py --x 1", "make no recipe"),
        (SAMPLING + SAMPLING, "starts several programs"),
        ("torchrun scripts/train.py --lr 1", "started without a configuration"),
    ],
)
def test_a_script_that_starts_nothing_to_convert_is_refused(here: Path, run: Convert, text: str, said: str) -> None:
    (here / "bad.sh").write_text(text)
    done = run("bad.sh")
    assert done.status == 2
    assert said in done.err


def test_flags_of_open_sora_count_before_its_configuration(here: Path, converted: Convert) -> None:
    (here / "config.py").write_text(
        'dataset = dict(type="VariableVideoTextDataset", data_path=None)\nbucket_config = {"144p": {1: (1.0, 2)}}\n'
        'model = dict(type="STDiT3-XL/2")\nvae = dict(type="OpenSoraVAE_V1_2")\nlr = 1.0\nwandb = True\n'
        'text_encoder = dict(type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl")\nscheduler = dict(type="rflow")\n'
    )
    made = converted(
        "WANDB_API_KEY=secret torchrun --standalone --nproc_per_node 8 scripts/train.py config.py \\\n"
        "    --data-path clips/meta.csv --lr 3e-5 --ckpt_path x.pth --wandb False --load outputs/1 --tilt 3\n",
        "launch.sh",
    )
    recipe = made.recipe
    assert (recipe["dataset"]["data_path"], recipe["optimizer"]["lr"], recipe["resume"]) == (
        *("clips/meta.csv", 3e-5, "outputs/1"),
    )
    assert recipe["model"]["from_pretrained"] == "x.pth"
    assert [tracker["type"] for tracker in recipe["trackers"]] == ["csv", "tensorboard"]
    assert "launch.sh:2: --tilt = '3': no flag that is known" in made.done.err
    assert "vidgen-run RECIPE --nproc 8" in made.text
    assert "secret" not in made.text
