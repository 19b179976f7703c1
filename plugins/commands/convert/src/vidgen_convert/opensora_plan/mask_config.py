"""Open-Sora-Plan's file of masks for inpainting, `--mask_config`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from vidgen.conditioning.frame_mask_options import VIDEO_KINDS


def mask_ratios_in(path: Path) -> dict[str, float]:
    """Kind of mask -> share, of videos, without those that are never drawn. Empty where the file is not there, or holds
    nothing of the kind."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    sections = [data, *data.values()] if isinstance(data, Mapping) else []
    return next((found for section in sections if (found := _shares(section))), {})


def _shares(section: Any) -> dict[str, float]:
    if not isinstance(section, Mapping):
        return {}
    known = {kind: section.get(kind) for kind in VIDEO_KINDS}
    return {kind: float(share) for kind, share in known.items() if isinstance(share, int | float) and share > 0}
