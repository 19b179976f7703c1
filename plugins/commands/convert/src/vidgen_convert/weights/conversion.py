"""Weights read, put into another layout, and written."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from attrs import frozen
from torch import Tensor
from vidgen import weights
from vidgen.recipe.source import from_mapping
from vidgen.weights import State

from vidgen_convert.output import check_output
from vidgen_convert.weights.building import built
from vidgen_convert.weights.families import WRAPPED
from vidgen_convert.weights.layouts import SYNONYMS, UNCHANGED, Written, in_layout
from vidgen_convert.weights.recognition import recognised
from vidgen_convert.weights.writing import check_name, write

LOG = logging.getLogger("vidgen")


@frozen(kw_only=True)
class Wish:
    """What is asked for. kind: type of the model, None to recognise it. options: `KEY=VALUE` of it. ema: of a
    checkpoint, take the averaged weights where there are any."""

    source: str
    target: Path
    layout: str
    kind: str | None = None
    options: tuple[str, ...] = ()
    ema: bool = True
    force: bool = False


def convert(wish: Wish) -> Iterator[str]:
    """Do it; yields what there is to tell.

    Raises: UserError, when the weights are not recognised or do not fit, or there is no such layout; RunError, when a
    file is damaged.
    """
    check_name(wish.target)
    check_output(wish.target, force=wish.force)
    file = weights.find_weights(wish.source, ema=wish.ema)
    state = weights.read_state(file)
    layout = SYNONYMS.get(wish.layout, wish.layout)
    entry, reports = "", []
    if layout == UNCHANGED:
        written = Written(state, {})
    else:
        told = recognised(wish.source, state, wish.kind)
        given = {**from_mapping({}, wish.options).data, "from_pretrained": _whole(wish, file)}
        with _listening() as reports:
            model = built(told.kind, told.type, guessed=told.options, given=given)
        written = in_layout(model, told.type, layout)
        entry = next((key for start, key in WRAPPED.items() if told.type.startswith(start)), "")
        yield f"{wish.source}: {told.type}"
    yield from reports
    result = _typed_as(written.state, state)
    write(result, wish.target, config=written.config, stem=written.stem, entry=entry if layout == "original" else "")
    yield f"{wish.target}: {len(result)} entries, {_size(result)}"


def _whole(wish: Wish, file: Path) -> str:
    """The source with the config.json beside it, or the very file where the average is not wanted."""
    return wish.source if wish.ema else str(file)


@contextmanager
def _listening() -> Iterator[list[str]]:
    """The log's lines about the weights, for the person at the terminal."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    level = LOG.level
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(level)


def _typed_as(state: State, like: State) -> State:
    """Numbers in the type that most of the source's have: nothing is gained by writing them in a wider one."""
    counts = Counter(value.dtype for value in like.values() if value.is_floating_point())
    dtype = counts.most_common(1)[0][0] if counts else torch.float32
    return {name: _typed(value, dtype) for name, value in state.items()}


def _typed(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.to(dtype) if value.is_floating_point() else value


def _size(state: State) -> str:
    numbers = sum(value.numel() for value in state.values())
    return f"{numbers:,} numbers, {sum(value.nbytes for value in state.values()) / 1e6:,.1f} MB"
