"""Clips as one page: pictures within, no scripts, nothing loaded from elsewhere.

Every text from outside goes through `escape`.
"""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from io import BytesIO

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from PIL import Image

HIGHEST = 180
"""Rows of a picture on the page; larger frames are scaled down."""
TINY = 64
"""Pictures of fewer rows are shown enlarged, with hard pixels."""
LONGEST = 48
"""Frames of a moving picture; of longer clips every second one, or third, is shown."""


@frozen(kw_only=True)
class Card:
    """One sample. video: (3, T, H, W) uint8 RGB, None when it could not be had: then `error` says why."""

    row: int
    path: str
    text: str
    fps: float
    video: NDArray[np.uint8] | None
    error: str = ""


@frozen(kw_only=True)
class Sheet:
    """The samples of one bucket under its name."""

    name: str
    facts: str
    cards: Sequence[Card]


def page(title: str, facts: str, sheets: Iterable[Sheet], *, animated: bool) -> str:
    """The page as HTML. animated: clips move, instead of their first, middle and last frame beside each other."""
    style = files("vidgen_data").joinpath("contact_sheet.css").read_text(encoding="utf-8")
    body = "\n".join(_section(sheet, animated=animated) for sheet in sheets)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body><main>
<h1>{escape(title)}</h1>
<p class="facts">{escape(facts)}</p>
{body}
</main></body>
</html>
"""


def _section(sheet: Sheet, *, animated: bool) -> str:
    cards = "\n".join(_card(card, animated=animated) for card in sheet.cards)
    head = f"<h2>{escape(sheet.name)}</h2>\n<p>{escape(sheet.facts)}</p>"
    return f'<section>\n<header>{head}</header>\n<div class="cards">\n{cards}\n</div>\n</section>'


def _card(card: Card, *, animated: bool) -> str:
    if card.video is None:
        shown, facts = f'<p class="error">{escape(card.error)}</p>', ""
    else:
        _, frames, rows, columns = card.video.shape
        shown = _moving(card) if animated and frames > 1 else _strip(card.video)
        rate = f" · {card.fps:g} fps" if card.fps else ""
        facts = f"{frames} frame{'s' * (frames > 1)} · {rows}×{columns}{rate} · "
    caption = escape(card.text) or "<em>no caption</em>"
    return (
        f'<figure>{shown}<figcaption><p class="text">{caption}</p><p class="small">{facts}row {card.row}</p>'
        f'<p class="path">{escape(card.path)}</p></figcaption></figure>'
    )


def _strip(video: NDArray[np.uint8]) -> str:
    """First, middle and last frame."""
    frames = sorted({0, video.shape[1] // 2, video.shape[1] - 1})
    return f'<div class="strip">{"".join(_image([_picture(video, frame)], 0) for frame in frames)}</div>'


def _moving(card: Card) -> str:
    assert card.video is not None, "cards without a video show their error"
    every = -(-card.video.shape[1] // LONGEST)
    pictures = [_picture(card.video, frame) for frame in range(0, card.video.shape[1], every)]
    return f'<div class="strip">{_image(pictures, round(1000 * every / (card.fps or 8)))}</div>'


def _picture(video: NDArray[np.uint8], frame: int) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(video[:, frame].transpose(1, 2, 0)))
    scale = min(1.0, HIGHEST / picture.height)
    return picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))


def _image(pictures: Sequence[Image.Image], milliseconds: int) -> str:
    """One picture, or several as a moving one, in the page itself."""
    first, *others = pictures
    data, lossless = BytesIO(), first.height < TINY
    more = {"save_all": True, "append_images": others, "duration": milliseconds, "loop": 0} if others else {}
    first.save(data, "WEBP", quality=82, lossless=lossless, **more)
    kind = ' class="tiny"' if lossless else ""
    return f'<img{kind} alt="" src="data:image/webp;base64,{b64encode(data.getvalue()).decode()}">'
