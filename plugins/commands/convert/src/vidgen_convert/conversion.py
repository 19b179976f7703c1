"""Which reader a file is for."""

from collections.abc import Callable, Mapping
from pathlib import Path

from vidgen.errors import UserError

from vidgen_convert.draft import Draft
from vidgen_convert.fitting import fit
from vidgen_convert.launcher import tell_launch
from vidgen_convert.opensora.converting import convert_config, convert_launch
from vidgen_convert.opensora_plan import converting as plan
from vidgen_convert.recipe_text import recipe_text
from vidgen_convert.script.launch import read_launch

OPEN_SORA = ("train.py", "inference.py", "inference-long.py", "search_bs.py")
"""Scripts of Open-Sora, whose flags follow a configuration."""


def convert_script(path: Path) -> tuple[Draft, str]:
    """A draft of the recipe, and in words what the script starts.

    Raises: Refused, with every line that cannot be honoured; UserError, when no program is started that is known.
    """
    launch = read_launch(path, (*plan.PROGRAMS, *OPEN_SORA))
    convert = convert_launch if launch.program in OPEN_SORA else plan.convert_launch
    draft, project = convert(launch)
    tell_launch(launch, draft)
    return draft, project


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
    fit(draft)
    return draft, recipe_text(draft, f"{file} ({project})")
