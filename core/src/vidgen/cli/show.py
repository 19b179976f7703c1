"""`vidgen show TYPE`: what a component is and which keys it takes."""

import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

import attrs
import click
from rich.console import Console
from rich.table import Table

from vidgen.errors import UserError, did_you_mean
from vidgen.registry import Offer, Registry


@click.command()
@click.argument("name", metavar="TYPE")
@click.option("--kind", help="Which kind is meant, when two kinds have the name.")
def command(name: str, kind: str | None) -> None:
    """Show the options of the component TYPE: types, defaults and what they mean."""
    registry = Registry.discover()
    found = [offer for offer in registry.offers(kind) if offer.component.name == name]
    if not found:
        names = [offer.component.name for offer in registry.offers(kind)]
        raise UserError("\n    ".join([f"no installed plugin offers {name!r}", *did_you_mean(name, names)]))
    console = Console()
    for offer in found:
        _print(console, offer)


def _print(console: Console, offer: Offer) -> None:
    component = offer.component
    console.print(
        f"[bold]{component.name}[/bold], {offer.kind.replace('_', ' ')} of {offer.distribution} {offer.version}"
    )
    console.print(component.summary, markup=False)
    table = Table("key", "type", "default", "meaning", box=None, pad_edge=False, header_style="bold")
    for row in rows(component.options):
        table.add_row(*row)
    console.print(table)


def rows(options: type, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """(key, type, default, meaning) of every option, nested ones with dotted keys."""
    for field in attrs.fields(attrs.resolve_types(options)):
        name = f"{prefix}{field.name}"
        nested = next((one for one in (field.type, *get_args(field.type)) if attrs.has(one)), None)
        if "kind" in field.metadata:
            default = field.metadata.get("default")
            yield name, field.metadata["kind"], "required" if default is None else str(default), field.metadata["doc"]
        elif nested is not None and field.metadata.get("doc", "") == "":
            yield from rows(nested, f"{name}.")
        else:
            yield name, type_name(field.type), _default(field), field.metadata.get("doc", "")


def type_name(kind: Any) -> str:
    """A type as a user writes it: `int | null`, `fp32 | bf16`, `[int, int]`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is type(None):
        return "null"
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        return " | ".join(map(type_name, arguments))
    if origin is tuple and arguments[-1] is not Ellipsis:
        return f"[{', '.join(map(type_name, arguments))}]"
    if origin in (list, tuple):
        return f"[{type_name(arguments[0])}, ...]"
    if origin is dict:
        return f"{{{type_name(arguments[0])}: {type_name(arguments[1])}}}"
    return {"str": "text", "InputPath": "path", "Path": "path"}.get(
        getattr(kind, "__name__", ""), getattr(kind, "__name__", str(kind))
    )


def _default(field: Any) -> str:
    if field.default is attrs.NOTHING:
        return "required"
    value = field.default.factory() if isinstance(field.default, attrs.Factory) else field.default
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
