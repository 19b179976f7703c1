"""Plain data to typed options, strictly, with every mistake found in one pass.

cattrs finds the hook for each type; the hooks here never convert (`"7"`, `7.9` and `true` are not whole numbers) and
raise `Mistakes`, whose key paths grow on the way up. An attrs validator runs with its own field, so that its message
gets that field's place.
"""

import logging
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import attrs
import cattrs

from vidgen.component import InputPath, Selection
from vidgen.errors import Problem, did_you_mean
from vidgen.registry import Registry, UnknownComponent

LOG = logging.getLogger("vidgen")
MAX_WHOLE_FLOAT = 1 << 1023  # a whole number beyond does not fit a float
PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


class Mistakes(Exception):
    """One or more problems, with paths relative to the value being structured."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(problems)


class Structurer:
    """Builds options objects and selections.

    registry: where `type:` is looked up. folders: where to look for input files, after the current folder.
    """

    def __init__(self, registry: Registry, *folders: Path) -> None:
        self.registry, self.folders = registry, folders
        self.converter = cattrs.Converter(detailed_validation=False)
        hooks: list[tuple[Callable[[Any], bool], Callable[[Any, Any], Any]]] = [
            (lambda t: t is InputPath, self._input_path),
            (lambda t: get_origin(t) is Literal, self._literal),
            (lambda t: get_origin(t) in (Union, types.UnionType), self._union),
            (lambda t: get_origin(t) in (list, tuple), self._sequence),
            (lambda t: get_origin(t) is dict, self._dict),
            (attrs.has, self._attrs),
            (lambda t: t is Any, lambda data, _: data),
        ]
        for predicate, hook in hooks:
            self.converter.register_structure_hook_func(predicate, hook)
        for cls in PLAIN:  # exact classes: cattrs asks its own converting hooks for these before any predicate
            self.converter.register_structure_hook(cls, self._plain)
        self.converter.register_structure_hook(Path, self._path)

    def selection(self, kind: str, data: Any, key: str = "type") -> Selection:
        """A mapping with `type:` (or another `key`) and options to a checked Selection. Raises: Mistakes."""
        if not isinstance(data, Mapping):
            raise _mistake(f"expected a mapping with `{key}:` and its options, got {_shown(data)}")
        name = data.get(key)
        if not isinstance(name, str):
            installed = ", ".join(offer.component.name for offer in self.registry.offers(kind))
            what = "missing" if key not in data else f"expected text, got {_shown(name)}"
            raise Mistakes([Problem((key,), what, (f"installed: {installed or 'none'}",))])
        try:
            component = self.registry.find(kind, name)
        except UnknownComponent as error:
            raise Mistakes([attrs.evolve(error.problem, path=(key,))]) from None
        rest = {k: v for k, v in data.items() if k != key}
        return Selection(kind, component, self.converter.structure(rest, component.options))

    def _attrs(self, data: Any, cls: type) -> Any:
        if not isinstance(data, Mapping):
            raise _mistake(f"expected a mapping of keys to values, got {_shown(data)}")
        fields = attrs.fields_dict(attrs.resolve_types(cls))
        data = _renamed(data, fields)
        problems = [_unknown(key, fields) for key in data if key not in fields]
        values = {}
        for name, field in fields.items():
            try:
                if name in data or "kind" in field.metadata:
                    values[name] = self._field(field, data.get(name, field.metadata.get("default")))
                elif field.default is attrs.NOTHING:
                    hint = (field.metadata["doc"],) if field.metadata.get("doc") else ()
                    problems.append(Problem((name,), "missing", hint))
            except Mistakes as mistakes:
                problems.extend(problem.under(name) for problem in mistakes.problems)
        if problems:
            raise Mistakes(problems)
        try:
            options = cls(**values)
        except (ValueError, TypeError) as error:  # of __attrs_post_init__
            raise _mistake(_text_of(error)) from error
        problems = list(options.problems()) if hasattr(options, "problems") else []
        if problems:
            raise Mistakes(problems)
        return options

    def _field(self, field: Any, data: Any) -> Any:
        kind = field.metadata.get("kind")
        if kind is None:
            value = self.converter.structure(data, field.type)
            _validate(field, value)
            return value
        if field.metadata.get("many"):
            return self._each(data, lambda one: self.selection(kind, one))
        return None if data is None and field.default is None else self._section(kind, data)

    def _section(self, kind: str, data: Any) -> Selection:
        if data is None:
            installed = ", ".join(offer.component.name for offer in self.registry.offers(kind))
            raise _mistake("missing", f"a mapping with `type:`; installed: {installed or 'none'}")
        return self.selection(kind, data)

    def _plain(self, data: Any, cls: type) -> Any:
        if type(data) is cls:
            return data
        if cls is float and type(data) is int and abs(data) < MAX_WHOLE_FLOAT:
            return float(data)
        raise _mistake(f"expected {PLAIN[cls]}, got {_shown(data)}")

    def _path(self, data: Any, _: Any) -> Path:
        if not isinstance(data, str | Path) or not str(data):
            raise _mistake(f"expected a path, got {_shown(data)}")
        return Path(data).expanduser()

    def _input_path(self, data: Any, _: Any) -> Path:
        path = self._path(data, Path)
        places = list(dict.fromkeys([path, *(folder / path for folder in self.folders)]))
        for place in places:
            if place.exists():
                return place
        raise _mistake(f"no such file or folder: {data}", f"looked for {' and '.join(map(str, places))}")

    def _literal(self, data: Any, cls: Any) -> Any:
        allowed = get_args(cls)
        if any(data == one and type(data) is type(one) for one in allowed):
            return data
        hints = did_you_mean(data, map(str, allowed)) if isinstance(data, str) else ()
        hints = tuple(hint for hint in hints if hint.startswith("did you mean"))
        raise _mistake(f"expected one of {', '.join(map(str, allowed))}, got {_shown(data)}", *hints)

    def _union(self, data: Any, cls: Any) -> Any:
        members = [one for one in get_args(cls) if one is not type(None)]
        if data is None and len(members) < len(get_args(cls)):
            return None
        failures = []
        for member in members:
            try:
                return self.converter.structure(data, member)
            except Mistakes as mistakes:
                failures.append(mistakes)
        deeper = [one for one in failures if all(problem.path for problem in one.problems)]  # of the right shape
        if len(failures) == 1 or len(deeper) == 1:
            raise (deeper or failures)[0]
        texts = [problem.text.removeprefix("expected ").split(", got ")[0] for f in failures for problem in f.problems]
        raise _mistake(f"expected {' or '.join(dict.fromkeys(texts))}, got {_shown(data)}")

    def _sequence(self, data: Any, cls: Any) -> Any:
        origin, arguments = get_origin(cls), get_args(cls)
        if origin is list or arguments[-1] is Ellipsis:
            return origin(self._each(data, lambda one: self.converter.structure(one, arguments[0])))
        if not isinstance(data, list | tuple) or len(data) != len(arguments):
            raise _mistake(f"expected a list of {len(arguments)} values, got {_shown(data)}")
        kinds = iter(arguments)
        return tuple(self._each(data, lambda one: self.converter.structure(one, next(kinds))))

    def _each(self, data: Any, structure: Callable[[Any], Any]) -> list[Any]:
        if not isinstance(data, list | tuple):
            raise _mistake(f"expected a list, got {_shown(data)}")
        return list(_collect(((index, one) for index, one in enumerate(data)), structure).values())

    def _dict(self, data: Any, cls: Any) -> dict[Any, Any]:
        if not isinstance(data, Mapping):
            raise _mistake(f"expected a mapping, got {_shown(data)}")
        key_type, value_type = get_args(cls)

        def entry(one: tuple[Any, Any]) -> Any:
            self._key(one[0], key_type)
            return self.converter.structure(one[1], value_type)

        return _collect(((key, (key, value)) for key, value in data.items()), entry)

    def _key(self, data: Any, cls: Any) -> None:
        try:
            self.converter.structure(data, cls)
        except Mistakes as mistakes:
            raise Mistakes([attrs.evolve(one, at_key=True) for one in mistakes.problems]) from None


def unstructure(value: Any) -> Any:
    """Options and selections back to the plain data a recipe is written in."""
    if isinstance(value, Selection):
        key = "job" if value.kind == "job" else "type"
        return {key: value.component.name, **unstructure(value.options)}
    if attrs.has(type(value)):
        return {field.name: unstructure(getattr(value, field.name)) for field in attrs.fields(type(value))}
    if isinstance(value, Mapping):
        return {key: unstructure(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [unstructure(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _collect(items: Any, structure: Callable[[Any], Any]) -> dict[Any, Any]:
    values: dict[Any, Any] = {}
    problems: list[Problem] = []
    for key, one in items:
        try:
            values[key] = structure(one)
        except Mistakes as mistakes:
            problems.extend(problem.under(key) for problem in mistakes.problems)
    if problems:
        raise Mistakes(problems)
    return values


def _validate(field: Any, value: Any) -> None:
    if field.validator is None:
        return
    try:
        field.validator(None, field, value)
    except (ValueError, TypeError) as error:
        raise _mistake(_text_of(error)) from None


def _text_of(error: Exception) -> str:
    """attrs adds the field and the value to its errors' arguments; the first one is the text."""
    return str(error.args[0]) if error.args else type(error).__name__


def _renamed(data: Mapping[Any, Any], fields: Mapping[str, Any]) -> Mapping[Any, Any]:
    """Keys by the names they have now, with a warning for old ones. Raises: Mistakes, when both are there."""
    now = {old: name for name, field in fields.items() for old in field.metadata.get("formerly", ())}
    given = [key for key in data if key in now and key not in fields]
    for key in given:
        if now[key] in data:
            raise Mistakes([Problem((key,), f"is called {now[key]} now, which is given, too", at_key=True)])
        LOG.warning("recipe: the key %s is called %s now; the old name will go", key, now[key])
    return {now[key] if key in given else key: value for key, value in data.items()} if given else data


def _unknown(key: Any, fields: Mapping[str, Any]) -> Problem:
    return Problem((key,), "no such key", did_you_mean(str(key), fields), at_key=True)


def _mistake(text: str, *hints: str) -> Mistakes:
    return Mistakes([Problem((), text, hints)])


def _shown(data: Any) -> str:
    words = {str: "text", int: "a whole number", float: "a number", list: "a list", tuple: "a list", dict: "a mapping"}
    text = repr(data) if len(repr(data)) <= 60 else f"{repr(data)[:57]}..."
    if isinstance(data, bool):
        return "true" if data else "false"
    if data is None:
        return "null"
    return f"{text} ({words.get(type(data), type(data).__name__)})"
