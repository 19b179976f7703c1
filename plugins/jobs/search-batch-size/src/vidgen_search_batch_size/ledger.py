"""How much memory tensors take, counted as they come and go. For CPUs: GPUs have an allocator that can be asked."""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Ledger(TorchDispatchMode):
    """A context manager. bytes: of all tensors made inside that are still alive, also in the backward pass. limit: in
    bytes; the operation that goes beyond it ends in MemoryError.

    What an operation takes for itself alone is not seen, nor what is not torch's.
    """

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.bytes, self.limit = 0, limit
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if any(hasattr(one, "__tensor_flatten__") for one in types):
            return NotImplemented  # tensors made of tensors, such as sharded ones: what they do inside comes here again
        result = func(*args, **(kwargs or {}))
        given = {storage._cdata for storage in _storages((args, kwargs))}
        for storage in _storages(result):
            if storage._cdata not in given:  # else a view, or changed in place: there already, maybe from before
                self._enter(storage)
        if self.bytes > self.limit:
            raise MemoryError(f"{self.bytes:,} bytes of tensors, {self.limit:,.0f} are allowed")
        return result

    def _enter(self, storage: torch.UntypedStorage) -> None:
        number, size = storage._cdata, storage.nbytes()
        if number in self._alive:
            return

        def leave(_: object) -> None:
            del self._alive[number]
            self.bytes -= size

        self._alive[number] = weakref.ref(storage, leave)
        self.bytes += size


def _storages(values: Any) -> Iterator[torch.UntypedStorage]:
    for one in tree_leaves(values):
        if isinstance(one, Tensor) and one.device.type == "cpu":
            yield one.untyped_storage()
