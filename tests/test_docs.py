"""What README and docs show is so: recipes and parts of recipes resolve, commands parse, links lead somewhere."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import vidgen
import yaml
from vidgen.cli import group
from vidgen.cli.run import command as run_command
from vidgen.errors import Problem, RecipeError
from vidgen.recipe.source import Loader
from vidgen.recipe.structure import Mistakes, Structurer
from vidgen.registry import Offer, Registry

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
YAML = [
    (page.name, block)
    for page in PAGES
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
]
BLOCKS = [(page, block) for page, block in YAML if "job" in (yaml.load(block, Loader) or {})]
FORGIVEN = r"^missing$|no such file|'my-|got '\.\.\.'"
"""What a page may leave out or make up."""
PARTS = [(page, block) for page, block in YAML if (page, block) not in BLOCKS]


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_a_complete_recipe_on_a_page_resolves(
    page: str, block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clips").mkdir()
    Path("clips/meta.csv").write_text("path,text\n")
    Path("shown.yaml").write_text(block, encoding="utf-8")
    assert vidgen.load_recipe("shown.yaml").job.component.name == yaml.safe_load(block)["job"]


def test_readme_and_recipe_page_show_one() -> None:
    assert {name for name, _ in BLOCKS} >= {"README.md", "recipes.md"}


@pytest.mark.parametrize(("page", "block"), PARTS, ids=[name for name, _ in PARTS])
def test_a_part_of_a_recipe_on_a_page_resolves(page: str, block: str) -> None:
    """It fits a job or a component: what it leaves out may be missing, and files that it names need not be here."""
    registry = Registry.discover()
    part = yaml.load(block, Loader)
    assert isinstance(part, dict)
    part.pop("extends", None)
    assert not min((_mistakes(registry, offer, part) for offer in registry.offers()), key=len)


def _mistakes(registry: Registry, offer: Offer, part: dict[str, Any]) -> list[Problem]:
    key = "job" if offer.kind == "job" else "type"
    try:
        Structurer(registry, ROOT).selection(offer.kind, {key: offer.component.name, **part}, key=key)
    except Mistakes as mistakes:
        return [one for one in mistakes.problems if not re.search(FORGIVEN, one.text)]
    return []


def commands() -> Iterator[tuple[str, list[str]]]:
    """Page and words of every `vidgen ...` and `vidgen-run ...` line that a block shows."""
    for page in PAGES:
        for block in re.findall(r"```(?:sh|bash|console|)\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
            for line in block.replace("\\\n", " ").splitlines():
                line = line.strip().removeprefix("$ ")
                if re.match(r"vidgen(-run)? ", line) and "..." not in line:
                    yield page.name, shlex.split(line.partition("#")[0].replace("&&", ""))


COMMANDS = list(commands())


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[f"{page}: {' '.join(words)}" for page, words in COMMANDS])
def test_a_command_on_a_page_parses(page: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its options exist; where it runs a recipe of the repository, so do the keys that it changes."""
    monkeypatch.chdir(ROOT)
    context = _parsed(words)
    recipe = context.params.get("recipe")
    if context.command is run_command and Path(recipe).exists():
        try:
            vidgen.load_recipe(recipe, context.params["overrides"])
        except RecipeError as error:
            assert not [one for one in error.problems if not re.search(FORGIVEN, one.text)]


def _parsed(words: list[str]) -> click.Context:
    if words[0] == "vidgen-run":
        return run_command.make_context("vidgen-run", words[1:])
    context = group.make_context("vidgen", words[1:], resilient_parsing=False)
    command: Any = group
    while isinstance(command, click.Group) and (rest := [*context._protected_args, *context.args]):
        _, command, left = command.resolve_command(context, rest)
        context = command.make_context(command.name, left, parent=context)
    return context


def test_pages_show_commands() -> None:
    assert len(COMMANDS) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_of_the_repository_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http", "reference/")):
            assert (page.parent / target).exists(), target


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """Pages, links and anchors, and the reference made from the registry."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "site" / "reference" / "scheduler" / "index.html").read_text(encoding="utf-8")
    assert "num_sampling_steps" in text and "rflow" in text
