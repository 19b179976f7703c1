"""State dicts into modules, strictly, with a report."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

import torch
from attrs import frozen
from torch import nn

from vidgen.errors import UserError
from vidgen.weights.files import State, read_state
from vidgen.weights.locate import find_weights

LOG = logging.getLogger("vidgen")
NAMES_SHOWN = 5


@frozen(kw_only=True)
class Converted:
    """A state dict under the module's own names.

    layout: where it comes from, in words (`PixArt-alpha`); empty: the module's own.
    fresh: patterns of entries that this layout lacks and that keep their start values.
    dropped: patterns of entries that have no counterpart. notes: what else was changed, in words.
    """

    state: State
    layout: str = ""
    fresh: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@frozen(kw_only=True)
class Report:
    """What a loading did: `loaded` of `expected` entries, from `path`; `fresh` ones keep their start values, `unused`
    ones of the file have no place."""

    path: Path
    loaded: int
    expected: int
    fresh: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    layout: str = ""
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.loaded} of {self.expected} entries from {self.path}"]
        parts += [f"converted from {self.layout}"] if self.layout else []
        parts += [f"{len(self.fresh)} keep their start values ({_families(self.fresh)})"] if self.fresh else []
        parts += [f"{len(self.unused)} of the file not used ({_families(self.unused)})"] if self.unused else []
        return "weights: " + "; ".join([*parts, *self.notes])


def load_into(
    module: nn.Module,
    source: str | Path,
    *,
    convert: Callable[[State], Converted] | None = None,
    allow_partial: Sequence[str] = (),
    ema: bool = True,
    hub_id: bool = False,
    device: torch.device | None = None,
) -> Report:
    """Load what `find_weights` finds into `module`.

    convert: from a published layout to the module's own names. allow_partial: patterns (`*.attn_temp.*`) of entries
    that may be missing, left over or of another shape. ema: of a checkpoint, take the averaged weights where there are
    any. hub_id: take `source` for a Hugging Face id even where such a path exists. device: where entries on the meta
    device go; they keep the module's dtype, and on the CPU they stay in the file until they are used. Entries that are
    not loaded stay as they are.
    Raises: UserError, when nothing is there or the weights are another model's, with the first differing entries;
    RunError, when a file is damaged.
    """
    path = find_weights(source, ema=ema, hub_id=hub_id)
    state = read_state(path)
    converted = convert(state) if convert else Converted(state=state)
    own = module.state_dict()
    fresh, unused = _check(type(module).__name__.removeprefix("FSDP"), own, converted, path, allow_partial)
    fitting = {name: value for name, value in converted.state.items() if name in own and name not in fresh}
    _put(module, own, fitting, device or torch.get_default_device())
    report = Report(
        path=path,
        loaded=len(fitting),
        expected=len(own),
        fresh=fresh,
        unused=unused,
        layout=converted.layout,
        notes=converted.notes,
    )
    LOG.log(logging.WARNING if fresh else logging.INFO, "%s", report)
    return report


def sizes(folder: Path) -> dict[str, torch.Size]:
    """Names and whole shapes of the tensors in a checkpoint's folder. Raises: RunError, when it is damaged."""
    from vidgen.weights import shards

    return shards.sizes(folder)


def load_shared(folder: Path, own: State, name: str, *, only: Collection[str] | None = None) -> None:
    """Fill tensors, plain ones or what this rank has of shared ones, from a folder that `vidgen.engine.checkpoint`
    wrote; nothing may be missing or left over. Every rank calls this where `own` is shared. only: names of those that
    are read; None: all.

    Raises: UserError, when they are of another model than `name`; RunError, when a file is damaged.
    """
    from vidgen.weights import shards

    found = {key: torch.empty(size, device="meta") for key, size in shards.sizes(folder).items()}
    _check(name, own, Converted(state=found), folder, ())
    read = own if only is None else {key: own[key] for key in only}
    shards.load(folder, read, connected=any(hasattr(value, "full_tensor") for value in own.values()))


@torch.no_grad()
def _put(module: nn.Module, own: State, state: State, device: torch.device) -> None:
    """Entries without memory are given theirs; others are written to in place. Neither makes a second copy."""
    without = {name: value.to(device, own[name].dtype) for name, value in state.items() if own[name].is_meta}
    module.load_state_dict(without, strict=False, assign=True)
    for name in state.keys() - without.keys():
        own[name].copy_(state[name])


def _check(
    module: str, own: State, converted: Converted, path: Path, allowed: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Entries of the module that keep their values, and entries of the file without a place. Raises: UserError."""
    state = converted.state
    resized = {name for name in own if name in state and state[name].shape != own[name].shape}
    missing = [name for name in own if name not in state]
    left_over = [name for name in state if name not in own]
    refused = _unlike(missing, (*allowed, *converted.fresh))
    strange = _unlike(left_over, (*allowed, *converted.dropped))
    differing = [
        f"{name}: {tuple(state[name].shape)} in the file, {tuple(own[name].shape)} in the model"
        for name in _unlike(sorted(resized), allowed)
    ]
    if refused or strange or differing:
        layout = f" (read as {converted.layout})" if converted.layout else ""
        parts = [*_part("not in the file", refused), *_part("not in the model", strange), *_part("differ", differing)]
        raise UserError("\n".join([f"{path}{layout} holds weights of another model than {module}:", *parts]))
    return (*missing, *sorted(resized)), tuple(left_over)


def _unlike(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    return [name for name in names if not any(fnmatch(name, pattern) for pattern in patterns)]


def _part(title: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        yield f"    {title} ({len(names)}): {', '.join(names[:NAMES_SHOWN])}{more}"


def _families(names: Sequence[str]) -> str:
    """`blocks.0.attn.qkv.weight` and its like in all blocks as `blocks.*.attn.qkv`."""
    families = Counter(_family(name) for name in names)
    shown = [f"{family} x{count}" if count > 1 else family for family, count in families.items()]
    return ", ".join(shown[:NAMES_SHOWN]) + (
        f" and {len(shown) - NAMES_SHOWN} more" if len(shown) > NAMES_SHOWN else ""
    )


def _family(name: str) -> str:
    parts = ["*" if part.isdigit() else part for part in name.split(".")]
    return ".".join(parts[:-1] if len(parts) > 1 else parts)
