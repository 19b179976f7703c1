"""Recipe text to plain data that remembers where every value was written.

YAML 1.2 rules (`1e-4` is a number, `16:9` and `on` are text, a key written twice is an error), safe constructors only,
`extends:` one level deep, and `key.path=value` overrides.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from attrs import define, field

from vidgen.errors import Problem, RecipeError, did_you_mean, key_path

KeyPath = tuple[str | int, ...]

SCALARS = (
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)
"""The core schema of YAML 1.2 (chapter 10.3.2): tag, form, first characters."""

FORMS = {tag: re.compile(form) for tag, form, _ in SCALARS}
PLAIN_TAGS = {*FORMS, *(f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map"))}
MAX_NODES = 200_000  # aliases can multiply a short text without end
OVERRIDE = re.compile(r"\s*([^.\[\]=]+(?:\.[^.\[\]=]+|\[[0-9]+\])*)\s*=(.*)", re.DOTALL)


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


class Dumper(yaml.SafeDumper):
    """Writes what `Loader` reads: text that looks like a number is quoted by the same rules."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        """Write out what occurs twice twice."""
        return True


for _tag, _form, _first in SCALARS:
    for _class in (Loader, Dumper):
        _class.add_implicit_resolver(_tag, re.compile(rf"^(?:{_form})$"), _first)


def _int(loader: Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    try:
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    except ValueError as error:  # Python refuses to read thousands of digits
        raise yaml.constructor.ConstructorError(problem=str(error), problem_mark=node.start_mark) from error


def _str(loader: Loader, node: yaml.ScalarNode) -> str:
    """JSON writes what lies beyond 16 bits as two escapes; together they are one character."""
    return str(loader.construct_scalar(node)).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


Loader.add_constructor("tag:yaml.org,2002:int", _int)
Loader.add_constructor("tag:yaml.org,2002:str", _str)


@define
class Source:
    """A recipe's data, and the place (`file:line:column`) of every key and value in it.

    data: a mapping; of an override's text, any value. folders: of the file, then of what it extends.
    """

    name: str
    data: Any
    folders: tuple[Path, ...] = ()
    value_places: dict[KeyPath, str] = field(factory=dict)
    key_places: dict[KeyPath, str] = field(factory=dict)

    def place(self, path: KeyPath, at_key: bool = False) -> str:
        """Where `path` was written; for a path that was not, where its nearest written parent was."""
        if at_key and path in self.key_places:
            return self.key_places[path]
        while path and path not in self.value_places:
            path = path[:-1]
        return self.value_places.get(path, self.name)

    def has(self, path: KeyPath) -> bool:
        """Whether a value was written at `path`."""
        return path in self.value_places


def read_source(path: Path, overrides: Iterable[str] = ()) -> Source:
    """Read a recipe file, what it extends, and overrides. Raises: RecipeError."""
    source = read_yaml(path)
    base_name = source.data.pop("extends", None)
    if base_name is not None:
        source = _extend(source, path, base_name)
    for text in overrides:
        _override(source, text)
    return source


def from_mapping(data: dict[str, Any], overrides: Iterable[str] = ()) -> Source:
    """A source for a recipe made in Python, which is changed; places are key paths only."""
    source = Source("recipe", data)
    for text in overrides:
        _override(source, text)
    return source


def read_yaml(path: Path) -> Source:
    """Read one YAML file without following `extends`. Raises: RecipeError."""
    name = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _refused(name, f"not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise _refused(name, _why(error), *_neighbours(path)) from error
    source = _parse(text, name)
    if not isinstance(source.data, dict):
        raise _refused(name, "a recipe is a mapping of keys to values", "start with a line such as `job: train`")
    source.folders = (path.parent,)
    return source


def _parse(text: str, name: str) -> Source:
    try:
        loader = Loader(text)
        return _Walk(loader, name).source(loader.get_single_node())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise _refused(where, f"not valid YAML: {_reason(error)}") from error
    except yaml.YAMLError as error:
        raise _refused(name, f"not valid YAML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise _refused(name, "not valid YAML: nested too deeply") from error


def dump_yaml(data: Any) -> str:
    """Plain data as YAML that `read_yaml` reads back unchanged."""
    return yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)


class _Walk:
    """Turns nodes into data and notes their places."""

    def __init__(self, loader: Loader, name: str) -> None:
        self.loader, self.name, self.nodes = loader, name, 0
        self.values: dict[KeyPath, str] = {}
        self.keys: dict[KeyPath, str] = {}
        self.open: set[int] = set()

    def source(self, node: yaml.Node | None) -> Source:
        data = None if node is None else self.data(node, ())
        return Source(self.name, data, value_places=self.values, key_places=self.keys)

    def data(self, node: yaml.Node, path: KeyPath) -> Any:
        self.values[path] = self._place(node)
        self.nodes += 1
        if id(node) in self.open or self.nodes > MAX_NODES:
            raise _refused(self._place(node), "an alias that contains itself, or far too many aliases")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        self._check_tag(node)
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            return [self.data(child, (*path, index)) for index, child in enumerate(node.value)]
        finally:
            self.open.discard(id(node))

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        self._check_tag(node)
        if node.tag in FORMS and not FORMS[node.tag].fullmatch(node.value):
            raise _refused(self._place(node), f"{node.value!r} is no !!{node.tag.rpartition(':')[2]}")
        return self.loader.construct_object(node)

    def _check_tag(self, node: yaml.Node) -> None:
        if node.tag not in PLAIN_TAGS:
            short = node.tag.replace("tag:yaml.org,2002:", "!!")
            raise _refused(self._place(node), f"the tag {short} is refused", "recipes hold plain data, never code")

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _refused(self._place(key_node), "a key must be text or a number")
            key = self._scalar(key_node)
            here = (*path, key)
            if key in result:
                first = self.keys[here].removeprefix(f"{self.name}:")
                raise _refused(self._place(key_node), f"{key_path(here)}: written twice", f"first at {first}")
            self.keys[here] = self._place(key_node)
            result[key] = self.data(value_node, here)
        return result

    def _place(self, node: yaml.Node) -> str:
        return f"{self.name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def _extend(source: Source, path: Path, base_name: Any) -> Source:
    place = source.place(("extends",))
    if not isinstance(base_name, str):
        raise _refused(place, f"extends: expected the name of a recipe file, got {base_name!r}")
    base_path = path.parent / base_name
    if base_path.resolve() == path.resolve():
        raise _refused(place, f"extends: {base_name} extends itself")
    if not base_path.is_file():
        raise _refused(place, f"extends: no such file: {base_path}", *_neighbours(base_path))
    base = read_yaml(base_path)
    if "extends" in base.data:
        raise _refused(
            base.place(("extends",)), "extends: one level only", f"{path} extends this file already; write keys out"
        )
    return lay_over(base, source)


def lay_over(base: Source, source: Source) -> Source:
    """`source` where it speaks, `base` where it is silent: mappings merge, except that a section which names another
    `type` replaces the old one. Places stay those of the text each value came from."""
    _merge(base, source, ())
    base.value_places[()] = source.place(())
    base.name, base.folders = source.name, (*source.folders, *base.folders)
    return base


def _merge(base: Source, over: Source, path: KeyPath) -> None:
    mine, theirs = _at(base.data, path), _at(over.data, path)
    for key, value in theirs.items():
        here = (*path, key)
        old = mine.get(key)
        merges = isinstance(value, dict) and isinstance(old, dict)
        if merges and value.get("type", old.get("type")) == old.get("type"):
            _merge(base, over, here)
        else:
            _forget(base, here)
            mine[key] = value
            base.value_places |= {at: p for at, p in over.value_places.items() if at[: len(here)] == here}
        base.key_places |= {at: p for at, p in over.key_places.items() if at[: len(here)] == here}


def _override(source: Source, text: str) -> None:
    match = OVERRIDE.fullmatch(text)
    if match is None:
        raise _refused(
            "command line", f"{text!r} is not an override", "write key.path=value, such as optimizer.lr=1e-4"
        )
    place = f"command line: {text}"
    parts = re.findall(r"[^.\[\]]+", match[1].rstrip())
    path = tuple(int(part) if re.fullmatch("[0-9]{1,9}", part) else part for part in parts)
    try:
        value = _parse(match[2], place).data
    except RecipeError as error:
        raise _refused(place, error.problems[0].text) from error
    _set(source, path, value, place)


def _set(source: Source, path: KeyPath, value: Any, place: str) -> None:
    target = source.data
    for depth, key in enumerate(path[:-1], start=1):
        following = target[key] if _holds(target, key) else None
        if not isinstance(following, dict | list):
            following = {}
            _put(source, target, path[:depth], following, place)
        target = following
    _put(source, target, path, value, place)


def _put(source: Source, target: Any, path: KeyPath, value: Any, place: str) -> None:
    key = path[-1]
    if isinstance(target, list) and not (isinstance(key, int) and key < len(target)):
        raise _refused(place, f"{key_path(path)}: the list has {len(target)} entries, counted from 0")
    target[key] = value
    _forget(source, path)
    source.value_places[path] = source.key_places[path] = place


def _holds(target: Any, key: str | int) -> bool:
    return key in target if isinstance(target, dict) else isinstance(key, int) and key < len(target)


def _forget(source: Source, path: KeyPath) -> None:
    for places in (source.value_places, source.key_places):
        for at in [at for at in places if at[: len(path)] == path]:
            del places[at]


def _at(data: Any, path: KeyPath) -> Any:
    for key in path:
        data = data[key]
    return data


def _refused(place: str, text: str, *hints: str) -> RecipeError:
    return RecipeError([Problem((), text, tuple(hints), place)])


def _reason(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "unreadable"
    return f"{error.context} {problem}" if problem.startswith("but") else problem


def _why(error: OSError) -> str:
    return "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"


def _neighbours(path: Path) -> tuple[str, ...]:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.suffix in (".yaml", ".yml")]
    except OSError:
        return (f"the folder {path.parent} does not exist",)
    return did_you_mean(path.name, names)
