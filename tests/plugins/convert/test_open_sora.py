"""Configurations of Open-Sora 1.0, 1.1 and 1.2 become recipes that load."""

from collections.abc import Callable
from typing import Any

import pytest
from vidgen.errors import UserError
from vidgen_convert.opensora.converting import convert_config as converted_draft

Convert = Callable[..., Any]

TRAINING_1_2 = """
# Sizes come from the buckets.
dataset = dict(type="VariableVideoTextDataset", transform_name="resize_crop", data_path="clips/meta.csv")
bucket_config = {
    "144p": {1: (1.0, 475), 51: (1.0, 51), 102: ((1.0, 0.33), 27)},
    "240p": {1: (0.3, 297), 51: (0.0, None)},
}
grad_checkpoint = True
num_workers = 2 * 4
num_bucket_build_workers = 16
dtype = "bf16"
model = dict(
    type="STDiT3-XL/2", from_pretrained=None, qk_norm=True, enable_flash_attn=True, enable_layernorm_kernel=True,
    freeze_y_embedder=True,
)
vae = dict(
    type="OpenSoraVAE_V1_2", from_pretrained="hpcai-tech/OpenSora-VAE-v1.2", micro_frame_size=17, micro_batch_size=4,
)
text_encoder = dict(
    type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl", model_max_length=300, shardformer=True, local_files_only=True,
)
scheduler = dict(type="rflow", use_timestep_transform=True, sample_method="logit-normal")
mask_ratios = {"random": 0.05, "intepolate": 0.005, "quarter_head": 0.005, "image_head": 0.025}
seed = 7
outputs = "outputs"
wandb = True
epochs = 3
log_every = 20
ckpt_every = 200
load = None
grad_clip = 1.0
lr = 2e-4
ema_decay = 0.99
adam_eps = 1e-15
warmup_steps = 500
"""


def test_a_training_of_1_2_has_every_setting(converted: Convert) -> None:
    made = converted(TRAINING_1_2, "stage1.py")
    recipe = made.recipe
    wanted = {"job": "train", "seed": 7, "epochs": 3, "num_workers": 8, "dtype": "bf16", "grad_checkpoint": True}
    assert {key: recipe[key] for key in wanted} == wanted
    assert recipe["outputs"] == "outputs/stage1"
    assert recipe["bucketer"]["bucket_config"] == {
        "144p": {1: [1.0, 475], 51: [1.0, 51], 102: [[1.0, 0.33], 27]},
        "240p": {1: [0.3, 297], 51: [0.0, None]},
    }
    assert recipe["dataset"]["type"] == "VariableVideoText"
    assert (recipe["model"]["freeze_y_embedder"], recipe["model"]["enable_flash_attn"]) == (True, True)
    assert (recipe["vae"]["micro_frame_size"], recipe["vae"]["dtype"]) == (17, "bf16")
    encoder = recipe["text_encoder"]
    assert (encoder["shardformer"], encoder["dtype"], encoder["clean_caption"]) == (True, "bf16", False)
    assert (recipe["scheduler"]["use_timestep_transform"], recipe["scheduler"]["sample_method"]) == (
        True,
        "logit-normal",
    )
    assert recipe["mask_ratios"]["intepolate"] == 0.005
    optimizer = recipe["optimizer"]
    told = {key: optimizer[key] for key in ("lr", "eps", "grad_clip", "warmup_steps", "weight_decay")}
    assert told == {"lr": 2e-4, "eps": 1e-15, "grad_clip": 1.0, "warmup_steps": 500, "weight_decay": 0.0}
    assert recipe["ema"]["decay"] == 0.99
    assert (recipe["log"]["every"], recipe["checkpoint"]["every"], recipe["checkpoint"]["keep"]) == (20, 200, None)
    assert [tracker["type"] for tracker in recipe["trackers"]] == ["csv", "tensorboard", "wandb"]


def test_what_has_no_counterpart_is_on_stderr_and_in_the_recipe(converted: Convert) -> None:
    made = converted(TRAINING_1_2 + "watermak = 3\n")
    for text in (made.done.err, made.text):
        flat = " ".join(text.replace("#", " ").split())
        assert "given.py:20:" in flat
        assert "text_encoder.local_files_only = True: set HF_HUB_OFFLINE=1 in the environment" in flat
        assert "num_bucket_build_workers = 16" in flat
        assert "watermak = 3: no key that is known" in flat
    assert "# Set to nothing there, and so here: model.from_pretrained, load." in made.text
    assert made.text.startswith("# Converted from given.py (Open-Sora 1.2).\njob: train\n")


def test_defaults_of_open_sora_that_differ_are_written(converted: Convert) -> None:
    silent = "".join(
        line for line in TRAINING_1_2.splitlines(True) if not line.startswith(("grad_clip", "dtype", "epochs"))
    )
    recipe = converted(silent).recipe
    assert (recipe["optimizer"]["grad_clip"], recipe["dtype"], recipe["epochs"]) == (0.0, "bf16", 1000)


def test_a_switch_that_the_model_does_not_read_is_corrected_with_a_note(converted: Convert) -> None:
    made = converted(TRAINING_1_2.replace("enable_flash_attn", "enable_flashattn"))
    assert made.recipe["model"]["enable_flash_attn"] is True
    assert "which STDiT3-XL/2 of Open-Sora does not read: flash attention was off there" in made.done.err
    assert "enable_flashattn" in made.text


def test_where_the_model_reads_the_older_name_nothing_is_corrected(converted: Convert) -> None:
    assert "was off there" not in converted(TRAINING_1_0).done.err


TRAINING_1_0 = """
num_frames = 16
frame_interval = 3
image_size = (256, 256)
root = None
data_path = "clips/meta.csv"
use_image_transform = False
num_workers = 4
dtype = "bf16"
grad_checkpoint = True
sp_size = 1
model = dict(
    type="STDiT-XL/2", space_scale=0.5, time_scale=2 / 3, from_pretrained="PixArt-XL-2-512x512.pth",
    enable_flashattn=True, enable_layernorm_kernel=True,
)
vae = dict(type="VideoAutoencoderKL", from_pretrained="stabilityai/sd-vae-ft-ema", micro_batch_size=128)
text_encoder = dict(type="t5", from_pretrained="./pretrained_models/t5_ckpts", model_max_length=120, shardformer=True)
scheduler = dict(type="iddpm", timestep_respacing="")
seed = 42
outputs = "outputs"
wandb = False
epochs = 1000
log_every = 10
ckpt_every = 1000
load = None
batch_size = 8
lr = 2e-5
grad_clip = 1.0
"""


def test_a_training_of_1_0_reads_its_table_and_cleans_captions(converted: Convert) -> None:
    made = converted(TRAINING_1_0)
    recipe = made.recipe
    assert recipe["dataset"]["type"] == "VideoText"
    assert (recipe["dataset"]["data_path"], recipe["dataset"]["transform_name"]) == ("clips/meta.csv", "center")
    assert (recipe["num_frames"], recipe["image_size"], recipe["frame_interval"]) == (16, [256, 256], 3)
    assert (recipe["batch_size"], recipe["model"]["time_scale"]) == (8, 2 / 3)
    assert (recipe["text_encoder"]["clean_caption"], recipe["text_encoder"]["dtype"]) == (True, "fp32")
    assert recipe["bucketer"]["type"] == "fixed"
    assert "tables have a header here" in made.done.err
    assert "fetched some weights by their file names" in made.done.err


TRAINING_1_1 = """
dataset = dict(
    type="VariableVideoTextDataset", data_path="clips/meta.csv", num_frames=None, frame_interval=3,
    image_size=(None, None), transform_name="resize_crop",
)
bucket_config = {"144p": {1: (0.5, 48), 16: (1.0, 6)}, "256": {1: (0.5, 24), 64: (0.0, None)}, "4K": {1: (0.1, 1)}}
mask_ratios = {"mask_no": 0.75, "mask_quarter_random": 0.15, "mask_image_head": 0.1}
num_workers = 8
num_bucket_build_workers = 16
dtype = "bf16"
grad_checkpoint = False
model = dict(
    type="STDiT2-XL/2", from_pretrained=None, input_sq_size=512, qk_norm=True, enable_flashattn=True,
    enable_layernorm_kernel=True,
)
vae = dict(type="VideoAutoencoderKL", from_pretrained="stabilityai/sd-vae-ft-ema", micro_batch_size=4, cache_dir=None)
text_encoder = dict(type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl", model_max_length=200, shardformer=True)
scheduler = dict(type="iddpm", timestep_respacing="")
seed = 42
outputs = "outputs"
wandb = False
epochs = 1000
log_every = 10
ckpt_every = 500
load = "outputs/003-STDiT2-XL-2/epoch0-global_step500"
start_from_scratch = True
batch_size = None
lr = 2e-5
grad_clip = 1.0
"""


def test_a_training_of_1_1_keeps_its_names_of_masks_and_corrects_the_switch(converted: Convert) -> None:
    made = converted(TRAINING_1_1)
    recipe = made.recipe
    assert recipe["mask_ratios"] == {"mask_no": 0.75, "mask_quarter_random": 0.15, "mask_image_head": 0.1}
    assert (recipe["frame_interval"], recipe["num_frames"], recipe["image_size"]) == (3, None, None)
    assert list(recipe["bucketer"]["bucket_config"]) == ["144p", "256", "4k"]
    assert recipe["model"]["enable_flash_attn"] is True
    assert "which STDiT2-XL/2 of Open-Sora does not read" in made.done.err
    assert recipe["model"]["from_pretrained"] == "outputs/003-STDiT2-XL-2/epoch0-global_step500"
    assert recipe["resume"] is None


SAMPLING_1_2 = """
resolution = "240p"
aspect_ratio = "9:16"
num_frames = "51"
fps = 24
frame_interval = 1
save_fps = 24
prompt_path = "prompts.txt"
save_dir = "./samples/mine/"
seed = 42
batch_size = 1
multi_resolution = "STDiT2"
dtype = "bf16"
condition_frame_length = 5
align = 5
model = dict(type="STDiT3-XL/2", from_pretrained="hpcai-tech/OpenSora-STDiT-v3", qk_norm=True, enable_flash_attn=True)
vae = dict(type="OpenSoraVAE_V1_2", from_pretrained="hpcai-tech/OpenSora-VAE-v1.2", micro_frame_size=17)
text_encoder = dict(type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl", model_max_length=300)
scheduler = dict(type="rflow", use_timestep_transform=True, num_sampling_steps=30, cfg_scale=7.0)
aes = 6.5
flow = None
verbose = 1
"""


def test_a_sampling_of_1_2_has_every_setting(converted: Convert) -> None:
    made = converted(SAMPLING_1_2)
    recipe = made.recipe
    wanted = {"job": "sample", "resolution": "240p", "aspect_ratio": "9:16", "num_frames": 51, "save_fps": 24.0}
    wanted |= {"prompt_path": "prompts.txt", "outputs": "samples/mine", "align": 5, "aes": 6.5, "flow": None}
    assert {key: recipe[key] for key in wanted} == wanted
    assert (recipe["scheduler"]["num_sampling_steps"], recipe["scheduler"]["cfg_scale"]) == (30, 7.0)
    assert recipe["text_encoder"]["clean_caption"] is True
    assert "verbose = 1" in made.done.err


def test_an_image_size_goes_before_a_resolution_and_prompts_before_their_file(converted: Convert) -> None:
    made = converted(SAMPLING_1_2 + 'image_size = (240, 426)\nprompt = ["a", "b"]\n')
    recipe = made.recipe
    assert (recipe["image_size"], recipe["resolution"], recipe["aspect_ratio"]) == ([240, 426], None, None)
    assert (recipe["prompts"], recipe["prompt_path"]) == (["a", "b"], None)
    assert "resolution = '240p': image_size goes before it" in made.done.err
    assert "prompt_path = 'prompts.txt': `prompt` goes before it" in made.done.err


SAMPLING_1_1 = """
num_frames = 16
frame_interval = 3
fps = 24
image_size = (240, 426)
multi_resolution = "STDiT2"
prompt = ["A car drives.", "A hall. {\\"reference_path\\": \\"a.png\\", \\"mask_strategy\\": \\"0\\"}", "Waves."]
loop = 2
condition_frame_length = 4
reference_path = ["https://example.org/d0.mp4", None, "b.png"]
mask_strategy = ["0,0,0,0,8,0.3", None, "0"]
model = dict(type="STDiT2-XL/2", from_pretrained=None, input_sq_size=512, qk_norm=True)
vae = dict(type="VideoAutoencoderKL", from_pretrained="stabilityai/sd-vae-ft-ema", micro_batch_size=4)
text_encoder = dict(type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl", model_max_length=200)
scheduler = dict(type="iddpm", num_sampling_steps=100, cfg_scale=7.0, cfg_channel=3)
dtype = "bf16"
batch_size = 1
seed = 42
save_dir = "samples"
"""


def test_references_of_1_1_are_read_as_it_reads_them(converted: Convert) -> None:
    recipe = converted(SAMPLING_1_1).recipe
    assert recipe["reference_path"] == ["https://example.org/d0.mp4", "", "b.png"]
    assert recipe["mask_strategy"] == ["0,0,0,0,8,0.3", "", "0"]
    assert (recipe["mask_strategy_format"], recipe["allow_download"]) == ("v1.1", True)
    assert (recipe["loop"], recipe["condition_frame_length"], recipe["fps"], recipe["frame_interval"]) == (
        2,
        4,
        24.0,
        3,
    )
    assert recipe["scheduler"]["cfg_channel"] == 3


@pytest.mark.parametrize("model", ["DiT-XL/2", "Latte-XL/2x2"])
def test_classes_are_prompts(converted: Convert, model: str) -> None:
    recipe = converted(f"""
num_frames = 1
fps = 1
image_size = (256, 256)
model = dict(type="{model}", condition="label_1000", no_temporal_pos_emb=True, from_pretrained="PRETRAINED_MODEL",
    enable_flashattn=True)
vae = dict(type="VideoAutoencoderKL", from_pretrained="stabilityai/sd-vae-ft-ema")
text_encoder = dict(type="classes", num_classes=1000)
scheduler = dict(type="dmp-solver", num_sampling_steps=20, cfg_scale=4.0)
dtype = "fp16"
batch_size = 2
seed = 42
prompt_path = "prompts.txt"
save_dir = "./samples/"
""").recipe
    assert (recipe["model"]["condition"], recipe["text_encoder"]["num_classes"]) == ("label_1000", 1000)
    assert (recipe["scheduler"]["type"], recipe["dtype"]) == ("dpm-solver", "fp16")


def test_options_that_a_component_lacks_are_told_and_not_written(converted: Convert) -> None:
    made = converted(
        SAMPLING_1_2.replace('type="rflow", use', 'type="rflow", cfg_channel=3, use').replace(
            'type="STDiT3-XL/2",', 'type="STDiT3-XL/2", space_scale=2.0,'
        )
    )
    assert "model.space_scale = 2.0: STDiT3-XL/2 has no such option" in made.done.err
    assert "scheduler.cfg_channel = 3: rflow has no such option" in made.done.err


SEARCH = TRAINING_1_2[: TRAINING_1_2.index("bucket_config")] + TRAINING_1_2[TRAINING_1_2.index("grad_checkpoint") :]


def test_a_search_for_batch_sizes_has_guesses_and_ranges(converted: Convert) -> None:
    made = converted(SEARCH + 'base = ("240p", "51")\nbucket_config = {"240p": {1: (297, 200), 51: (20, 0)}}\n')
    recipe = made.recipe
    assert recipe["job"] == "search-batch-size"
    assert recipe["search"]["bucket_config"] == {"240p": {1: [297, 200], 51: [20, 0]}}
    assert recipe["bucketer"]["bucket_config"] == {"240p": {1: [1.0, 297], 51: [1.0, 20]}}
    assert recipe["search"]["base"] == ["240p", 51]


def test_probabilities_that_are_whole_numbers_make_no_search(converted: Convert) -> None:
    recipe = converted(SEARCH + 'bucket_config = {"240p": {1: (1, 297), 51: (0, 2)}, "144p": {51: (1, 3)}}\n').recipe
    assert (recipe["job"], recipe["bucketer"]["bucket_config"]["240p"]) == ("train", {1: [1.0, 297], 51: [0.0, 2]})


def test_a_step_time_goes_before_the_base(converted: Convert) -> None:
    both = 'base = ("240p", 51)\nbase_step_time = 12\nbucket_config = {"240p": {51: (20, 3)}}\n'
    made = converted(SEARCH + both)
    assert (made.recipe["search"]["base_step_time"], made.recipe["search"]["base"]) == (12.0, None)
    assert "base_step_time goes before it" in made.done.err


def test_a_configuration_that_keeps_features_is_a_job_of_its_own(converted: Convert) -> None:
    text = SEARCH.replace("epochs = 3\n", "").replace("scheduler =", "unused =")
    text = text[: text.index("mask_ratios")] + 'seed = 1\nsave_dir = "kept"\nbin_size = 50\nsave_text_features = True\n'
    recipe = converted(text + 'bucket_config = {"144p": {51: (1.0, 2)}}\nsave_compressed_text_features = True\n').recipe
    assert (recipe["job"], recipe["epochs"]) == ("encode", 1)
    assert (recipe["features"]["cache"], recipe["features"]["shard_size"]) == ("kept", 50)


def test_features_that_are_read_are_named(converted: Convert) -> None:
    text = SEARCH[SEARCH.index("grad_checkpoint") :]
    text = text[: text.index("vae =")] + text[text.index("scheduler =") :]
    made = converted('dataset = dict(type="BatchFeatureDataset", data_path="bins")\nload_text_features = True\n' + text)
    recipe = made.recipe
    assert (recipe["features"]["cache"], recipe["features"]["mode"]) == ("bins", "read")
    assert recipe["vae"]["type"] == "OpenSoraVAE_V1_2"
    assert "made them: name yours" in made.done.err


AUTOENCODER = """
num_frames = 17
image_size = (256, 256)
dataset = dict(type="VideoTextDataset", data_path="clips/meta.csv", num_frames=num_frames, frame_interval=1,
    image_size=image_size)
num_workers = 16
dtype = "bf16"
grad_checkpoint = True
model = dict(
    type="VideoAutoencoderPipeline", freeze_vae_2d=True, from_pretrained=None, cal_loss=True,
    vae_2d=dict(type="VideoAutoencoderKL", from_pretrained="PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers",
        subfolder="vae", local_files_only=True),
    vae_temporal=dict(type="VAE_Temporal_SD", from_pretrained=None),
)
perceptual_loss_weight = 0.1
kl_loss_weight = 1e-6
mixed_strategy = "mixed_video_image"
mixed_image_ratio = 0.2
use_real_rec_loss = False
use_z_rec_loss = True
use_image_identity_loss = True
seed = 42
outputs = "outputs/vae_stage1"
wandb = False
epochs = 100
log_every = 1
ckpt_every = 1000
load = None
batch_size = 1
lr = 1e-5
grad_clip = 1.0
"""


def test_a_training_of_an_autoencoder_has_its_own_job(converted: Convert) -> None:
    made = converted(AUTOENCODER)
    recipe = made.recipe
    assert (recipe["job"], recipe["num_frames"], recipe["image_size"]) == ("train-autoencoder", 17, [256, 256])
    assert (recipe["vae"]["freeze_vae_2d"], recipe["vae"]["vae_2d"]["subfolder"]) == (True, "vae")
    assert (recipe["mixed_strategy"], recipe["mixed_image_ratio"]) == ("mixed_video_image", 0.2)
    assert (recipe["use_real_rec_loss"], recipe["use_z_rec_loss"], recipe["use_image_identity_loss"]) == (
        False,
        True,
        True,
    )
    assert recipe["perceptual_loss_weight"] == 0.0
    assert "perceptual_loss_weight = 0.1: counts for the error of the pixels" in made.done.err
    assert "grad_checkpoint = True" in made.done.err


def test_a_discriminator_takes_its_settings_along(converted: Convert) -> None:
    text = (
        AUTOENCODER.replace("use_real_rec_loss = False", "use_real_rec_loss = True")
        + """
discriminator = dict(type="NLayerDiscriminator", from_pretrained=None, input_nc=3, n_layers=3, use_actnorm=False)
discriminator_factor = 1
discriminator_start = -1
generator_factor = 0.5
generator_loss_type = "hinge"
discriminator_loss_type = "hinge"
lecam_loss_weight = None
gradient_penalty_loss_weight = None
"""
    )
    recipe = converted(text).recipe
    wanted = {"type": "2d", "n_layers": 3, "start": -1, "factor": 1.0, "generator_factor": 0.5}
    assert {key: recipe["discriminator"][key] for key in wanted} == wanted
    assert recipe["perceptual_weights"] == ["vgg16-397923af.pth", "vgg.pth"]


def test_settings_of_a_discriminator_without_one_are_told(converted: Convert) -> None:
    made = converted(AUTOENCODER + "discriminator_start = 500\n")
    assert made.recipe["discriminator"] is None
    assert "discriminator_start = 500: counts with a discriminator" in made.done.err


def test_a_trial_of_an_autoencoder_reconstructs(converted: Convert) -> None:
    recipe = converted("""
image_size = (256, 256)
num_frames = 17
dtype = "bf16"
batch_size = 1
seed = 42
save_dir = "samples/vae_video"
cal_stats = True
log_stats_every = 100
dataset = dict(type="VideoTextDataset", data_path="clips/meta.csv", num_frames=num_frames, image_size=image_size)
num_samples = 100
num_workers = 4
model = dict(type="OpenSoraVAE_V1_2", from_pretrained="hpcai-tech/OpenSora-VAE-v1.2", micro_frame_size=None,
    micro_batch_size=4, cal_loss=True)
""").recipe
    assert (recipe["job"], recipe["max_clips"], recipe["outputs"]) == ("reconstruct", 100, "samples/vae_video")


def test_three_mistakes_are_told_at_once(here: Any, run: Convert) -> None:
    (here / "bad.py").write_text(
        "import os\nmodel = dict(type='STDiT', depth=os.cpu_count())\nlr = [i for i in (1,)]\n"
    )
    done = run("bad.py", "-o", "made.yaml")
    assert done.status == 2
    assert done.err == (
        "bad.py:1:1: imports are not carried out\n"
        "    write the values that come from there in place of the names\n"
        "bad.py:2:34: os.cpu_count(...) is not called\n"
        "    write the value that comes out; dict, list, tuple, int and float are understood\n"
        "bad.py:3:6: comprehensions are not carried out\n"
        "    write the entries out\n"
        "3 problems; nothing was written."
    )
    assert not (here / "made.yaml").exists()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "x", "configurations of Open-Sora end in .py"),
        ("a.py", "x = 1", "nothing tells whether it trains"),
        ("a.py", "num_eval_timesteps = 10\nlr = 1", "Write held_out: {rows: 100, timesteps: 10}"),
    ],
)
def test_what_is_no_configuration_of_a_job_is_refused(here: Any, run: Convert, name: str, text: str, said: str) -> None:
    (here / name).write_text(text)
    done = run(name)
    assert done.status == 2
    assert said in done.err


def test_nothing_is_overwritten_unless_asked_for(here: Any, run: Convert) -> None:
    (here / "given.py").write_text(SAMPLING_1_2)
    (here / "made.yaml").write_text("mine")
    done = run("given.py", "-o", "made.yaml")
    assert (done.status, (here / "made.yaml").read_text()) == (2, "mine")
    assert "give --force" in done.err
    assert run("given.py", "-o", "absent/made.yaml").status == 2
    assert run("given.py", "-o", "made.yaml", "--force").status == 0
    assert [path.name for path in here.iterdir() if path.name.startswith(".")] == []


def test_a_recipe_is_printed_where_no_file_is_named(here: Any, run: Convert) -> None:
    (here / "given.py").write_text(TRAINING_1_2.replace("clips/meta.csv", "absent.csv"))
    done = run("given.py")
    assert "job: train\n" in done.out
    assert "Still to do before it runs:\n  - recipe: dataset.data_path: no such file or folder: absent.csv" in done.err


WRONG = ("3", "'x'", "[]", "{'a': {'b': 3}}", "(1, 2)", "True", "dict(type=None)")
GIVEN = {"training": TRAINING_1_2, "sampling": SAMPLING_1_1, "autoencoder": AUTOENCODER}


@pytest.mark.parametrize("name", list(GIVEN))
def test_a_value_of_the_wrong_kind_is_left_to_the_recipes_own_check(here: Any, name: str) -> None:
    """Whatever stands in the place of a value: a recipe is made, or a mistake is told; nothing fails on the way."""
    text = GIVEN[name]
    keys = [line.partition(" = ")[0] for line in text.splitlines() if " = " in line and line[0] not in " #"]
    made = 0
    for key in keys:
        for value in WRONG:
            (here / "given.py").write_text(f"{text}\n{key} = {value}\n")
            try:
                made += bool(converted_draft(here / "given.py"))
            except UserError:
                continue
    assert made > len(keys)
