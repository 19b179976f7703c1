"""Conditions on rows, such as `num_frames >= 51 and height * width > 1e5 and text ~ "dog"`.

Python's grammar for expressions, of which comparisons, `and`, `or`, `not`, arithmetic, column names, literals and a few
functions are taken; `~` between two values looks for a regular expression. Nothing is run as Python: an expression is
translated to Arrow's functions over whole columns. A comparison with a missing value is neither true nor false, and
such a row is not chosen; `aes is None` finds it.
"""

import ast
import io
import tokenize
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from vidgen.errors import UserError, did_you_mean

Value = Any  # an Arrow array or scalar: no one type says both

COMPARE: dict[type, Callable[[Value, Value], Value]] = {
    ast.Lt: pc.less,
    ast.LtE: pc.less_equal,
    ast.Gt: pc.greater,
    ast.GtE: pc.greater_equal,
    ast.Eq: pc.equal,
    ast.NotEq: pc.not_equal,
}
ARITHMETIC: dict[type, Callable[[Value, Value], Value]] = {
    ast.Add: pc.add_checked,
    ast.Sub: pc.subtract_checked,
    ast.Mult: pc.multiply_checked,
    ast.Div: lambda left, right: pc.divide(left.cast(pa.float64()), right.cast(pa.float64())),
}
FUNCTIONS: dict[str, Callable[..., Value]] = {
    "len": pc.utf8_length,
    "lower": pc.utf8_lower,
    "contains": pc.match_substring,
    "startswith": pc.starts_with,
    "endswith": pc.ends_with,
}
WITH_PATTERN = ("contains", "startswith", "endswith")
ALLOWED = (
    "allowed: column names, numbers, texts in quotes, True, False, < <= > >= == !=, in [...], is None, ~ (regular "
    f"expression), and, or, not, + - * /, brackets, {', '.join(f'{name}(...)' for name in FUNCTIONS)}, "
    'col("a name with spaces")'
)


class Expression:
    """A condition on the rows of tables with the columns `schema`. columns: those it looks at.

    Raises: UserError that points at the place in the text: bad grammar, unknown columns and functions, values of the
    wrong kind. All are found before the first row is looked at.
    """

    def __init__(self, text: str, schema: pa.Schema) -> None:
        self.text = text
        self.columns: frozenset[str] = frozenset()
        self._tree = _parse(text)
        nothing = pa.RecordBatch.from_pylist([], schema=schema)
        found = self._value(self._tree, nothing)
        if not pa.types.is_boolean(found.type):
            raise self._wrong(self._tree, f"this is {_named(found.type)}, not a condition", "compare it with something")

    def mask(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """Which rows fulfil it, (rows,); missing where it cannot be said."""
        found = self._value(self._tree, batch)
        return pa.repeat(found, batch.num_rows) if isinstance(found, pa.Scalar) else found

    def _value(self, node: ast.expr, batch: pa.RecordBatch) -> Value:
        kinds: dict[type, Callable[..., Value]] = {
            ast.BoolOp: self._combined,
            ast.UnaryOp: self._unary,
            ast.BinOp: self._binary,
            ast.Compare: self._compared,
            ast.Call: self._called,
            ast.Name: self._column,
            ast.Constant: self._constant,
        }
        if type(node) not in kinds:
            raise self._wrong(node, "this is not allowed", ALLOWED)
        return kinds[type(node)](node, batch)

    def _apply(self, node: ast.AST, function: Callable[..., Value], *values: Value) -> Value:
        """Arrow's refusals as ours."""
        try:
            return function(*values)
        except pa.ArrowNotImplementedError:
            kinds = " and ".join(_named(value.type) for value in values if hasattr(value, "type"))
            raise self._wrong(node, f"this cannot be done with {kinds}") from None
        except (pa.ArrowInvalid, TypeError, OverflowError) as error:
            raise self._wrong(node, str(error).splitlines()[0]) from None

    def _combined(self, node: ast.BoolOp, batch: pa.RecordBatch) -> Value:
        function = pc.and_kleene if isinstance(node.op, ast.And) else pc.or_kleene
        result, *others = (self._value(value, batch) for value in node.values)
        for other in others:
            result = self._apply(node, function, result, other)
        return result

    def _unary(self, node: ast.UnaryOp, batch: pa.RecordBatch) -> Value:
        functions = {ast.Not: pc.invert, ast.USub: pc.negate_checked, ast.UAdd: lambda value: value}
        if type(node.op) not in functions:
            raise self._wrong(node, "this is not allowed", ALLOWED)
        return self._apply(node, functions[type(node.op)], self._value(node.operand, batch))

    def _binary(self, node: ast.BinOp, batch: pa.RecordBatch) -> Value:
        if isinstance(node.op, ast.MatMult):
            pattern = self._text(node.right)
            self._apply(
                node.right, pc.match_substring_regex, pa.scalar(""), pattern
            )  # no row need be there to refuse it
            return self._apply(node, pc.match_substring_regex, self._value(node.left, batch), pattern)
        if type(node.op) not in ARITHMETIC:
            raise self._wrong(node, "this is not allowed", ALLOWED)
        return self._apply(
            node, ARITHMETIC[type(node.op)], self._value(node.left, batch), self._value(node.right, batch)
        )

    def _compared(self, node: ast.Compare, batch: pa.RecordBatch) -> Value:
        sides, result = [node.left, *node.comparators], None
        for left, sign, right in zip(sides[:-1], node.ops, sides[1:], strict=True):
            one = self._comparison(node, left, sign, right, batch)
            result = one if result is None else pc.and_kleene(result, one)
        return result

    def _comparison(self, node: ast.Compare, left: ast.expr, sign: ast.cmpop, right: ast.expr, batch: Any) -> Value:
        value = self._value(left, batch)
        if isinstance(right, ast.Constant) and right.value is None and isinstance(sign, ast.Is | ast.Eq):
            return pc.is_null(value)
        if isinstance(right, ast.Constant) and right.value is None and isinstance(sign, ast.IsNot | ast.NotEq):
            return pc.is_valid(value)
        if isinstance(sign, ast.In | ast.NotIn):
            found = self._apply(right, lambda one: pc.is_in(one, value_set=self._members(right, one.type)), value)
            known = pc.if_else(pc.is_valid(value), found, pa.scalar(None, pa.bool_()))
            return known if isinstance(sign, ast.In) else pc.invert(known)
        if type(sign) not in COMPARE:
            raise self._wrong(node, "`is` goes with None only", ALLOWED)
        other = self._value(right, batch)
        if pa.types.is_string(value.type) != pa.types.is_string(other.type):
            raise self._wrong(node, f"{_named(value.type)} cannot be compared with {_named(other.type)}")
        return self._apply(node, COMPARE[type(sign)], value, other)

    def _members(self, node: ast.expr, kind: pa.DataType) -> pa.Array:
        """The values of a list of literals."""
        try:
            values = ast.literal_eval(node)
        except ValueError:
            values = None
        if not isinstance(values, list | tuple | set):
            raise self._wrong(node, "after `in` comes a list such as [24, 25, 30]")
        return pa.array(list(values)).cast(kind)

    def _called(self, node: ast.Call, batch: pa.RecordBatch) -> Value:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name == "col" and len(node.args) == 1 and not node.keywords:
            return self._named_column(node.args[0], self._text(node.args[0]), batch)
        if name not in FUNCTIONS:
            shown = f"no such function: {name!r}" if name else "only a function's name can be called"
            raise self._wrong(node.func, shown, *did_you_mean(name, [*FUNCTIONS, "col"]))
        wanted = 2 if name in WITH_PATTERN else 1
        if len(node.args) != wanted or node.keywords:
            raise self._wrong(node, f"{name} takes {'a value and a text' if wanted == 2 else 'one value'}")
        patterns = [self._text(argument) for argument in node.args[1:]]
        return self._apply(node, FUNCTIONS[name], self._value(node.args[0], batch), *patterns)

    def _column(self, node: ast.Name, batch: pa.RecordBatch) -> Value:
        return self._named_column(node, node.id, batch)

    def _named_column(self, node: ast.expr, name: str, batch: pa.RecordBatch) -> Value:
        if name not in batch.schema.names:
            columns = f"columns: {', '.join(batch.schema.names)}"
            near = [hint for hint in did_you_mean(name, batch.schema.names) if not hint.startswith("known")]
            raise self._wrong(node, f"no such column: {name!r}", *near, columns)
        self.columns |= {name}
        column = batch.column(name)
        return column.cast(pa.int64()) if pa.types.is_integer(column.type) else column  # products of int32 overflow

    def _constant(self, node: ast.Constant, batch: pa.RecordBatch) -> Value:
        if not isinstance(node.value, str | int | float):
            raise self._wrong(node, "this is not allowed", ALLOWED)
        return self._apply(node, pa.scalar, node.value)

    def _text(self, node: ast.expr) -> str:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            raise self._wrong(node, 'a text in quotes is expected here, such as "dog"')
        return node.value

    def _wrong(self, node: ast.AST, problem: str, *hints: str) -> UserError:
        line = self.text.encode()
        start, end = (len(line[:place].decode()) for place in (node.col_offset, node.end_col_offset))  # type: ignore[attr-defined]
        return pointing(self.text, start, end, problem, *hints)


def pointing(text: str, start: int, end: int, problem: str, *hints: str) -> UserError:
    """An error that marks the characters from `start` to `end` of an expression."""
    lines = [text, " " * start + "^" * max(1, end - start), *hints]
    return UserError("\n    ".join([f"--where, character {start + 1}: {problem}", *lines]))


def _parse(text: str) -> ast.expr:
    if "\n" in text or "\r" in text:
        raise UserError("--where: the expression must be on one line")
    try:
        return ast.parse(_with_operator(text), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        place = (getattr(error, "offset", None) or len(text) + 1) - 1
        problem = getattr(error, "msg", None) or str(error)
        raise pointing(text, place, place + 1, f"this is no expression: {problem}", ALLOWED) from None


def _with_operator(text: str) -> str:
    """The text with `@`, which Python knows, for each `~` between two values. Raises: UserError, for a `@`."""
    characters, value_before = list(text), False
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.string == "@":
                raise pointing(text, token.start[1], token.end[1], "this is not allowed", ALLOWED)
            if token.string == "~" and value_before:
                characters[token.start[1]] = "@"
            words = token.type == tokenize.NAME and token.string not in ("and", "or", "not", "in", "is")
            value_before = words or token.type in (tokenize.NUMBER, tokenize.STRING) or token.string in (")", "]")
    except (tokenize.TokenError, SyntaxError):
        return text  # the parser says it better
    return "".join(characters)


def _named(kind: pa.DataType) -> str:
    if pa.types.is_string(kind):
        return "a text"
    if pa.types.is_null(kind):
        return "a column without any value"
    if pa.types.is_boolean(kind):
        return "true or false"
    return "a number" if pa.types.is_integer(kind) or pa.types.is_floating(kind) else str(kind)
