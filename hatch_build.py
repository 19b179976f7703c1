"""Dependencies of the meta-distribution: core and every plugin folder, as files of this checkout.

A plain name (`vidgen-stdit`) would let pip look for it in the public index; a file reference cannot be mistaken.
"""

import tomllib
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface


class WorkspaceDependencies(MetadataHookInterface):
    def update(self, metadata: dict) -> None:
        root = Path(self.root)
        folders = [root / "core", *sorted(path.parent for path in root.glob("plugins/*/*/pyproject.toml"))]
        metadata["dependencies"] = [f"{_name(folder)} @ {folder.as_uri()}" for folder in folders]


def _name(folder: Path) -> str:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
