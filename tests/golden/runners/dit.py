"""Cases of DiT: the original image model, and Open-Sora's video form."""

import re
from pathlib import Path
from typing import Any

import dit_form
import torch
from dit_form import Subject
from torch import Tensor
from vidgen.interfaces import Context
from vidgen_dit import DiTOptions
from vidgen_dit.model import DiT, build
from vidgen_dit.weights import to_dit
from weight_rule import fill

ORIGINAL = "facebookresearch/DiT"
VIDEO = re.compile(r"hpcaitech/Open-Sora.*\bopensora\.models\.dit\.")
GUIDED = 3  # channels, in the model's own guided forward
SWITCHES = {"in_channels", "hidden_size", "depth", "num_heads", "mlp_ratio", "class_dropout_prob", "learn_sigma"}


def matches(reference: str, case: dict[str, Any]) -> bool:
    """Whether the case is of this family."""
    return reference.startswith(ORIGINAL) or VIDEO.match(reference) is not None


def run(case: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> None:
    """Run one case. Raises: AssertionError, when a number or name differs or the case asks for something unknown."""
    original = case["reference"].startswith(ORIGINAL)
    options = DiTOptions(**(_image_options(case["constructor"]) if original else dit_form.video_options(case)))
    if "parameters" in case:
        _run_listing(case, options, original)
        return
    model = build(options, Context())
    if original:
        dit_form.fill_from(case, model, model.state_in("original"), to_dit)
        subject = Subject(
            model=model,
            state=model.state_in("original"),
            guided=GUIDED,
            embed=model.y_embedder,
            inward=lambda x: x.unsqueeze(2),
            outward=lambda out: out.squeeze(2),
        )
    else:
        fill(dit_form.cast(case, model), case["state_dict"], case["kept"])
        subject = Subject(model=model, state=model.state_dict(), guided=GUIDED, embed=model.y_embedder)
    dit_form.run_call(case, tensors, subject)


def _run_listing(case: dict[str, Any], options: DiTOptions, original: bool) -> None:
    with torch.device("meta"):
        model: DiT = build(options, Context(load_weights=False))
    if original:
        dit_form.check_other_listing(case, model.state_in("original"), ("pos_embed",))
    else:
        dit_form.check_listing(case, model)


def _image_options(given: dict[str, Any]) -> dict[str, Any]:
    """The original constructor as options of the video form: single frames, square."""
    sides = {"input_size": given.get("input_size", 32), "patch_size": given.get("patch_size", 2)}
    known = {"num_classes", *sides, *SWITCHES}
    assert set(given) <= known, f"unknown arguments: {sorted(set(given) - known)}"
    return {
        **{name: value for name, value in given.items() if name in SWITCHES},
        **{name: (1, side, side) for name, side in sides.items()},
        "condition": f"label_{given.get('num_classes', 1000)}",
        "no_temporal_pos_emb": True,
    }
