"""A draft held against what is installed: what a component has no option for is told, not written."""

from vidgen import load_recipe
from vidgen.errors import Problem, RecipeError, VidgenError

from vidgen_convert.draft import Draft
from vidgen_convert.settings import Setting

NO_SUCH_KEY = "no such key"
SHARES = "parallel"


def fit(draft: Draft) -> None:
    """Take out of every section what its component has no option for, and a way to share work that is not installed."""
    for problem in _problems(draft):
        if problem.path == (SHARES, "type"):
            section = draft.take(SHARES)
            why = f"no installed plugin offers it; with one that does, write {SHARES}: {_flow(section)}"
            draft.lose(Setting(SHARES, section.get("type") if isinstance(section, dict) else section), why)
    for problem in _problems(draft):
        if problem.text.startswith(NO_SUCH_KEY) and len(problem.path) > 1:
            _take_out(problem, draft)


def _problems(draft: Draft) -> tuple[Problem, ...]:
    try:
        load_recipe(draft.data)
    except RecipeError as error:
        return error.problems
    except VidgenError:  # told once the recipe is written
        return ()
    return ()


def _take_out(problem: Problem, draft: Draft) -> None:
    path = ".".join(map(str, problem.path))
    section = draft.get(".".join(map(str, problem.path[:-1])))
    kind = section.get("type") if isinstance(section, dict) else None
    value = draft.take(path)
    draft.lose(Setting(path, value), f"{kind or problem.path[0]} has no such option")


def _flow(section: object) -> str:
    """A small mapping as a recipe writes it in one line."""
    entries = section.items() if isinstance(section, dict) else ()
    return "{" + ", ".join(f"{key}: {value}" for key, value in entries) + "}"
