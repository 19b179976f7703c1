"""A configuration file, with those it is based on: what its lines bind, and where."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen
from vidgen.errors import UserError

from vidgen_convert.config.advice import advice_on, said
from vidgen_convert.config.expression import UNKNOWN, Expressions
from vidgen_convert.config.placed import Placed
from vidgen_convert.refused import Fault, Refused

BASE = "_base_"
RESERVED = "_"  # MMEngine's own names begin and end with it


@frozen
class Config:
    """What a file binds. values: in the order of the file, after those of its bases. helpers: names that other lines
    use."""

    values: Placed
    helpers: frozenset[str]


def read_config(path: Path) -> Config:
    """Read a configuration in MMEngine's form without running it.

    Raises: Refused, with every line that cannot be honoured; UserError, when there is no such file.
    """
    return _read(path, ())


def _read(path: Path, above: tuple[Path, ...]) -> Config:
    if path.resolve() in above:
        chain = " -> ".join(str(one.name) for one in (*above, path.resolve()))
        raise UserError(f"{BASE} goes in a circle: {chain}. Take one of the files out of the other's {BASE}.")
    module = _parsed(path)
    try:
        return _Reading(path, (*above, path.resolve())).config(module)
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply to be a configuration") from error


def _parsed(path: Path) -> ast.Module:
    try:
        text = path.read_text(encoding="utf-8")
        return ast.parse(text, filename=str(path))
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text: a configuration is a .py file") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except SyntaxError as error:
        place = f"{path}:{error.lineno or 1}:{error.offset or 1}"
        raise Refused([Fault(place, f"not valid Python: {error.msg}", "correct the line; nothing was run")]) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{path} is no configuration: it cannot be parsed ({error or type(error).__name__})") from error


class _Reading:
    """One file, statement by statement."""

    def __init__(self, path: Path, above: tuple[Path, ...]) -> None:
        self.path, self.above = path, above
        self.bound = Placed({}, {})
        self.base = Placed({}, {})
        self.expressions = Expressions(str(path), {})
        self.helpers: set[str] = set()

    def config(self, module: ast.Module) -> Config:
        for statement in module.body:
            self._take(statement)
        if self.expressions.faults:
            raise Refused(self.expressions.faults)
        helpers = self.expressions.used | self.helpers
        return Config(self.bound.over(self.base).without(BASE), frozenset(helpers))

    def _take(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                self._bind(target, statement.value)
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            self._bind(statement.target, statement.value)
        elif not isinstance(statement, ast.Pass) and not _is_text(statement):
            node = statement.value if isinstance(statement, ast.Expr) else statement
            self.expressions.fault(statement, *advice_on(node))
            for name in _names_bound(statement):
                self.expressions.names[name] = UNKNOWN  # told already

    def _bind(self, target: ast.expr, node: ast.expr) -> None:
        value = self.expressions.value(node)
        if not isinstance(target, ast.Name):
            self.expressions.fault(
                target, f"{said(target)} = ... binds no single name", "write name = value, a mapping in one piece"
            )
            return
        self.expressions.names[target.id] = value
        if target.id == BASE and value is not UNKNOWN:
            self._lay_under(target, value)
        elif value is not UNKNOWN:
            self.bound[target.id] = value
            self.bound.places[target.id] = self.expressions.place(target)

    def _lay_under(self, node: ast.expr, value: Any) -> None:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            self.expressions.fault(node, f"{BASE} is {value!r}", "write a file name, or a list of file names")
            return
        for name in names:
            config = _read(self.path.parent / name, self.above)
            self._check_apart(node, name, config.values)
            self.base = config.values.over(self.base)
            self.helpers |= config.helpers
        self.expressions.names = {**self.base, **self.expressions.names, BASE: self.base}

    def _check_apart(self, node: ast.expr, name: str, values: Placed) -> None:
        twice = sorted(set(values) & set(self.base))
        if twice:
            self.expressions.fault(
                node, f"{name} and another base both bind {', '.join(twice)}", "leave them in one of the bases"
            )


def _is_text(statement: ast.stmt) -> bool:
    """A docstring, or a text that was commented out so."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _names_bound(statement: ast.stmt) -> Iterator[str]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
