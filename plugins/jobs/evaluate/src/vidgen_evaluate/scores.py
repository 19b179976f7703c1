"""What metrics say of the clips of a folder: a row for each clip, and values over all."""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path

from attrs import frozen
from torch import Tensor
from vidgen.component import Selection
from vidgen.engine.marking import refusals
from vidgen.errors import UserError, VidgenError
from vidgen.interfaces import Context, Metric, Size3

from vidgen_evaluate.clips import Clip
from vidgen_evaluate.pairs import Pair


@frozen(kw_only=True)
class Row:
    """Of one clip. size: (frames, rows, columns); None where it was not measured at all. values: of all metrics that
    measured it. problems: what is missing, and why."""

    name: str
    path: Path
    prompt: str
    size: Size3 | None
    values: Mapping[str, float]
    problems: tuple[str, ...]


@frozen(kw_only=True)
class Scores:
    """Of one folder. overall: what metrics say of all its clips together. better: name of a value -> `higher` or
    `lower`, where one end is better."""

    rows: Sequence[Row]
    overall: Mapping[str, float]
    better: Mapping[str, str]


class Measures:
    """The metrics of a recipe, for the clips of one folder."""

    def __init__(self, selections: Sequence[Selection], context: Context) -> None:
        built = [(one.type, context.components.build(one, context)) for one in selections]
        self._metrics: Sequence[tuple[str, Metric]] = built
        self._source: dict[str, int] = {}

    @property
    def better(self) -> dict[str, str]:
        """See `Scores`."""
        return {name: way for _, metric in self._metrics for name, way in metric.better.items()}

    def check_references(self, given: bool) -> None:
        """Raises: UserError, when a metric compares, and there is nothing to compare with."""
        comparing = [name for name, metric in self._metrics if metric.needs_reference]
        if comparing and not given:
            raise UserError(
                f"metrics: no references are named, and {', '.join(comparing)} can only compare clips with them. Give "
                "references=FOLDER (or a table with `path` and `text`), or measure something else."
            )

    def refused(self, clips: Sequence[Clip]) -> dict[str, tuple[int, str]]:
        """Metric -> how many of the clips it cannot mark, by their prompts, and why not the first of them."""
        prompts = [clip.prompt or "" for clip in clips if not clip.problem]
        found = [(name, refusals(metric, prompts)) for name, metric in self._metrics]
        return {
            name: (sum(prompt in reasons for prompt in prompts), next(iter(reasons.values())))
            for name, reasons in found
            if reasons
        }

    def row(self, pair: Pair) -> Row:
        """Measure one clip. Raises: UserError, when two metrics give values of one name."""
        clip = pair.clip
        values, problems = ({}, []) if pair.video is None else self._values(pair.video, pair)
        problems += [f"{name} is {value}" for name, value in values.items() if not isfinite(value)]
        return Row(
            name=clip.name,
            path=clip.path,
            prompt=clip.prompt or "",
            size=None if pair.video is None else _size3(pair.video.shape),
            values={name: value for name, value in values.items() if isfinite(value)},
            problems=tuple(problem for problem in (pair.problem, *problems) if problem),
        )

    def overall(self) -> dict[str, float]:
        """Over all clips that were measured. Raises: UserError, when two metrics give values of one name."""
        values: dict[str, float] = {}
        for place, (name, metric) in enumerate(self._metrics):
            values.update(self._checked(place, name, metric.compute()))
        return values

    def _values(self, video: Tensor, pair: Pair) -> tuple[dict[str, float], list[str]]:
        """What the metrics say, and what they refuse; those without the reference that they need are passed over, since
        the pair has the reason."""
        values: dict[str, float] = {}
        refused = []
        for place, (name, metric) in enumerate(self._metrics):
            if metric.needs_reference and pair.reference is None:
                continue
            try:
                found = metric.update(video, pair.clip.prompt or "", pair.reference)
            except VidgenError as error:
                refused.append(f"{name}: {error}")
            else:
                values.update(self._checked(place, name, found))
        return values, refused

    def _checked(self, place: int, metric: str, values: Mapping[str, float]) -> Mapping[str, float]:
        for name in values:
            if self._source.setdefault(name, place) != place:
                other = self._metrics[self._source[name]][0]
                text = f"metrics: {other} and {metric} both give {name!r}."
                raise UserError(f"{text} Leave one out, or measure them in two runs.")
        return values


def _size3(shape: Sequence[int]) -> Size3:
    return (shape[1], shape[2], shape[3])
