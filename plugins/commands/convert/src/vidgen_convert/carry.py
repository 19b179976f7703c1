"""Settings carried over by a table; whatever it does not know is told of, too."""

from collections.abc import Collection

from vidgen.errors import did_you_mean

from vidgen_convert.draft import Draft, Lost
from vidgen_convert.rule import Rule, Table
from vidgen_convert.settings import Setting, Settings


def carry_over(settings: Settings, table: Table, draft: Draft, helpers: Collection[str] = ()) -> None:
    """Put every setting where its rule says. helpers: names that served other lines alone."""
    for setting in settings:
        rule = table.get(setting.key)
        if rule is None:
            _unknown(setting, table, draft, helpers)
        elif setting.is_nothing and rule.kind != "key":
            draft.empty.append(setting)
        elif rule.kind == "key":
            _put(setting, rule, draft)
        elif rule.kind == "none":
            draft.lose(setting, rule.note)
        elif rule.kind == "needless":
            draft.needless.append(Lost(setting, rule.note))


def _put(setting: Setting, rule: Rule, draft: Draft) -> None:
    if setting.value is None:
        draft.empty.append(setting)
        return
    value = rule.change(setting.value) if rule.change else setting.value
    draft.put(rule.target, value, rule.note)


def _unknown(setting: Setting, table: Table, draft: Draft, helpers: Collection[str]) -> None:
    if setting.key in helpers:
        draft.needless.append(Lost(setting, "a name that other lines use; its value is in theirs"))
        return
    near = [hint for hint in did_you_mean(setting.key, table) if hint.startswith("did you mean")]
    draft.lose(setting, "; ".join(["no key that is known", *near]))
