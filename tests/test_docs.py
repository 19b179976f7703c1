"""Recipes shown in README and docs are recipes: every complete YAML block resolves."""

import re
from pathlib import Path

import pytest
import vidgen
import yaml

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    (page.name, block)
    for page in PAGES
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    if "job" in (yaml.safe_load(block) or {})
]


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_of_the_repository_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target
