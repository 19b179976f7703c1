"""Finds cases and the runner of each. A case that no runner knows is a failure, never a skip."""

import importlib
import json
import os
from pathlib import Path
from types import ModuleType

from safetensors.torch import load_file

HERE = Path(__file__).parent


def case_folder() -> Path:
    """The folder named by VIDGEN_GOLDEN, else the cases kept beside this file."""
    return Path(os.environ.get("VIDGEN_GOLDEN") or HERE / "cases")


def find_cases(folder: Path) -> list[Path]:
    """Every json file under the folder is a case."""
    return sorted(folder.rglob("*.json"))


def load_runners(folder: Path = HERE / "runners") -> tuple[list[ModuleType], list[str]]:
    """All runners that can be imported, and why the others cannot."""
    runners, broken = [], []
    for path in sorted(folder.glob("*.py")):
        try:
            runners.append(importlib.import_module(f"runners.{path.stem}"))
        except Exception as error:
            broken.append(f"{path.stem}: {type(error).__name__}: {error}")
    return runners, broken


def run_case(path: Path) -> None:
    """Run one case. Raises: AssertionError, when a number differs or the case has no runner, or more than one."""
    case = json.loads(path.read_text())
    assert isinstance(case, dict) and isinstance(case.get("reference"), str), f"{path.name}: no `reference`"
    runners, broken = load_runners()
    fitting = [runner for runner in runners if runner.matches(case["reference"], case)]
    names = [runner.__name__ for runner in fitting]
    hint = f"; runners that cannot be imported: {broken}" if broken else ""
    assert len(fitting) == 1, f"{path.name}: runners for {case['reference']!r}: {names or 'none'}{hint}"
    stored = path.with_suffix(".safetensors")
    assert stored.exists() or "tensors" not in case, f"{path.name}: {stored.name} is missing"
    fitting[0].run(case, load_file(stored) if stored.exists() else {}, path.parent)
