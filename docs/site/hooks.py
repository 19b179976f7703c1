"""What the site has besides the pages of docs/: options of every component, and files of the repository they link to.

Hooks of mkdocs, which calls them by name.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from vidgen.cli.show import rows
from vidgen.hookspecs import KINDS
from vidgen.registry import Offer, Registry

ROOT = Path(__file__).parents[2]
HERE = "repository"  # where files from outside of docs/ are on the site
LINKED = (
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "core/README.md", "plugins/*/*/README.md"),
    *("plugins/*/*/constraints.txt", "recipes/**/*.yaml"),
)


def on_files(files: Files, config: Any) -> Files:
    """Add `reference/KIND.md` for every kind, and the files of the repository that pages link to."""
    offers = Registry.discover().offers()
    for kind in KINDS:
        text = "\n".join(page(kind, [offer for offer in offers if offer.kind == kind]))
        files.append(File.generated(config, f"reference/{kind}.md", content=text))
    for path in (path for pattern in LINKED for path in sorted(ROOT.glob(pattern))):
        place = f"{HERE}/{path.relative_to(ROOT).as_posix()}"
        files.append(File.generated(config, place, content=path.read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links between docs/ and the rest of the repository, as they are on the site."""
    if page.file.src_uri.startswith(f"{HERE}/"):
        return re.sub(r"\]\(((?:\.\./)*)docs/", r"](\1../", markdown)
    return markdown.replace("](../", f"]({HERE}/")


def page(kind: str, offers: list[Offer]) -> Iterator[str]:
    """Lines of one kind's page; sizes that share their options with another component only name it."""
    yield f"# {kind.replace('_', ' ').capitalize()}\n"
    yield f"What recipes may name where a {kind.replace('_', ' ')} is wanted, from the distributions installed here.\n"
    shown: dict[tuple[tuple[str, ...], ...], str] = {}
    for offer in offers:
        component = offer.component
        table = [tuple(map(_cell, row)) for row in rows(component.options)]
        keys = tuple((key, kind_of, meaning) for key, kind_of, _, meaning in table)
        yield f"## `{component.name}`\n"
        yield f"{component.summary} From `{offer.distribution}`.\n"
        if keys in shown and keys:
            yield f"Takes the keys of `{shown[keys]}`, with its own defaults: `vidgen show {component.name}`.\n"
            continue
        shown[keys] = component.name
        yield from _table(table)


def _table(table: list[tuple[str, ...]]) -> Iterator[str]:
    if not table:
        yield "No keys beside `type:`.\n"
        return
    yield "| key | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for key, kind_of, default, meaning in table:
        yield f"| `{key}` | {kind_of} | {default} | {meaning} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;").replace("*", "\\*")
