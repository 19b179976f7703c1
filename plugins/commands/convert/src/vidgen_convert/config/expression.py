"""Worth of an expression in Python's syntax: literals, arithmetic, `dict(...)` and names bound before.

Nothing is run: every kind of node that counts is written here, and all others are faults.
"""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vidgen_convert.config.advice import advice_on, said
from vidgen_convert.config.placed import Placed
from vidgen_convert.refused import Fault

MAX_BITS = 4096  # of a whole number: powers and shifts of powers grow without end
MAX_LENGTH = 100_000  # of texts and lists that are multiplied
OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
SIGNS: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
}
CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {"int": int, "float": float, "list": list, "tuple": tuple}


class Unknown:
    """The worth of an expression with a fault, which was told already: what uses it is not told again."""


UNKNOWN = Unknown()


class Expressions:
    """Works expressions out. file: for places. names: what is bound so far, changed by whoever reads statements.

    faults: what was found, in order. used: names that were looked up.
    """

    def __init__(self, file: str, names: dict[str, Any]) -> None:
        self.file, self.names = file, names
        self.faults: list[Fault] = []
        self.used: set[str] = set()

    def place(self, node: ast.AST) -> str:
        """`file:line:column`, both from 1."""
        return f"{self.file}:{getattr(node, 'lineno', 1)}:{getattr(node, 'col_offset', 0) + 1}"

    def fault(self, node: ast.AST, text: str, hint: str) -> Unknown:
        """Note a fault."""
        self.faults.append(Fault(self.place(node), text, hint))
        return UNKNOWN

    def value(self, node: ast.expr) -> Any:
        """What an expression is worth, or `UNKNOWN` after a fault."""
        known: Mapping[type[ast.AST], Callable[[Any], Any]] = {
            ast.Constant: self._constant,
            ast.Name: self._name,
            ast.Dict: self._mapping,
            ast.List: lambda one: self._items(one.elts, list),
            ast.Tuple: lambda one: self._items(one.elts, tuple),
            ast.UnaryOp: self._signed,
            ast.BinOp: self._combined,
            ast.Call: self._call,
            ast.Subscript: self._part,
            ast.Attribute: self._of_base,
        }
        work = known.get(type(node))
        return work(node) if work else self.fault(node, *advice_on(node))

    def _constant(self, node: ast.Constant) -> Any:
        if node.value is None or isinstance(node.value, bool | int | float | str):
            return node.value
        return self.fault(node, f"{said(node)} has no form in a recipe", "write a number, a text, True, False or None")

    def _name(self, node: ast.Name) -> Any:
        self.used.add(node.id)
        if node.id in self.names:
            return self.names[node.id]
        return self.fault(
            node, f"{node.id} is not bound before this line", f"write its value here, or {node.id} = ... above"
        )

    def _mapping(self, node: ast.Dict) -> Any:
        entries: list[tuple[Any, Any, str]] = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                entries += self._spread(value)
            else:
                entries.append((self._key(key), self.value(value), self.place(value)))
        return _placed(entries)

    def _key(self, node: ast.expr) -> Any:
        key = self.value(node)
        if isinstance(key, str | int | float | Unknown):
            return key
        return self.fault(node, f"{said(node)} is no key", "write a text or a number")

    def _spread(self, node: ast.expr) -> list[tuple[Any, Any, str]]:
        inner = self.value(node)
        if isinstance(inner, Placed):
            return [(key, value, inner.places.get(key, "")) for key, value in inner.items()]
        if inner is not UNKNOWN:
            self.fault(node, f"**{said(node)} is no mapping", "write the entries out")
        return []

    def _items(self, nodes: Sequence[ast.expr], kind: Callable[[list[Any]], Any]) -> Any:
        values = [self.value(node) for node in nodes]
        return UNKNOWN if any(value is UNKNOWN for value in values) else kind(values)

    def _signed(self, node: ast.UnaryOp) -> Any:
        value = self.value(node.operand)
        apply = SIGNS.get(type(node.op))
        if value is UNKNOWN:
            return UNKNOWN
        if apply is None:
            return self.fault(node, f"{said(node)} is not worked out", "write the number itself")
        return self._tried(node, lambda: apply(value))

    def _combined(self, node: ast.BinOp) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        if left is UNKNOWN or right is UNKNOWN:
            return UNKNOWN
        apply = OPERATORS.get(type(node.op))
        if apply is None or isinstance(left, Placed) or (isinstance(node.op, ast.Mod) and isinstance(left, str)):
            return self.fault(node, f"{said(node)} is not worked out", "write the value itself")
        if _grows(node.op, left, right):
            return self.fault(node, f"{said(node)} is far too large", "write the value itself")
        return self._tried(node, lambda: apply(left, right))

    def _call(self, node: ast.Call) -> Any:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in self.names or name not in ("dict", *CONVERSIONS):
            return self.fault(node, *advice_on(node))
        if name == "dict":
            return self._dict(node)
        values = [self.value(one) for one in node.args]
        if any(value is UNKNOWN for value in values):
            return UNKNOWN
        if len(values) != 1 or node.keywords:
            return self.fault(node, f"{said(node)} is not worked out", f"give {name}() one value, or write the value")
        return self._tried(node, lambda: CONVERSIONS[name](values[0]))

    def _dict(self, node: ast.Call) -> Any:
        entries = [entry for one in node.args for entry in self._spread(one)]
        for keyword in node.keywords:
            if keyword.arg is None:
                entries += self._spread(keyword.value)
            else:
                entries.append((keyword.arg, self.value(keyword.value), self.place(keyword.value)))
        return _placed(entries)

    def _part(self, node: ast.Subscript) -> Any:
        if isinstance(node.slice, ast.Slice):
            return self.fault(node, f"{said(node)} is not worked out", "write the entries out")
        whole, key = self.value(node.value), self.value(node.slice)
        return UNKNOWN if whole is UNKNOWN or key is UNKNOWN else self._tried(node, lambda: whole[key])

    def _of_base(self, node: ast.Attribute) -> Any:
        """`_base_.model.depth`, as MMEngine allows."""
        if not (isinstance(node.value, ast.Attribute | ast.Name) and said(node).startswith("_base_.")):
            return self.fault(node, *advice_on(node))
        if isinstance(node.value, ast.Name):
            self.used.add(node.attr)
            return self._tried(node, lambda: self.names["_base_"][node.attr])
        whole = self.value(node.value)
        return UNKNOWN if whole is UNKNOWN else self._tried(node, lambda: whole[node.attr])

    def _tried(self, node: ast.AST, work: Callable[[], Any]) -> Any:
        try:
            value = work()
        except (TypeError, ValueError, ArithmeticError, LookupError) as error:
            why = f"there is no {error}" if isinstance(error, KeyError) else str(error)
            return self.fault(node, f"{said(node)} cannot be worked out: {why}", "write the value itself")
        if isinstance(value, complex):
            return self.fault(node, f"{said(node)} is no real number", "write the value itself")
        return value


def _placed(entries: Sequence[tuple[Any, Any, str]]) -> Any:
    return Placed({key: value for key, value, _ in entries}, {key: place for key, _, place in entries})


def _grows(kind: ast.operator, left: Any, right: Any) -> bool:
    """Whether the result would fill the memory."""
    if isinstance(kind, ast.Pow):
        numbers = isinstance(left, int) and isinstance(right, int)
        return numbers and max(left.bit_length(), 1) * abs(right) > MAX_BITS
    if isinstance(kind, ast.Mult):
        pairs = ((left, right), (right, left))
        return any(isinstance(n, int) and hasattr(many, "__len__") and n * len(many) > MAX_LENGTH for many, n in pairs)
    return False
