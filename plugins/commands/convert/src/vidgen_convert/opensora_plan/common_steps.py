"""Steps that conversions of training and sampling scripts of Open-Sora-Plan share."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from vidgen_convert.draft import Draft
from vidgen_convert.parallel import SEQUENCE, choose_parallel
from vidgen_convert.script.lines import Word
from vidgen_convert.settings import Setting, Settings

PROCESSES = ("--nproc_per_node", "--nproc-per-node", "--num_processes", "--num_gpus")
AUTOENCODERS: Mapping[str, str] = {"WFVAEModel_D8_4x8x8": "WFVAE-8dim", "WFVAEModel_D4_4x8x8": "WFVAE-4dim"}
"""Name there -> here; of other sizes the config.json beside the weights decides."""
V1_5_BETAS: Mapping[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def processes_of(launcher: Settings) -> int:
    """How many processes the launcher starts on a node; 1 when it does not say."""
    given = [launcher.value(flag) for flag in PROCESSES]
    return next((int(one) for one in given if str(one).isdecimal()), 1)


def note_launch(draft: Draft, processes: int) -> None:
    """How to start as many processes."""
    if processes > 1:
        draft.remark(f"the script starts {processes} processes: vidgen-run RECIPE --nproc {processes}")


def note_environment(environment: Sequence[Word], draft: Draft) -> None:
    """Variables of the environment stay where they are. Their values may be secrets, and are not written anywhere."""
    if environment:
        names = ", ".join(dict.fromkeys(word.text.partition("=")[0] for word in environment))
        draft.remark(f"set in the environment, as before: {names}")


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


def share_clips(settings: Settings, draft: Draft, flag: str, ranks: int) -> None:
    """So many ranks share one clip."""
    if ranks > 1:
        choose_parallel(SEQUENCE, ranks, draft, Setting(flag, settings.value(flag), settings.place(flag)))


def to_config(draft: Draft, *keys: str) -> dict[str, Any]:
    """Keys of the scheduler, moved to the keyword arguments of a class of diffusers."""
    taken = {key: draft.take(f"scheduler.{key}") for key in keys}
    return {key: value for key, value in taken.items() if value is not None}
