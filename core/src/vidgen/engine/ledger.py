"""How much memory tensors take, counted as they come and go. For CPUs, and for the meta device, where tensors have
sizes alone; GPUs have an allocator that can be asked."""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Ledger(TorchDispatchMode):
    """A context manager. bytes: of all tensors made inside that are still alive, also in the backward pass. peak: the
    most that there were. limit: in bytes; the operation that goes beyond it ends in MemoryError. device: whose tensors.

    What an operation takes for itself alone is not seen, nor what is not torch's.
    """

    def __init__(self, limit: float = inf, device: str = "cpu") -> None:
        super().__init__()
        self.bytes, self.peak, self.limit = 0, 0, limit
        self._device = device
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._counted: dict[int, int] = {}

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
        given = {storage._cdata for storage in self._storages((args, kwargs))}
        for storage in self._storages(result):
            if storage._cdata not in given:  # else a view, or changed in place: there already, maybe from before
                self._enter(storage)
        if self.bytes > self.limit:
            raise MemoryError(f"{self.bytes:,} bytes of tensors, {self.limit:,.0f} are allowed")
        return result

    def share(self, tensor: Tensor, share: float) -> None:
        """From now on, count only so much of a tensor that was made inside: the rest is elsewhere."""
        storage = tensor.untyped_storage()
        if storage._cdata in self._counted:
            self._count(storage._cdata, round(storage.nbytes() * share))

    def _enter(self, storage: torch.UntypedStorage) -> None:
        number = storage._cdata
        if number in self._alive:
            return

        def leave(_: object) -> None:
            del self._alive[number]
            self.bytes -= self._counted.pop(number)

        self._alive[number] = weakref.ref(storage, leave)
        self._count(number, storage.nbytes())

    def _count(self, number: int, size: int) -> None:
        self.bytes += size - self._counted.get(number, 0)
        self._counted[number] = size
        self.peak = max(self.peak, self.bytes)

    def _storages(self, values: Any) -> Iterator[torch.UntypedStorage]:
        for one in tree_leaves(values):
            if isinstance(one, Tensor) and one.device.type == self._device:
                yield one.untyped_storage()
