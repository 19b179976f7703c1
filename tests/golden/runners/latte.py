"""Cases of Latte: the original model, and Open-Sora's video form."""

import re
from pathlib import Path
from typing import Any

import dit_form
import torch
from dit_form import Subject
from torch import Tensor
from vidgen.interfaces import Context
from vidgen_latte import LatteOptions
from vidgen_latte.model import build
from vidgen_latte.weights import to_latte
from weight_rule import fill

ORIGINAL = "Vchitect/Latte"
VIDEO = re.compile(r"hpcaitech/Open-Sora.*\bopensora\.models\.latte\.")
GUIDED = 4  # channels, in the model's own guided forward
SWITCHES = {"in_channels", "hidden_size", "depth", "num_heads", "mlp_ratio", "class_dropout_prob", "learn_sigma"}
FLAT = 78  # of the original's `extras`


def matches(reference: str, case: dict[str, Any]) -> bool:
    """Whether the case is of this family."""
    return reference.startswith(ORIGINAL) or VIDEO.match(reference) is not None


def run(case: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> None:
    """Run one case. Raises: AssertionError, when a number or name differs or the case asks for something unknown."""
    original = case["reference"].startswith(ORIGINAL)
    options = LatteOptions(**(_original_options(case["constructor"]) if original else dit_form.video_options(case)))
    if "parameters" in case:
        _run_listing(case, options, original)
        return
    model = build(options, Context())
    if original:
        dit_form.fill_from(case, model, model.state_in("original"), to_latte)
        subject = Subject(
            model=model,
            state=model.state_in("original"),
            guided=GUIDED,
            embed=model.y_embedder,
            inward=lambda x: x.transpose(1, 2),
            outward=lambda out: out.transpose(1, 2),
            keywords=_keywords,
        )
    else:
        fill(dit_form.cast(case, model), case["state_dict"], case["kept"])
        subject = Subject(model=model, state=model.state_dict(), guided=GUIDED, embed=model.y_embedder)
    dit_form.run_call(case, tensors, subject)


def _run_listing(case: dict[str, Any], options: LatteOptions, original: bool) -> None:
    with torch.device("meta"):
        model = build(options, Context(load_weights=False))
    if original:
        dit_form.check_other_listing(case, model.state_in("original"), ("pos_embed", "temp_embed"))
    else:
        dit_form.check_listing(case, model)


def _original_options(given: dict[str, Any]) -> dict[str, Any]:
    """The original constructor as options of the video form."""
    known = {"num_classes", "num_frames", "extras", "input_size", "patch_size", *SWITCHES}
    assert set(given) <= known, f"unknown arguments: {sorted(set(given) - known)}"
    side, patch = given.get("input_size", 32), given.get("patch_size", 2)
    conditions = {1: "none", 2: f"label_{given.get('num_classes', 1000)}", FLAT: "flat_text"}
    return {
        **{name: value for name, value in given.items() if name in SWITCHES},
        "input_size": (given.get("num_frames", 16), side, side),
        "patch_size": (1, patch, patch),
        "condition": conditions[given.get("extras", 1)],
    }


def _keywords(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The original has an argument of its own for flat captions."""
    return {"y" if name == "text_embedding" else name: value for name, value in given.items()}
