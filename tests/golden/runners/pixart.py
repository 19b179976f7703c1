"""Cases of PixArt: Open-Sora's three video forms, the image models of PixArt-alpha and PixArt-Sigma, the conversion of
their files, and listings of full sizes.

Letters: B rows of a batch.
"""

import re
from pathlib import Path
from typing import Any

import dit_form
import torch
import vidgen_pixart
from comparing import close, outputs
from dit_form import Subject
from torch import Tensor
from vidgen.interfaces import Context
from vidgen_pixart import KvCompression
from vidgen_pixart.model import PixArt, build
from vidgen_pixart.weights import to_pixart
from weight_rule import fill

CONVERSION = "reparameter"
OPEN_SORA = ("PixArt", "PixArtMS", "PixArt_Sigma")
IMAGE_CHANNELS_GUIDED = 3
SWITCHES_WITHOUT_EFFECT = ("dtype", "enable_flash_attn", "enable_layernorm_kernel", "enable_sequence_parallelism")
IMAGE_NAMES = {"lewei_scale": "space_scale", "pe_interpolation": "space_scale"}


def matches(reference: str, case: dict[str, Any]) -> bool:
    """Whether the case's reference is a PixArt, or loads one's file."""
    if reference.startswith("hpcaitech/Open-Sora"):
        return _name(case) in OPEN_SORA or _is_conversion(case)
    return _is_image(case)


def run(case: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> None:
    """Run one case. Raises: AssertionError, when a number or name differs."""
    if _is_conversion(case):
        _run_conversion(case, tensors)
    elif tensors:
        dit_form.run_call(case, tensors, _image_subject(case) if _is_image(case) else _video_subject(case))
    else:
        _run_listing(case)


def _is_image(case: dict[str, Any]) -> bool:
    return case["reference"].startswith("PixArt-alpha/")


def _is_conversion(case: dict[str, Any]) -> bool:
    loaded = str(case.get("call", {}).get("name", ""))
    return case["reference"].endswith(CONVERSION) and loaded.startswith("PixArt")


def _name(case: dict[str, Any]) -> str:
    """The class, wherever it stands behind the project: `.., opensora.models.pixart.PixArtMS, ..` -> `PixArtMS`."""
    found = re.search(rf"\b({'|'.join(OPEN_SORA)})\b", case["reference"].partition(" ")[2])
    return found[1] if found else ""


def _video_subject(case: dict[str, Any]) -> Subject:
    model = _video_model(case)
    fill(model, case["state_dict"], case["kept"])
    return Subject(
        model=dit_form.cast(case, model),
        state=model.state_dict(),
        guided=model.latent_channels,
        embed=model.y_embedder,
        keywords=_keywords,
    )


def _image_subject(case: dict[str, Any]) -> Subject:
    model = _image_model(case)
    dit_form.fill_from(case, model, model.state_in("original"), to_pixart)
    return Subject(
        model=model,
        state=model.state_in("original"),
        guided=IMAGE_CHANNELS_GUIDED,
        embed=model.y_embedder,
        inward=lambda x: x.unsqueeze(2),
        outward=lambda out: out.squeeze(2),
        keywords=_keywords,
    )


def _keywords(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """`hw`, in pixels, as `height` and `width`."""
    own = {name: value for name, value in given.items() if name != "hw"}
    if "hw" in given:
        own["height"], own["width"] = given["hw"].unbind(1)
    return own


def _run_listing(case: dict[str, Any]) -> None:
    with torch.device("meta"):
        if _is_image(case):
            dit_form.check_other_listing(case, _image_model(case).state_in("original"), ())
        else:
            dit_form.check_listing(case, _video_model(case))


def _run_conversion(case: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    names = {"proj_weight": "x_embedder.proj.weight", "y_embedding": "y_embedder.y_embedding"}
    published = {own: tensors[f"in.{name}"] for name, own in names.items() if f"in.{name}" in tensors}
    published |= {name: torch.zeros(1) for name in case.get("removed_keys", ())}
    rows = case["constructor"]["model_max_length"]
    width = published["y_embedder.y_embedding"].shape[1] if "y_embedder.y_embedding" in published else 1
    converted = to_pixart(published, {"y_embedder.y_embedding": torch.empty(rows, width, device="meta")})
    for name, value in outputs(tensors).items():
        close(name, converted.state[names[name]], value, case["tolerance"]["atol"])
    left = set(case.get("removed_keys", ())) & set(converted.state)
    assert not left, f"not removed: {sorted(left)}"


def _video_model(case: dict[str, Any]) -> PixArt:
    return _built(_name(case), dit_form.video_options(case))


def _image_model(case: dict[str, Any]) -> PixArt:
    """The image model as a video model of one frame. `base_size` is the side that its positions refer to."""
    given = {"input_size": 32, "patch_size": 2, "class_dropout_prob": 0.1, **case["constructor"]}
    side, patch = given.pop("input_size"), given.pop("patch_size")
    options = {IMAGE_NAMES.get(name, name): value for name, value in given.items()}
    options = {name: value for name, value in options.items() if name not in SWITCHES_WITHOUT_EFFECT}
    multi_scale = _name(case) == "PixArtMS"
    options["micro_condition"] = options.get("micro_condition", multi_scale and "alpha master" in case["reference"])
    sizes = {"input_size": (1, side, side), "patch_size": (1, patch, patch), "base_size": side}
    form = {"any_size": multi_scale, "no_temporal_pos_emb": True, "qk_norm_over": "width"}
    return _built("PixArt", {**options, **sizes, **form})


def _built(name: str, options: dict[str, Any]) -> PixArt:
    component = {one.name: one for one in vidgen_pixart.vidgen_models()}[name]
    if options.get("kv_compress_config") is not None:
        options = {**options, "kv_compress_config": KvCompression(**options["kv_compress_config"])}
    return build(component.options(**options), Context())
