"""A sentence on how good a clip looks, put in front of its caption or behind it when the annotation has a score.

Source: Open-Sora-Plan v1.3, which scores with LAION's aesthetic predictor; its thresholds, our wording.
"""

import numpy as np

LOW, HIGH = 4.25, 5.75
"""Scores up to the one and from the other on are told."""

LEADS = (
    "This {kind} has {quality} aesthetic quality.",
    "The aesthetic quality of this {kind} is {quality}.",
    "{Quality} aesthetic quality.",
    "A {kind} of {quality} aesthetic value.",
    "The beauty of this {kind} is {quality}.",
    "This {kind} gets {quality} aesthetic scores.",
    "The visual appeal of this {kind} is {quality}.",
    "This {kind} is of {quality} visual appeal.",
    "The aesthetic score of this {kind} is {quality}.",
    "{Quality} visual quality in this {kind}.",
)


def notices(score: float, *, image: bool) -> tuple[str, ...]:
    """The sentences one of which tells of a score; none between the thresholds."""
    if LOW < score < HIGH:
        return ()
    quality, kind = "low" if score <= LOW else "high", "image" if image else "video"
    return tuple(lead.format(kind=kind, quality=quality, Quality=quality.capitalize()) for lead in LEADS)


def with_notice(caption: str, score: float | None, rng: np.random.Generator, *, image: bool) -> str:
    """The caption, with a sentence on the score in front or behind where one is due: 20 ways, all as likely."""
    sentences = () if score is None else notices(score, image=image)
    if not sentences:
        return caption
    drawn = int(rng.integers(2 * len(sentences)))
    sentence = sentences[drawn // 2]
    return f"{sentence} {caption}" if drawn % 2 else f"{caption} {sentence}"
