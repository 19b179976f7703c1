"""Builds the wheels of all distributions and checks that they work without the repository.

    python release.py dist        # into an empty folder; `make release` does this in .venv

Nothing is uploaded: that is one command of your own (`twine upload dist/*`) when all is well.
"""

import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent
PROJECTS = [ROOT / "core", *sorted(path.parent for path in ROOT.glob("plugins/*/*/pyproject.toml"))]


def main(target: Path) -> None:
    """Build, look inside, install elsewhere, try."""
    if target.exists() and any(target.iterdir()):
        sys.exit(f"{target} is not empty: give a new folder")
    check_changelog()
    build(target)
    for wheel in sorted(target.glob("*.whl")):
        check_wheel(wheel)
    try_out(target)
    print(f"{len(list(target.glob('*.whl')))} wheels in {target} are good")  # noqa: T201


def check_changelog() -> None:
    """The version that is released has a section of its own."""
    text = (ROOT / "core" / "src" / "vidgen" / "__init__.py").read_text(encoding="utf-8")
    (version,) = re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if f"## {version}" not in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"):
        sys.exit(f"CHANGELOG.md has no section for {version}")


def build(target: Path) -> None:
    """One wheel of each distribution, by what is installed already."""
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(target))
    run(sys.executable, "-m", "pip", "wheel", *options, *map(str, PROJECTS))


def check_wheel(wheel: Path) -> None:
    """It holds its package with type information and its licence's name, and nothing of the tests."""
    names = zipfile.ZipFile(wheel).namelist()
    package = wheel.name.split("-")[0]
    (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
    text = zipfile.ZipFile(wheel).read(metadata).decode()
    for what, good in {
        f"{package}/py.typed": f"{package}/py.typed" in names,
        "License-Expression: Apache-2.0": "License-Expression: Apache-2.0" in text,
        "a README": len(text.partition("\n\n")[2]) > 300,
        "no tests": not any(name.startswith("tests/") for name in names),
    }.items():
        if not good:
            sys.exit(f"{wheel.name}: {what} expected")


def try_out(target: Path) -> None:
    """In a new environment, with nothing of the repository but the tested set of dependencies."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        programs, constraints = Path(folder) / "bin", str(ROOT / "constraints.txt")
        wheels = [str(path.resolve()) for path in target.glob("*.whl")]
        run(str(programs / "pip"), "install", "--quiet", "-c", constraints, *wheels)
        for command in ("plugins", "doctor"):
            run(str(programs / "vidgen"), command, cwd=folder)


def run(*command: str, cwd: str | None = None) -> None:
    """Ends everything when it fails."""
    done = subprocess.run(command, cwd=cwd, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[:3])} ended with {done.returncode}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "dist"))
