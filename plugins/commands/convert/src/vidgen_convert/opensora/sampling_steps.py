"""From settings of Open-Sora's sampling to `job: sample`."""

from typing import Any

from vidgen_convert.draft import Draft
from vidgen_convert.opensora import common_steps as steps
from vidgen_convert.opensora.recognise import Release
from vidgen_convert.settings import Setting, Settings


def finish_sampling(settings: Settings, draft: Draft, *, release: Release) -> None:
    """What a table cannot say of a sampling."""
    steps.correct_attention(settings, draft, release)
    steps.note_downloads(settings, draft)
    steps.name_scheduler(settings, draft)
    steps.share_work(settings, draft)
    steps.type_encoders(settings, draft, release)
    steps.clean_captions(draft, release, "sample")
    _choose_prompts(settings, draft)
    _choose_size(settings, draft)
    _give_frames(draft, release)
    folder = settings.value("save_dir", settings.value("outputs"))
    if folder is not None:
        draft.put("outputs", folder)


def _choose_prompts(settings: Settings, draft: Draft) -> None:
    path = settings.value("prompt_path")
    if path is None:
        return
    if draft.get("prompts"):
        why = "`prompt` goes before it, as in Open-Sora"
        draft.lose(Setting("prompt_path", path, settings.place("prompt_path")), why)
    else:
        draft.put("prompt_path", path)


def _choose_size(settings: Settings, draft: Draft) -> None:
    """In Open-Sora image_size goes before resolution, here after it."""
    if draft.get("image_size") is None:
        return
    for key in ("resolution", "aspect_ratio"):
        if draft.take(key) is not None:
            written = Setting(key, settings.value(key), settings.place(key))
            draft.lose(written, "image_size goes before it, as in Open-Sora")


def _give_frames(draft: Draft, release: Release) -> None:
    references: list[Any] = draft.get("reference_path", [])
    if draft.get("mask_strategy") is not None and release == "1.1":
        draft.put("mask_strategy_format", "v1.1", "as Open-Sora 1.1 reads it")
    prompts = [one for one in draft.get("prompts", []) if '"reference_path"' in str(one)]
    if any("http://" in str(one) or "https://" in str(one) for one in (*references, *prompts)):
        draft.put("allow_download", True, "references that are addresses are fetched, as in Open-Sora")
