"""Steps that conversions of training and sampling scripts of Open-Sora-Plan share."""

import re
from collections.abc import Mapping
from typing import Any

from vidgen_convert.draft import Draft
from vidgen_convert.parallel import SEQUENCE, choose_parallel
from vidgen_convert.settings import Settings

AUTOENCODERS: Mapping[str, str] = {"WFVAEModel_D8_4x8x8": "WFVAE-8dim", "WFVAEModel_D4_4x8x8": "WFVAE-4dim"}
"""Name there -> here; of other sizes the config.json beside the weights decides."""
V1_5_BETAS: Mapping[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def name_autoencoder(settings: Settings, draft: Draft) -> None:
    """The type of the autoencoder."""
    written = settings.value("--ae")
    if written is None:
        draft.put("vae.type", "WFVAE-8dim", "the script names none")
        return
    kind = AUTOENCODERS.get(written, "WFVAE" if re.match("WFVAE", written) else written)
    draft.put("vae.type", kind, "" if kind == written else f"{written} of the script")


def name_text_encoder(draft: Draft) -> None:
    """The type of the text encoder: T5 or mT5."""
    if draft.get("text_encoder") is not None:
        draft.put("text_encoder.type", "t5")


def share_clips(draft: Draft, ranks: int) -> None:
    """So many ranks share one clip."""
    if ranks > 1:
        choose_parallel(SEQUENCE, ranks, draft)


def to_config(draft: Draft, *keys: str) -> dict[str, Any]:
    """Keys of the scheduler, moved to the keyword arguments of a class of diffusers."""
    taken = {key: draft.take(f"scheduler.{key}") for key in keys}
    return {key: value for key, value in taken.items() if value is not None}
