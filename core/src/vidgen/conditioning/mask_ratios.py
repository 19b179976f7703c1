"""How often each kind of training mask is drawn, as recipes say it; checked and completed."""

from collections.abc import Mapping
from typing import Literal

from attrs import frozen

from vidgen.errors import UserError, did_you_mean

WITHOUT_GIVEN = "identity"
KINDS = (
    WITHOUT_GIVEN,
    "random",
    "intepolate",  # spelt so by Open-Sora, whose recipes are read as they are
    *(f"{size}_{where}" for size in ("quarter", "image") for where in ("random", "head", "tail", "head_tail")),
)
TOLERANCE = 1e-6  # of the sum

Form = Literal["any", "v1.2", "v1.1"]


@frozen
class Rules:
    """names: as written -> kind. completes: what is missing to 1 goes to `identity`."""

    names: Mapping[str, str]
    completes: bool


_V1_2 = {kind: kind for kind in KINDS}
_V1_1 = {"mask_no": WITHOUT_GIVEN} | {f"mask_{kind}": kind for kind in KINDS if "_" in kind}
FORMS: Mapping[Form, Rules] = {
    "any": Rules({**_V1_2, **_V1_1, "interpolate": "intepolate"}, True),
    "v1.2": Rules(_V1_2, True),
    "v1.1": Rules(_V1_1, False),
}
"""Names of Open-Sora 1.2, of 1.1, or of both."""


def complete_ratios(ratios: Mapping[str, float], form: Form = "any") -> dict[str, float]:
    """Kind -> probability, in the order given, `identity` added at the end where it is missing; their sum is 1.

    ratios: name -> probability; not changed. form: whose names are accepted; that of 1.1 completes nothing.

    Raises: UserError, for an unknown or doubled name, a probability outside 0..1, or a sum that is not 1.
    """
    rules = FORMS[form]
    found: dict[str, float] = {}
    for name, ratio in ratios.items():
        kind = _kind(name, rules)
        if kind in found:
            raise UserError(f"mask_ratios: {name} and another name of the same masks are both given; keep one")
        found[kind] = _probability(name, ratio)
    return _with_identity(found, rules)


def _kind(name: str, rules: Rules) -> str:
    kind = rules.names.get(name)
    if kind is None:
        hints = "".join(f"\n    {hint}" for hint in (*did_you_mean(str(name), rules.names), _known(rules)))
        raise UserError(f"mask_ratios: there are no masks called {name!r}{hints}")
    return kind


def _probability(name: str, ratio: object) -> float:
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 <= ratio <= 1:
        raise UserError(f"mask_ratios: {name} is {ratio!r}; a probability from 0 to 1 is wanted")
    return ratio


def _with_identity(found: dict[str, float], rules: Rules) -> dict[str, float]:
    total = sum(found.values())
    if WITHOUT_GIVEN in found or not rules.completes:
        if abs(total - 1) > TOLERANCE:
            raise UserError(_wrong_sum(found, "must be 1", rules))
        return found
    if total > 1 + TOLERANCE:
        raise UserError(_wrong_sum(found, "must not be above 1", rules))
    return {**found, WITHOUT_GIVEN: max(0.0, 1 - total)}


def _wrong_sum(found: Mapping[str, float], wanted: str, rules: Rules) -> str:
    given = " + ".join(f"{ratio:g} {kind}" for kind, ratio in found.items()) or "nothing"
    hint = f"leave {WITHOUT_GIVEN} out to have it take the rest" if rules.completes else _known(rules)
    return f"mask_ratios: the sum is {sum(found.values()):g} and {wanted}: {given}\n    {hint}"


def _known(rules: Rules) -> str:
    return f"known: {', '.join(rules.names)}"
