"""Which prompts metrics cannot mark: asked before clips of them are made or read."""

from collections.abc import Iterable

from vidgen.errors import UserError
from vidgen.interfaces import Metric

SHOWN = 5


def refusals(metric: Metric, prompts: Iterable[str]) -> dict[str, str]:
    """Prompt -> why the metric cannot mark clips of it, in order; empty for a metric that no prompt matters to."""
    check = getattr(metric, "check", None)
    if check is None:
        return {}
    found: dict[str, str] = {}
    for prompt in dict.fromkeys(prompts):
        try:
            check(prompt)
        except UserError as error:
            found[prompt] = str(error)
    return found


def check_prompts(metric: Metric, prompts: Iterable[str]) -> None:
    """Raises: UserError, when there are prompts that the metric cannot mark, with the reason of the first."""
    found = refusals(metric, prompts)
    if found:
        first, *others = found
        more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        rest = f"\n    nor: {', '.join(map(repr, others[:SHOWN]))}{more}" if others else ""
        raise UserError(f"metrics: {found[first]}{rest}")
