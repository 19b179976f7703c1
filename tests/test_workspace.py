"""The workspace holds together: one distribution a folder, layers kept, everything declared where it is used."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = sorted(path.parent for path in ROOT.glob("plugins/*/*/pyproject.toml"))
LIBRARIES = [folder for folder in FOLDERS if folder.parent.name == "libraries"]
PLUGINS = [folder for folder in FOLDERS if folder not in LIBRARIES]
CORE = ROOT / "core"
MODULE_OF = {
    "beautifulsoup4": "bs4",
    "pillow": "PIL",
    "pyyaml": "yaml",
}  # where a distribution's module has another name
ROOM = ("recipe", "engine", "cli", "testing")
GROUND_FLOOR = (
    "component",
    "context",
    "errors",
    "interfaces",
    "rng",
    "aspect",
    "attention",
    "bucketing",
    "weights",
    "conditioning",
    "guidance",
    "runfolder",
    "mesh",
    "devices",
)


def project(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


def sources(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "src").rglob("*.py") if "scaffold" not in path.parts)


def imported(path: Path) -> Iterator[str]:
    """Full names of the modules a file imports when it runs, anywhere in it."""
    for node in running(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only type checkers read."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"):
            yield from running(child)


def package(folder: Path) -> str:
    (found,) = [path.name for path in (folder / "src").iterdir() if (path / "__init__.py").exists()]
    return found


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_a_plugin_folder_is_one_distribution_with_one_entry_point(folder: Path) -> None:
    data = project(folder)
    assert data["name"] == f"vidgen-{folder.name}"
    assert package(folder) == data["name"].replace("-", "_")
    assert data["entry-points"]["vidgen"] == {folder.name: package(folder)}
    assert (folder / "src" / package(folder) / "py.typed").exists()
    assert len((folder / "README.md").read_text()) > 300


@pytest.mark.parametrize("folder", LIBRARIES, ids=lambda folder: folder.name)
def test_a_library_is_a_distribution_that_offers_no_component(folder: Path) -> None:
    data = project(folder)
    assert data["name"] == f"vidgen-{folder.name}"
    assert package(folder) == data["name"].replace("-", "_")
    assert "entry-points" not in data
    assert (folder / "src" / package(folder) / "py.typed").exists()
    assert len((folder / "README.md").read_text()) > 300


@pytest.mark.parametrize("folder", [CORE, *FOLDERS], ids=lambda folder: folder.name)
def test_what_is_imported_is_declared_and_nothing_else(folder: Path) -> None:
    data = project(folder)
    extras = [text for texts in data.get("optional-dependencies", {}).values() for text in texts]
    needed, optional = _modules(data["dependencies"]), _modules(extras)
    own = package(folder)
    used = {name.split(".")[0] for path in sources(folder) for name in imported(path)} - {own}
    used -= set(sys.stdlib_module_names)
    assert used - (optional - needed) == needed, "used but not declared, or declared but not used"


def _modules(requirements: list[str]) -> set[str]:
    names = {re.split(r"[\[<>=~! ]", text)[0].lower() for text in requirements}
    return {MODULE_OF.get(name, name.replace("-", "_")) for name in names}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_plugins_import_no_other_plugin_and_only_the_ground_floor_of_core(folder: Path) -> None:
    """But for jobs and commands, which stand above the engine and may use it."""
    others = {package(other) for other in PLUGINS} - {package(folder)}
    above = ("registry", "recipe", "engine") if folder.parent.name in ("jobs", "commands") else ()
    open_to_it = (*GROUND_FLOOR, *above)
    for path in sources(folder):
        for name in imported(path):
            top, *rest = name.split(".")
            assert top not in others, f"{path} imports {name}"
            if top == "vidgen":
                assert rest and (rest[0] in open_to_it or hasattr_of_vidgen(rest[0])), f"{path} imports {name}"


def hasattr_of_vidgen(name: str) -> bool:
    import vidgen

    return name in vidgen.__all__


def test_core_imports_no_plugin() -> None:
    plugins = {package(folder) for folder in FOLDERS}
    for path in sources(CORE):
        assert not {name.split(".")[0] for name in imported(path)} & plugins, path


def test_core_imports_go_down() -> None:
    """ground floor < registry < recipe < engine < cli; the kit stands beside the engine."""
    above = {"recipe": ("engine", "cli", "testing"), "engine": ("cli", "testing"), "registry": ROOM}
    above |= dict.fromkeys(GROUND_FLOOR, ("registry", "builtin", "api", *ROOM))
    checked = 0
    for path in sources(CORE):
        parts = path.relative_to(CORE / "src" / "vidgen").parts
        floor = parts[0] if len(parts) > 1 else path.stem
        checked += floor in above
        for name in imported(path):
            room = name.split(".")[1] if name.startswith("vidgen.") else ""
            assert room not in above.get(floor, ()), f"{path} imports {name}"
    assert checked > 25


def test_all_distributions_have_the_version_of_core() -> None:
    import vidgen

    assert {project(folder).get("version", vidgen.__version__) for folder in FOLDERS} == {vidgen.__version__}


def test_uv_knows_every_member() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
    assert tool["sources"].keys() == {project(folder)["name"] for folder in [CORE, *FOLDERS]}


def test_every_requirement_is_pinned_in_the_tested_set() -> None:
    pinned = {
        line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    }
    for folder in [CORE, *FOLDERS]:
        for text in project(folder)["dependencies"]:
            name = re.split(r"[\[<>=~! ]", text)[0].lower()
            assert name.startswith("vidgen") or name in pinned, f"{folder.name}: {name}"
            assert ">=" in text, f"{folder.name}: {text} has no lower bound"


def test_every_recipe_says_first_what_it_is() -> None:
    """That each loads, and runs, is tested in `test_recipes`."""
    recipes = sorted((ROOT / "recipes").rglob("*.yaml"))
    assert len(recipes) > 50
    for path in recipes:
        first, *_ = path.read_text().splitlines()
        assert first.startswith("# "), f"{path}: the first line says what and why"


def test_no_file_is_a_heap() -> None:
    """Files under 400 lines, functions under 80."""
    for folder in [CORE, *FOLDERS]:
        for path in sources(folder):
            text = path.read_text()
            assert text.count("\n") <= 400, path
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef):
                    assert (node.end_lineno or 0) - node.lineno < 80, f"{path}: {node.name}"
