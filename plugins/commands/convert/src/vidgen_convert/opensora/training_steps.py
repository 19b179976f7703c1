"""From settings of a training of Open-Sora to `job: train`, `encode` or `search-batch-size`."""

from collections.abc import Mapping
from typing import Any

from vidgen_convert.draft import Draft
from vidgen_convert.opensora import common_steps as steps
from vidgen_convert.opensora.changes import frames
from vidgen_convert.opensora.recognise import Job, Release
from vidgen_convert.settings import Setting, Settings

DEFAULTS: Mapping[Release, Mapping[str, Any]] = {
    "1.0": {"epochs": 1000, "grad_clip": 1.0},
    "1.1": {"epochs": 1000, "grad_clip": 1.0},
    "1.2": {"epochs": 1000, "grad_clip": 0.0, "dtype": "bf16"},
}
"""What Open-Sora takes where a configuration is silent, and vidgen would take something else."""
ENCODERS_OF_FEATURES: Mapping[str, Mapping[str, Any]] = {
    "vae": {
        "type": "OpenSoraVAE_V1_2",
        "from_pretrained": "hpcai-tech/OpenSora-VAE-v1.2",
        **{"micro_frame_size": 17, "micro_batch_size": 4},
    },
    "text_encoder": {"type": "t5", "from_pretrained": "DeepFloyd/t5-v1_1-xxl", "model_max_length": 300},
}
"""What made the features of Open-Sora 1.2, where a configuration that reads them names no encoders."""
FEATURES = "features"


def finish_training(settings: Settings, draft: Draft, *, job: Job, release: Release, stem: str) -> None:
    """What a table cannot say of a training."""
    steps.correct_attention(settings, draft, release)
    steps.note_downloads(settings, draft)
    steps.name_scheduler(settings, draft)
    steps.name_dataset(settings, draft)
    steps.choose_trackers(settings, draft)
    steps.share_work(settings, draft)
    steps.continue_from(settings, draft)
    steps.place_outputs(settings, draft, stem)
    steps.keep_all_checkpoints(draft)
    _choose_bucketer(settings, draft)
    _read_features(settings, draft)
    if job == "encode":
        _keep_features(settings, draft)
    if job == "search-batch-size":
        _search(settings, draft)
    steps.type_encoders(settings, draft, release)
    steps.clean_captions(draft, release, job)


def _choose_bucketer(settings: Settings, draft: Draft) -> None:
    if draft.get("bucketer.bucket_config") is None:
        return
    buckets = draft.get("bucketer.bucket_config")
    draft.data["bucketer"] = {"type": "bucket", "bucket_config": buckets}
    for key in ("num_frames", "image_size"):
        draft.take(key)


def _read_features(settings: Settings, draft: Draft) -> None:
    batches = settings.value("dataset.type") == "BatchFeatureDataset"
    if not (batches or settings.value("load_video_features") or settings.value("load_text_features")):
        return
    folder = draft.get("dataset.data_path") if batches and settings.value("dataset.data_path") else FEATURES
    note = "of vidgen's own form: make them with the recipe of the clips, job=encode features.cache=FOLDER"
    draft.put("features.cache", folder, note)
    draft.put("features.mode", "read")
    if batches:
        draft.put("dataset.data_path", steps.TABLE_OF_CLIPS, "the clips of the features: their table is still read")
        draft.note("dataset.type", "give dataset and bucketer of the recipe that made the features")
    for name, section in ENCODERS_OF_FEATURES.items():
        if draft.get(name) is None:
            draft.put(name, dict(section), "features are found by the encoders that made them: name yours")


def _keep_features(settings: Settings, draft: Draft) -> None:
    draft.put("features.cache", settings.value("save_dir", FEATURES), "folder of the features")
    draft.put("epochs", 1, "one pass over the data")
    if draft.get("scheduler") is None:
        draft.put(
            "scheduler", {"type": "rflow"}, "not used by this job; a recipe has one, so that it can train as well"
        )


def _search(settings: Settings, draft: Draft) -> None:
    config = _with_guesses(draft.get("search.bucket_config", {}))
    draft.put(
        "bucketer", {"type": "bucket", "bucket_config": config}, "batch sizes are the guesses; no clip is left out"
    )
    base = settings.value("base")
    if base is None:
        return
    if settings.value("base_step_time") is not None:
        draft.lose(Setting("base", base, settings.place("base")), "base_step_time goes before it")
    else:
        draft.put("search.base", _base(base))


def _base(base: Any) -> Any:
    """[resolution, frames], or [batch size, seconds]; anything else is left for the recipe's own check."""
    is_pair = isinstance(base, list | tuple) and len(base) == 2
    return [base[0], frames(base[1])] if is_pair else base


def _with_guesses(ranges: Any) -> Any:
    """Ranges as buckets that keep everything, with the guess for a batch size; anything else as it is."""
    if isinstance(ranges, dict):
        return {key: _with_guesses(one) for key, one in ranges.items()}
    return [1.0, ranges[0]] if isinstance(ranges, list) and ranges else ranges
