"""The page: plain HTML without scripts, links relative to the run folder.

Every text from outside goes through `text`.
"""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from attrs import frozen

from vidgen_report.clips import STILLS
from vidgen_report.metrics import Metrics, smooth
from vidgen_report.record import Clip, Samples

TINY = 160  # clips with fewer rows are enlarged with hard pixels
SETTINGS = frozenset({"seed", "num_sampling_steps", "cfg_scale", "fps", "frame_interval", "negative_prompt", "ema"})
HEADLINE = ("job", "model", "vae", "text_encoder", "scheduler", "dataset")
TILES = {"loss": "loss, running mean", "lr": "learning rate", "samples_per_s": "samples per second"}


@frozen(kw_only=True)
class Page:
    """What the page shows. samples: by rising step; scores: step -> name -> value; curve, sheet: picture files."""

    title: str
    recipe: Mapping[str, Any]
    metrics: Metrics | None
    samples: Sequence[Samples]
    scores: Mapping[int, Mapping[str, float]]
    curve: str | None
    sheet: str | None


def render(page: Page) -> str:
    """The whole page as HTML."""
    style = files("vidgen_report").joinpath("style.css").read_text(encoding="utf-8")
    body = "\n".join(part for part in _parts(page) if part)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="script-src 'none'">
<title>{text(page.title)}</title>
<style>
{style}</style>
</head>
<body><main>
{body}
</main></body>
</html>
"""


def text(value: object) -> str:
    """Text for HTML, in elements and in quoted attributes."""
    return escape(str(value), quote=True)


def _parts(page: Page) -> Iterator[str]:
    yield f"<h1>{text(page.title)}</h1>"
    yield f'<p class="note">{text(_headline(page.recipe))}</p>'
    yield _tiles(page)
    yield _picture("Loss", page.curve, "curve")
    yield _scores(page.scores)
    yield _samples(page)
    yield _picture("Contact sheet", page.sheet, "sheet")
    yield _recipe(page.recipe)
    yield f"<footer>Written by vidgen on {time.strftime('%Y-%m-%d at %H:%M:%S %Z')}.</footer>"


def _headline(recipe: Mapping[str, Any]) -> str:
    """What the run does and the names of the components that make it what it is."""
    return " · ".join(_name(recipe[key]) for key in HEADLINE if key in recipe)


def _name(value: object) -> str:
    return str(value["type"]) if isinstance(value, Mapping) and "type" in value else _brief(value, limit=40)


def _tiles(page: Page) -> str:
    tiles: list[tuple[str, str]] = []
    if page.metrics:
        tiles.append(("step", f"{page.metrics.steps[-1]:,.0f}"))
        for name, label in TILES.items():
            values = page.metrics.known(name)[1]
            if len(values):
                tiles.append((label, number(smooth(values)[-1] if name == "loss" else values[-1])))
    if page.samples:
        tiles.append(("clips", f"{len(page.samples[-1].clips)}"))
    items = "".join(f"<li><b>{text(value)}</b><span>{text(label)}</span></li>" for label, value in tiles)
    return f'<ul class="tiles">{items}</ul>' if items else ""


def _picture(title: str, name: str | None, kind: str) -> str:
    if not name:
        return ""
    return f"""<h2>{text(title)}</h2>
<a class="picture {kind}" href="{name}"><img src="{name}" alt="{text(title)}"></a>"""


def _scores(scores: Mapping[int, Mapping[str, float]]) -> str:
    if not scores:
        return ""
    names = list(dict.fromkeys(name for values in scores.values() for name in values))
    head = "".join(f"<th>{text(name)}</th>" for name in ["step", *names])
    rows = []
    for step, values in sorted(scores.items(), reverse=True):
        cells = "".join(f"<td>{number(values[name]) if name in values else ''}</td>" for name in names)
        rows.append(f"<tr><th>{step:,}</th>{cells}</tr>\n")
    return f"""<h2>Scores</h2>
<div class="scroll"><table class="scores"><thead><tr>{head}</tr></thead><tbody>
{"".join(rows)}</tbody></table></div>"""


def _samples(page: Page) -> str:
    if not page.samples:
        return '<h2>Samples</h2>\n<p class="note">None yet.</p>'
    newest, *older = reversed(page.samples)
    note = text(" · ".join(f"{key} {value}" for key, value in _settings(page.recipe).items()))
    step = f" <small>step {newest.step:,}</small>" if newest.step else ""
    parts = [f"<h2>Samples{step}</h2>", f'<p class="note">{note}</p>' if note else "", _clips(newest)]
    for samples in older:
        title = f"step {samples.step:,}, {len(samples.clips)} clip{'' if len(samples.clips) == 1 else 's'}"
        parts.append(f"<details><summary>{text(title)}</summary>{_clips(samples)}</details>")
    return "\n".join(parts)


def _clips(samples: Samples) -> str:
    return f'<div class="clips">\n{"".join(_clip(clip, samples.step) for clip in samples.clips)}</div>'


def _clip(clip: Clip, step: int) -> str:
    frames, rows, columns = clip.size
    link = text(quote(clip.path))
    look = f'class="{"tiny" if rows < TINY else "large"}" width="{columns}" height="{rows}"'
    if any(clip.path.lower().endswith(suffix) for suffix in STILLS):
        shown = f'<img {look} src="{link}" loading="lazy" alt="{text(clip.prompt)}">'
    else:
        shown = f'<video {look} src="{link}" autoplay loop muted playsinline></video>'
    about = [f"step {step:,}"] if step else []
    about += [f"{frames} frames"] if frames > 1 else []
    about.append(f"{columns} × {rows}")
    details = " · ".join(f"<span>{part}</span>" for part in about)
    caption = f'{text(clip.prompt)}<a href="{link}">{details}</a>'
    return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>\n"


def _settings(recipe: Mapping[str, Any]) -> dict[str, str]:
    """What decides how clips look beside the weights: keys of SETTINGS at the top of the recipe, in `scheduler` and in
    sections about sampling, which win."""
    found = {key: _brief(value) for key, value in recipe.items() if key in SETTINGS and _is_plain(value)}
    for key, value in recipe.items():
        if isinstance(value, Mapping) and (key == "scheduler" or "sampl" in key):
            inner = {name: _brief(v) for name, v in value.items() if name in SETTINGS and _is_plain(v)}
            kind = {key: str(value["type"])} if "type" in value else {}
            found |= kind | inner
    return found


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool)


def _recipe(recipe: Mapping[str, Any]) -> str:
    if not recipe:
        return ""
    rows = "".join(f"<tr><th>{text(key)}</th><td>{text(_brief(value))}</td></tr>\n" for key, value in recipe.items())
    full = json.dumps(recipe, indent=2, ensure_ascii=False, default=str)
    return f"""<h2>Recipe</h2>
<div class="scroll"><table class="recipe"><tbody>
{rows}</tbody></table></div>
<details><summary>in full</summary><pre>{text(full)}</pre></details>"""


def _brief(value: object, limit: int = 180) -> str:
    """A value of the recipe on one line: a section by its type and what it sets, cut at `limit` characters."""
    if isinstance(value, Mapping):
        rest = [f"{key} {_brief(inner)}" for key, inner in value.items() if key != "type" and inner is not None]
        line = ", ".join([str(value["type"]), *rest] if "type" in value else rest)
    elif isinstance(value, list | tuple):
        line = ", ".join(_brief(inner) for inner in value)
    else:
        line = "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return line if len(line) <= limit else f"{line[:limit].rstrip()}…"


def number(value: float) -> str:
    """A measured number with four figures."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
