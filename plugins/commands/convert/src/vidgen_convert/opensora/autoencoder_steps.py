"""From settings of Open-Sora 1.2's autoencoders to `job: train-autoencoder` and `job: reconstruct`."""

from collections.abc import Mapping

from vidgen_convert.draft import Draft
from vidgen_convert.opensora import common_steps as steps
from vidgen_convert.opensora.changes import number, renamed
from vidgen_convert.settings import Setting, Settings

DISCRIMINATORS: Mapping[str, str] = {"NLayerDiscriminator": "2d", "N_Layer_DISCRIMINATOR_3D": "3d"}
LPIPS_FILES = ("vgg16-397923af.pth", "vgg.pth")
NO_DISCRIMINATOR = "counts with a discriminator = dict(...) alone"


def finish_training(settings: Settings, draft: Draft, stem: str) -> None:
    """What a table cannot say of a training."""
    steps.name_dataset(settings, draft)
    steps.choose_trackers(settings, draft)
    steps.share_work(settings, draft)
    steps.place_outputs(settings, draft, stem)
    steps.keep_all_checkpoints(draft)
    _continue(settings, draft)
    _choose_discriminator(settings, draft)
    _mix_images(settings, draft)
    _perceive(settings, draft)


def finish_reconstruction(settings: Settings, draft: Draft) -> None:
    """What a table cannot say of a trial."""
    steps.name_dataset(settings, draft)
    folder = settings.value("save_dir")
    if folder is not None:
        draft.put("outputs", folder, "Open-Sora wrote _ori and _rec beside it; here they lie in it")


def _continue(settings: Settings, draft: Draft) -> None:
    if settings.value("load") is not None:
        draft.put("resume", settings.value("load"))


def _choose_discriminator(settings: Settings, draft: Draft) -> None:
    kind = settings.value("discriminator.type")
    if kind is not None:
        draft.put("discriminator.type", renamed(DISCRIMINATORS, kind))
    elif draft.take("discriminator") is not None:
        keys = ("discriminator_start", "discriminator_factor", "generator_factor", "generator_loss_type")
        for key in (*keys, "discriminator_loss_type", "lecam_loss_weight", "gradient_penalty_loss_weight"):
            if settings.value(key) is not None:
                draft.lose(Setting(key, settings.value(key), settings.place(key)), NO_DISCRIMINATOR)


def _mix_images(settings: Settings, draft: Draft) -> None:
    ratio = settings.value("mixed_image_ratio")
    if ratio is None:
        return
    if draft.get("mixed_strategy") == "mixed_video_image":
        draft.put("mixed_image_ratio", number(ratio))
    else:
        written = Setting("mixed_image_ratio", ratio, settings.place("mixed_image_ratio"))
        draft.lose(written, "counts with mixed_strategy = 'mixed_video_image' alone, as in Open-Sora 1.2")


def _perceive(settings: Settings, draft: Draft) -> None:
    weight = settings.value("perceptual_loss_weight")
    if not weight:
        return
    if settings.value("use_real_rec_loss") or draft.get("discriminator") is not None:
        draft.put("perceptual_loss_weight", number(weight))
        draft.put("perceptual_weights", list(LPIPS_FILES), "Open-Sora fetched them; see docs/autoencoders.md for where")
    else:
        written = Setting("perceptual_loss_weight", weight, settings.place("perceptual_loss_weight"))
        draft.lose(written, "counts for the error of the pixels, which this file does not learn from")
