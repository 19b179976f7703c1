"""Which reader a file is for."""

from collections.abc import Callable, Mapping
from pathlib import Path

from vidgen.errors import UserError
from vidgen.registry import Registry

from vidgen_convert.draft import Draft
from vidgen_convert.fitting import fit
from vidgen_convert.opensora.converting import convert_config
from vidgen_convert.opensora_plan.converting import convert_script
from vidgen_convert.recipe_text import recipe_text

READERS: Mapping[str, Callable[[Path], tuple[Draft, str]]] = {".py": convert_config, ".sh": convert_script}


def converted(file: Path) -> tuple[Draft, str]:
    """The draft, and its text.

    Raises: Refused, with every line that cannot be honoured; UserError, for files of another kind.
    """
    reader = READERS.get(file.suffix)
    if reader is None:
        raise UserError(
            f"{file}: configurations of Open-Sora end in .py, scripts of Open-Sora-Plan in .sh, not {file.suffix!r}"
        )
    draft, project = reader(file)
    fit(draft, Registry.discover())
    return draft, recipe_text(draft, f"{file} ({project})")
