"""vidgen: train and sample video diffusion transformers; everything that varies is a plugin.

Importing this package imports neither torch nor any plugin, so that command lines and recipe errors stay instant.
"""

from typing import TYPE_CHECKING, Any

from vidgen.component import Component, Selection, hookimpl, option, section, sections
from vidgen.errors import Problem, RecipeError, RunError, UserError, VidgenError

if TYPE_CHECKING:
    from vidgen.api import build, load_recipe, run

__version__ = "0.1.0"

__all__ = [
    "Component",
    "Problem",
    "RecipeError",
    "RunError",
    "Selection",
    "UserError",
    "VidgenError",
    "build",
    "hookimpl",
    "load_recipe",
    "option",
    "run",
    "section",
    "sections",
]


def __getattr__(name: str) -> Any:
    """Load the Python API on first use: it finds plugins, which a plugin's own import must not."""
    if name in ("build", "load_recipe", "run"):
        from vidgen import api

        return getattr(api, name)
    raise AttributeError(f"module 'vidgen' has no attribute {name!r}")
