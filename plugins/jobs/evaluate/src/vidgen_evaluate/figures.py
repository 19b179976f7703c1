"""Many clips' values in a few: mean, median, ends; and those of two folders side by side."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median

from attrs import frozen

from vidgen_evaluate.scores import Row, Scores


@frozen(kw_only=True)
class Figure:
    """Of one value over the clips that have it. better: `higher`, `lower` or empty. ranked: names of clips from the
    worst to the best one, or from the lowest to the highest where none is better."""

    clips: int
    mean: float
    median: float
    lowest: float
    highest: float
    better: str
    ranked: tuple[str, ...]

    @property
    def worst(self) -> float | None:
        """None, where neither end is."""
        return {"higher": self.lowest, "lower": self.highest}.get(self.better)

    @property
    def worst_clip(self) -> str | None:
        """None, where no clip is worse than the others."""
        return self.ranked[0] if self.better and self.lowest != self.highest else None


@frozen(kw_only=True)
class Difference:
    """Of one value between two folders. here, there: means over all clips of each. both: how many clips of one name
    have it in both; of them alone are `change`, the mean of here - there, and `wins`, how many are better here (None
    where neither end is better)."""

    better: str
    here: float
    there: float
    both: int
    change: float | None
    wins: int | None


def figures_of(scores: Scores) -> dict[str, Figure]:
    """Name -> figure of every value that a clip has, in the order in which metrics give them."""
    return {name: _figure(name, scores) for name in _names(scores.rows)}


def differences(here: Scores, there: Scores) -> dict[str, Difference]:
    """Of the values that both folders have."""
    others = set(_names(there.rows))
    return {name: _difference(name, here, there) for name in _names(here.rows) if name in others}


def _figure(name: str, scores: Scores) -> Figure:
    values = {row.name: row.values[name] for row in scores.rows if name in row.values}
    better = scores.better.get(name, "")
    return Figure(
        clips=len(values),
        mean=fmean(values.values()),
        median=median(values.values()),
        lowest=min(values.values()),
        highest=max(values.values()),
        better=better,
        ranked=tuple(sorted(values, key=values.__getitem__, reverse=better == "lower")),
    )


def _difference(name: str, here: Scores, there: Scores) -> Difference:
    ours, theirs = _values(name, here.rows), _values(name, there.rows)
    changes = [ours[clip] - theirs[clip] for clip in ours if clip in theirs]
    better = here.better.get(name, "")
    sign = {"higher": 1, "lower": -1}.get(better)
    return Difference(
        better=better,
        here=fmean(ours.values()),
        there=fmean(theirs.values()),
        both=len(changes),
        change=fmean(changes) if changes else None,
        wins=sum(sign * change > 0 for change in changes) if sign and changes else None,
    )


def _values(name: str, rows: Iterable[Row]) -> Mapping[str, float]:
    return {row.name: row.values[name] for row in rows if name in row.values}


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.values))
