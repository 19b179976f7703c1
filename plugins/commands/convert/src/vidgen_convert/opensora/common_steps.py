"""Steps that conversions of several of Open-Sora's jobs share."""

from collections.abc import Mapping
from typing import Any

from vidgen_convert.draft import Draft
from vidgen_convert.opensora.changes import renamed
from vidgen_convert.opensora.dataset_keys import TYPES
from vidgen_convert.opensora.model_keys import DOWNLOADS
from vidgen_convert.opensora.recognise import Release
from vidgen_convert.opensora.scheduler_keys import MISSPELT
from vidgen_convert.parallel import choose_parallel
from vidgen_convert.settings import Setting, Settings

TABLE_OF_CLIPS = "clips/meta.csv"
ATTENTION_OFF = (
    "the file says enable_flashattn, which {type} of Open-Sora does not read: flash attention was off there. "
    "It is called enable_flash_attn"
)
READS_FLASHATTN = ("STDiT-", "DiT", "Latte", "PixArt")
"""Beginnings of the models that read the older name, in releases before 1.2."""
PUBLISHED_FILES = (
    *("DiT-XL-2-512x512.pt", "DiT-XL-2-256x256.pt", "Latte-XL-2-256x256-ucf101.pt", "PixArt-XL-2-256x256.pth"),
    *("PixArt-XL-2-SAM-256x256.pth", "PixArt-XL-2-512x512.pth", "PixArt-XL-2-1024-MS.pth"),
    *("PixArt-Sigma-XL-2-256x256.pth", "PixArt-Sigma-XL-2-512-MS.pth", "PixArt-Sigma-XL-2-1024-MS.pth"),
    *("PixArt-Sigma-XL-2-2K-MS.pth", "OpenSora-v1-16x256x256.pth", "OpenSora-v1-HQ-16x256x256.pth"),
    "OpenSora-v1-HQ-16x512x512.pth",
)
"""Weights that Open-Sora fetched when it was given their names."""


def correct_attention(settings: Settings, draft: Draft, release: Release) -> None:
    """Note a switch of flash attention that the model of the file does not read."""
    kind = str(settings.value("model.type", ""))
    misspelt = release == "1.2" or not kind.startswith(READS_FLASHATTN)
    if settings.value("model.enable_flashattn") and misspelt:
        draft.note("model.enable_flash_attn", ATTENTION_OFF.format(type=kind))


def note_downloads(settings: Settings, draft: Draft) -> None:
    """Note names of weights that Open-Sora fetched by itself."""
    if settings.value("model.from_pretrained") in PUBLISHED_FILES:
        draft.note("model.from_pretrained", DOWNLOADS)


def name_scheduler(settings: Settings, draft: Draft) -> None:
    """The type of the scheduler, with its spelling corrected."""
    written = settings.value("scheduler.type")
    if written is None:
        return
    kind = renamed(MISSPELT, written)
    draft.put("scheduler.type", kind)
    if kind != written:
        draft.note("scheduler.type", f"the file says {written!r}, as Open-Sora's documentation does; {kind} is meant")


def name_dataset(settings: Settings, draft: Draft) -> None:
    """The type of the dataset, and where its table is."""
    written = settings.value("dataset.type")
    kind = renamed(TYPES, written or "DatasetFromCSV")
    draft.put("dataset.type", kind)
    if kind == "VideoText" and written is not None:
        draft.put("dataset.repeat_images", True, "stills are repeated to clips, as in Open-Sora")
    if written is None:
        _as_in_first_release(settings, draft)
    if draft.get("dataset.data_path") is None:
        draft.put("dataset.data_path", TABLE_OF_CLIPS, "the file names none: say where yours is, or give --data-path")


def _as_in_first_release(settings: Settings, draft: Draft) -> None:
    draft.put("dataset.transform_name", "center", "Open-Sora 1.0 also flipped clips at random, which is not done here")
    draft.note("dataset.data_path", "tables have a header here: path,text as the first line")
    if settings.value("use_image_transform"):
        draft.note("dataset.type", "use_image_transform: stills are told from videos by their files")


def choose_trackers(settings: Settings, draft: Draft) -> None:
    """Where numbers go: Open-Sora always wrote TensorBoard's files."""
    trackers: list[dict[str, Any]] = [{"type": "csv"}, {"type": "tensorboard"}]
    if settings.value("wandb"):
        trackers.append({"type": "wandb", "mode": "online"})
        draft.note("trackers", "Open-Sora's project was minisora or Open-Sora; say project: NAME for yours")
    draft.put("trackers", trackers)


def share_work(settings: Settings, draft: Draft) -> None:
    """How devices are used."""
    plugin, sp_size = settings.value("plugin"), settings.value("sp_size", 1)
    if plugin is not None:
        choose_parallel(str(plugin), int(sp_size), draft)
    elif sp_size != 1:
        draft.lose(Setting("sp_size", sp_size, settings.place("sp_size")), "counts with plugin = 'zero2-seq' alone")


def continue_from(settings: Settings, draft: Draft) -> None:
    """A run that is gone on with, or whose weights alone are taken."""
    load = settings.value("load")
    if load is None:
        return
    if settings.value("start_from_scratch"):
        draft.put("model.from_pretrained", load, "load with start_from_scratch: the weights alone are taken")
        return
    draft.put("resume", load)
    note = (
        "Open-Sora's own checkpoints give weights, not optimizer and position: name such a folder as "
        "model.from_pretrained"
    )
    draft.note("resume", note)


def place_outputs(settings: Settings, draft: Draft, stem: str) -> None:
    """The run's folder, where Open-Sora made a numbered one."""
    folder = settings.value("outputs")
    if folder is not None:
        draft.put("outputs", f"{str(folder).rstrip('/')}/{stem}", "the run's own folder; nothing is numbered")


def keep_all_checkpoints(draft: Draft) -> None:
    """Open-Sora never deletes a checkpoint."""
    if draft.get("checkpoint.every") is not None:
        draft.put("checkpoint.keep", None, "null keeps all, as Open-Sora does; each holds model, average and optimizer")


def type_encoders(settings: Settings, draft: Draft, release: Release) -> None:
    """Encoders run in the dtype of the run, but for the first release's text encoder; here each says its own."""
    dtype = settings.value("dtype")
    if dtype == "bf16":
        _set_dtype(draft, "vae", "bf16")
    if dtype in ("bf16", "fp16") and release != "1.0":
        _set_dtype(draft, "text_encoder", dtype)


def _set_dtype(draft: Draft, name: str, dtype: str) -> None:
    section: Mapping[str, Any] | None = draft.get(name)
    if section is not None and section.get("type") != "classes":
        draft.put(f"{name}.dtype", dtype, "as the run's dtype in Open-Sora; fp32 is the default here")


def clean_captions(draft: Draft, release: Release, job: str) -> None:
    """Open-Sora 1.0 cleans every caption, later ones only what is sampled."""
    if draft.get("text_encoder.type") == "t5" and (release == "1.0" or job == "sample"):
        draft.put("text_encoder.clean_caption", True, "as Open-Sora's script does")
