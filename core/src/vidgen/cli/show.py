"""`vidgen show TYPE`: what a component is and which keys it takes."""

import json
import types
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Union, get_args, get_origin

import attrs
import click

from vidgen.cli.table import console, table
from vidgen.component import Selection
from vidgen.errors import UserError, did_you_mean
from vidgen.hookspecs import KINDS
from vidgen.recipe.structure import unstructure
from vidgen.registry import Offer, Registry, catalogue


@click.command()
@click.argument("name", metavar="TYPE")
@click.option("--kind", type=click.Choice(list(KINDS)), help="Which kind is meant, when two kinds have the name.")
def command(name: str, kind: str | None) -> None:
    """Show the options of the component TYPE: types, defaults and what they mean."""
    registry = Registry.discover()
    found = [offer for offer in registry.offers(kind) if offer.component.name == name]
    if not found:
        raise UserError("\n    ".join([f"no installed plugin offers {name!r}", *_hints(registry, name, kind)]))
    for offer in found:
        _print(offer)
        if offer.kind == "model":
            _print_anatomy(registry, offer)


def _hints(registry: Registry, name: str, kind: str | None) -> Iterable[str]:
    known = {one: names for one, names in catalogue().items() if kind in (None, one)}
    homes = sorted({names[name] for names in known.values() if name in names})
    installed = [offer.component.name for offer in registry.offers(kind)]
    if homes:
        return [f"{name!r} comes with {home}: pip install {home}" for home in homes]
    return did_you_mean(name, [*installed, *(one for names in known.values() for one in names)])


def _print(offer: Offer) -> None:
    component = offer.component
    console().print(f"{component.name}, {offer.kind.replace('_', ' ')} of {offer.distribution} {offer.version}")
    console().print(component.summary)
    keys = table("key", "type", "default", "meaning")
    for row in rows(component.options):
        keys.add_row(*row)
    console().print(keys)


def _print_anatomy(registry: Registry, offer: Offer) -> None:
    from vidgen.engine.anatomy import dissect  # needs torch

    try:
        options = offer.component.options()
    except TypeError:  # one without a default
        return
    model = dissect(registry, Selection(offer.kind, offer.component, options))
    parts = table("part", "parameters", "share", "FLOPs per token", "share", numbers=(1, 2, 3, 4))
    for part in model.parts:
        name = f"{'  ' * part.depth}{part.name}{f' x {part.count}' if part.count > 1 else ''}"
        shares = [f"{part.parameters / model.parameters:.1%}", f"{part.flops / max(model.flops, 1):.1%}"]
        parts.add_row(name, f"{part.parameters:,}", shares[0], _flops(part.flops), shares[1])
    parts.add_row("all", f"{model.parameters:,}", "", _flops(model.flops), "")
    console().print(parts)
    size = "x".join(map(str, model.latent_size))
    console().print(f"Forward, {size} latents ({model.tokens:,} tokens), one clip with its default conditioning.")


def _flops(number: float) -> str:
    return f"{number / 1e9:.3f} G" if number >= 1e8 else f"{number / 1e6:.2f} M"


def rows(options: type, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """(key, type, default, meaning) of every option, nested ones with dotted keys."""
    for field in attrs.fields(attrs.resolve_types(options)):
        name, doc = f"{prefix}{field.name}", field.metadata.get("doc", "")
        nested = next((one for one in (field.type, *get_args(field.type)) if attrs.has(one)), None)
        if "kind" in field.metadata:
            yield name, _section_name(field), _section_default(field), doc
        elif nested is None:
            yield name, type_name(field.type), _default(field), doc
        else:
            if doc:
                yield name, type_name(field.type), _default(field), doc
            yield from rows(nested, f"{name}.")


def _section_name(field: Any) -> str:
    return f"[{field.metadata['kind']}, ...]" if field.metadata.get("many") else field.metadata["kind"]


def _section_default(field: Any) -> str:
    default = field.metadata.get("default")
    return "required" if default is None and field.default is attrs.NOTHING else _written(default)


def type_name(kind: Any) -> str:
    """A type as a user writes it: `int | null`, `fp32 | bf16`, `[int, int]`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is type(None):
        return "null"
    if attrs.has(kind):
        return "keys below"
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
    return _written(field.default.factory() if hasattr(field.default, "factory") else field.default)


def _written(value: Any) -> str:
    """A value as a recipe writes it."""
    plain = unstructure(value)
    return plain if isinstance(plain, str) else json.dumps(plain)
