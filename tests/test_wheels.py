"""Wheels alone are enough: of core, of what a recipe needs, and of a plugin from elsewhere."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from tiny_run import RECIPE
from vidgen.cli.new_plugin import command

ROOT = Path(__file__).parents[1]
NEEDED = (
    "core",
    *("plugins/libraries/layers", "plugins/libraries/diffusion", "plugins/libraries/autoencoders"),
    *("plugins/models/stdit", "plugins/encoders/autoencoder-kl", "plugins/encoders/text"),
    *("plugins/datasets/moving-shapes", "plugins/bucketers/bucket"),
)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the repository, and from a plugin that was just begun."""
    folder = tmp_path_factory.mktemp("wheels")
    begun = CliRunner().invoke(command, ["my-own", "--kind", "scheduler", "--folder", str(folder)])
    assert begun.exit_code == 0, begun.output
    projects = [*(str(ROOT / place) for place in NEEDED), str(folder / "vidgen-my-own")]
    run("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder), *projects)
    return folder


def test_a_recipe_trains_with_a_plugin_from_elsewhere_installed_from_wheels(wheels: Path, tmp_path: Path) -> None:
    """In a new environment that has the dependencies of this one, but nothing of the repository."""
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    others = tmp_path / "others"
    others.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "vidgen" not in path.name:
            (others / path.name).symlink_to(path)
    (site / "others.pth").write_text(f"{others}\n")
    for wheel in wheels.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(site)  # what pip does, but for programs
    recipe = {**RECIPE, "scheduler": {"type": "my-own"}, "max_steps": 2}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    python = str(tmp_path / "env" / "bin" / "python")
    done = run("-I", "-m", "vidgen.run", "recipe.yaml", python=python, folder=tmp_path)
    assert (tmp_path / "outputs" / "recipe" / "checkpoints" / "epoch0-global_step2").is_dir(), done
    found = run("-I", "-c", "import vidgen; print(vidgen.__file__)", python=python, folder=tmp_path)
    assert str(tmp_path) in found


def run(*arguments: str, python: str = sys.executable, folder: Path = ROOT) -> str:
    done = subprocess.run([python, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
