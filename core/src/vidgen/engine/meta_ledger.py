"""A ledger of tensors on the meta device, where they have sizes alone: an operation on sizes that it had before is not
worked out again. Models are lists of like blocks, so that most are such; torch takes long to work one out there.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch._ops import OpOverload

from vidgen.engine.ledger import Ledger

Kind = Literal["view", "new", "other"]
"""Of operations: they make no tensor that takes memory; they touch nothing that they are given; neither is sure."""

PLAIN = (Tensor, nn.Parameter)  # what else there is may do more than it says, such as sharded tensors


class Form(NamedTuple):
    """Of a tensor that has its memory for itself."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    def make(self) -> Tensor:
        """A new one."""
        return torch.empty_strided(self.size, self.stride, dtype=self.dtype, device="meta")


class Known:
    """Operations that were worked out, for several ledgers, one after the other. forms: of what came out, by the sizes
    of what went in; None where that is more than new tensors. None within: no gradient was asked for."""

    def __init__(self) -> None:
        self.forms: dict[Hashable, tuple[Form | None, ...] | None] = {}
        self._kinds: dict[Callable[..., Any], Kind] = {}

    def kind(self, func: Callable[..., Any]) -> Kind:
        """As its schema says."""
        if func not in self._kinds:
            self._kinds[func] = _kind(func)
        return self._kinds[func]


class MetaLedger(Ledger):
    """See `Ledger`: the numbers are the same."""

    def __init__(self, known: Known) -> None:
        super().__init__(device="meta")
        self._known = known

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named, kind = kwargs or {}, self._known.kind(func)
        if kind == "view" and type(args[0]) in PLAIN:
            return func(*args, **named)
        key = _key(func, args, named) if kind == "new" else None
        with torch._C.DisableTorchFunction():  # what an operation does inside is torch's own affair
            forms = self._known.forms.get(key)
            if forms is not None:
                return self._made(forms)
            result = super().__torch_dispatch__(func, types, args, named)
            if key is not None and key not in self._known.forms:
                self._known.forms[key] = self._forms(result, (args, named))
        return result

    def _made(self, forms: tuple[Form | None, ...]) -> Tensor | tuple[Tensor | None, ...] | None:
        made = tuple([form and form.make() for form in forms])
        for one in made:
            if one is not None:
                self._enter(one.untyped_storage())
        return made if len(made) > 1 else made[0]

    def _forms(self, result: Any, given: Any) -> tuple[Form | None, ...] | None:
        made = result if type(result) is tuple else (result,)
        tensors = [one for one in made if one is not None]
        if not tensors or any(type(one) is not Tensor or not one.is_meta for one in tensors):
            return None
        forms = tuple(None if one is None else Form(one.shape, one.stride(), one.dtype) for one in made)
        sizes = [form.make().untyped_storage().nbytes() for form in forms if form]
        whole = sizes == [one.untyped_storage().nbytes() for one in tensors]
        before = {storage._cdata for storage in self._storages(given)}
        fresh = {one.untyped_storage()._cdata for one in tensors} - before
        return forms if whole and len(fresh) == len(tensors) else None


def _kind(func: Callable[..., Any]) -> Kind:
    if not isinstance(func, OpOverload):
        return "other"
    if not func.is_view:
        return "other" if func._schema.is_mutable else "new"
    composed = func.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)
    return "other" if composed else "view"  # composed ones may copy, such as reshape


def _key(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Hashable:
    """None where what comes out depends on more than sizes."""
    try:
        return func, _sizes(args), tuple([(name, _sizes(value)) for name, value in kwargs.items()])
    except LookupError:
        return None


def _sizes(value: Any) -> Hashable:
    """Raises: LookupError, for tensors with values and those of other kinds."""
    if isinstance(value, Tensor):
        if type(value) not in PLAIN or not value.is_meta:
            raise LookupError
        return value.shape, value.stride(), value.dtype
    if isinstance(value, list | tuple):
        return tuple([_sizes(one) for one in value])
    return type(value), value  # 1, 1.0 and True are equal
