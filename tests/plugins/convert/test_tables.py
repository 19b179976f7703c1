"""The tables, and the page that shows them: nothing is missing, and every target is a key of a recipe."""

import re
from pathlib import Path

import pytest
from attrs import fields_dict, has
from vidgen.registry import Registry
from vidgen_convert.opensora import flags as opensora_flags
from vidgen_convert.opensora.converting import TABLES
from vidgen_convert.opensora_plan import sampling_flags, training_flags
from vidgen_convert.rule import Rule, Table
from vidgen_convert.script.flags import Flags
from vidgen_convert.script.launcher_flags import LAUNCHER

PAGE = (Path(__file__).parents[3] / "docs" / "migration.md").read_text(encoding="utf-8")
ROWS: dict[str, list[str]] = {}
for line in PAGE.splitlines():
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    for name in re.findall(r"`([^`]+)`", cells[0]) if line.startswith("|") else ():
        ROWS.setdefault(name, []).append(line)

PUBLISHED = {
    "train": """num_frames frame_interval fps image_size root data_path use_image_transform num_workers dataset.type
        dataset.data_path dataset.num_frames dataset.frame_interval dataset.image_size dataset.transform_name
        dataset.dummy_text_feature bucket_config num_bucket_build_workers dtype grad_checkpoint plugin sp_size
        model.type model.from_pretrained model.space_scale model.time_scale model.no_temporal_pos_emb
        model.condition model.enable_flashattn model.enable_flash_attn model.enable_layernorm_kernel
        model.input_sq_size model.qk_norm model.qk_norm_legacy model.freeze_y_embedder model.skip_y_embedder
        model.only_train_temporal model.freeze model.base_size model.caption_channels model.model_max_length
        model.class_dropout_prob model.drop_path model.pred_sigma model.learn_sigma model.force_huggingface
        vae.type vae.from_pretrained vae.micro_batch_size vae.micro_frame_size vae.cache_dir
        vae.local_files_only vae.subfolder vae.freeze_vae_2d vae.cal_loss vae.force_huggingface
        text_encoder.type text_encoder.from_pretrained text_encoder.model_max_length text_encoder.shardformer
        text_encoder.cache_dir text_encoder.local_files_only text_encoder.num_classes scheduler.type
        scheduler.num_sampling_steps scheduler.cfg_scale scheduler.cfg_channel scheduler.timestep_respacing
        scheduler.sample_method scheduler.use_timestep_transform scheduler.use_discrete_timesteps scheduler.loc
        scheduler.scale scheduler.transform_scale mask_ratios seed outputs wandb epochs log_every ckpt_every
        load batch_size lr grad_clip weight_decay adam_eps ema_decay warmup_steps start_from_scratch
        load_video_features load_text_features vae_out_channels text_encoder_output_dim
        text_encoder_model_max_length save_text_features save_compressed_text_features bin_size log_time
        multi_resolution""",
    "search-batch-size": "bucket_config base base_step_time resolution",
    "sample": """num_frames frame_interval fps save_fps image_size resolution aspect_ratio multi_resolution prompt_path
        prompt save_dir seed batch_size dtype condition_frame_length condition_frame_edit align loop
        reference_path mask_strategy aes flow camera_motion sample_name num_sample start_index end_index
        prompt_as_path verbose watermark llm_refine model.type vae.type text_encoder.num_classes
        scheduler.cfg_channel""",
    "train-autoencoder": """num_frames image_size dataset.type dataset.data_path dataset.num_frames
        dataset.frame_interval dataset.image_size num_workers dtype grad_checkpoint plugin model.type
        model.freeze_vae_2d model.from_pretrained model.cal_loss model.vae_2d.type model.vae_2d.from_pretrained
        model.vae_2d.subfolder model.vae_2d.local_files_only model.vae_temporal.type
        model.vae_temporal.from_pretrained mixed_strategy mixed_image_ratio use_real_rec_loss use_z_rec_loss
        use_image_identity_loss perceptual_loss_weight kl_loss_weight discriminator.type
        discriminator.from_pretrained discriminator.input_nc discriminator.n_layers discriminator.use_actnorm
        discriminator_factor discriminator_start generator_factor generator_loss_type discriminator_loss_type
        lecam_loss_weight gradient_penalty_loss_weight seed outputs wandb epochs log_every ckpt_every load
        batch_size lr grad_clip""",
    "reconstruct": """image_size num_frames dtype batch_size seed save_dir cal_stats log_stats_every dataset.type
        dataset.data_path num_samples num_workers model.type model.from_pretrained model.micro_frame_size
        model.micro_batch_size model.cal_loss perceptual_loss_weight kl_loss_weight""",
}
"""Job -> keys of the published configurations."""

FLAG_TABLES: dict[str, Flags] = {
    "Open-Sora": opensora_flags.FLAGS,
    "Open-Sora-Plan, training": training_flags.TRAINING,
    "Open-Sora-Plan, sampling": sampling_flags.SAMPLING,
    "launchers": LAUNCHER,
}


@pytest.mark.parametrize("job", list(PUBLISHED))
def test_every_key_of_the_published_configurations_has_a_rule(job: str) -> None:
    assert [key for key in PUBLISHED[job].split() if key not in TABLES[job]] == []


def assert_has_row(name: str, rule: Rule) -> None:
    rows = ROWS.get(name, [])
    assert rows, f"{name} has no row in docs/migration.md"
    if rule.target:
        assert any(rule.target in row for row in rows), f"no row says that {name} goes to {rule.target}"


@pytest.mark.parametrize("job", list(TABLES))
def test_every_key_has_a_row_on_the_page(job: str) -> None:
    for name, rule in TABLES[job].items():
        assert_has_row(name, rule)


@pytest.mark.parametrize("name", list(FLAG_TABLES))
def test_every_flag_has_a_row_on_the_page(name: str) -> None:
    for flag, meant in FLAG_TABLES[name].items():
        assert_has_row(flag, meant.rule)


SECTIONS = {"model": "model", "vae": "autoencoder", "text_encoder": "text_encoder", "scheduler": "scheduler"}
SECTIONS |= {"dataset": "dataset", "bucketer": "bucketer"}


def keys_of(kind: str) -> set[str]:
    """Options that any component of a kind has."""
    offers = Registry.discover().offers(kind)
    return {"type"}.union(*(fields_dict(offer.component.options) for offer in offers))


@pytest.mark.parametrize("job", list(TABLES))
def test_every_target_is_a_key_of_the_job(job: str) -> None:
    options = next(one.component.options for one in Registry.discover().offers("job") if one.component.name == job)
    assert_targets(TABLES[job], options)


@pytest.mark.parametrize("flags", [training_flags.TRAINING, sampling_flags.SAMPLING])
def test_every_target_of_a_flag_is_a_key_of_its_job(flags: Flags) -> None:
    job = "train" if flags is training_flags.TRAINING else "sample"
    options = next(one.component.options for one in Registry.discover().offers("job") if one.component.name == job)
    assert_targets({name: flag.rule for name, flag in flags.items()}, options)


def assert_targets(table: Table, options: type) -> None:
    fields = fields_dict(options)
    for name, rule in table.items():
        if rule.kind != "key":
            continue
        top, _, rest = rule.target.partition(".")
        if top == "features" and top not in fields:
            continue
        assert top in fields, f"{name} goes to {rule.target}"
        if top in SECTIONS and rest:
            assert rest.partition(".")[0] in keys_of(SECTIONS[top]), f"{name} goes to {rule.target}"
        elif rest and has(fields[top].type):
            assert rest in fields_dict(fields[top].type), f"{name} goes to {rule.target}"


def test_flags_of_open_sora_set_keys_that_have_rules() -> None:
    known = set().union(*TABLES.values())
    targets = {flag.rule.target for flag in opensora_flags.FLAGS.values() if flag.rule.target}
    assert targets <= known


def test_what_a_program_takes_for_flags_is_of_flags_that_it_has() -> None:
    assert set(training_flags.DEFAULTS) <= set(training_flags.TRAINING)
    assert set(sampling_flags.DEFAULTS) <= set(sampling_flags.SAMPLING)


def test_no_row_of_the_page_is_without_a_rule_or_an_end() -> None:
    for line in PAGE.splitlines():
        if line.startswith("|"):
            assert line.endswith("|"), line
            assert line.count("|") in (3, 4), line
