"""Models larger than the device's memory: their blocks wait in the CPU's, and each is on the device for its turn alone.

While a block works, the next one is brought, on a GPU by a stream of its own; so two blocks are there at a time. Their
weights are never changed, and what is on the device is given up, not brought back.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn


class Carrier:
    """Brings weights to a device. kept: makes the copies that wait on the CPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def kept(self, weight: Tensor) -> Tensor:
        """The weight as it waits."""
        return weight.cpu()

    def start(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """Begin to bring weights that wait."""
        return [weight.to(self.device) for weight in weights]

    def arrived(self, copies: Sequence[Tensor]) -> None:
        """Wait until copies can be used."""


class StreamCarrier(Carrier):
    """To a GPU, beside its work: from page-locked memory, in a stream of its own."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._stream = torch.cuda.Stream(device)

    def kept(self, weight: Tensor) -> Tensor:
        """See `Carrier`."""
        return weight.cpu().pin_memory()

    def start(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """See `Carrier`."""
        with torch.cuda.stream(self._stream):
            return [weight.to(self.device, non_blocking=True) for weight in weights]

    def arrived(self, copies: Sequence[Tensor]) -> None:
        """See `Carrier`. The copies' memory is used again only when what is queued with them is done."""
        working = torch.cuda.current_stream(self.device)
        working.wait_stream(self._stream)
        for copy in copies:
            copy.record_stream(working)


def carrier_to(device: torch.device) -> Carrier:
    """The one for a device."""
    return StreamCarrier(device) if device.type == "cuda" else Carrier(device)


class Offload:
    """Puts a model's blocks off its device, for as long as the model lives; everything else of it is moved there.

    model: a `vidgen.interfaces.Model` that is a module; it is no longer trained. Blocks are expected in the order of
    `repeated_blocks`, again and again; one that is left out or called out of turn is brought all the same.
    """

    def __init__(self, model: Any, carrier: Carrier) -> None:
        self._carrier = carrier
        model.requires_grad_(False)  # autocast would keep a copy of every weight that may be trained
        model.encode_text = dict  # blocks may have a share in it, and are not there before their turn
        blocks = list(model.repeated_blocks())
        self._weights = [list(chain(block.parameters(), block.buffers())) for block in blocks]
        self._waiting = [[carrier.kept(weight.data) for weight in weights] for weights in self._weights]
        self._coming: dict[int, list[Tensor]] = {}
        within = {id(weight) for weights in self._weights for weight in weights}
        for weight in chain(model.parameters(), model.buffers()):
            if id(weight) not in within:
                weight.data = weight.data.to(carrier.device)
        for number, block in enumerate(blocks):
            self._put(number, self._waiting[number])
            self._around(number, block)

    def _around(self, number: int, block: nn.Module) -> None:
        block.register_forward_pre_hook(lambda *_: self._bring(number))
        block.register_forward_hook(lambda *_: self._put(number, self._waiting[number]), always_call=True)

    @torch.inference_mode(False)  # weights are usable in any mode
    def _bring(self, number: int) -> None:
        """Put a block's weights on the device, and send for those of the next one."""
        copies = self._coming.pop(number, None) or self._carrier.start(self._waiting[number])
        self._coming.clear()  # of a block whose turn did not come
        self._carrier.arrived(copies)
        self._put(number, copies)
        following = (number + 1) % len(self._waiting)
        if following != number:
            self._coming[following] = self._carrier.start(self._waiting[following])

    def _put(self, number: int, values: Sequence[Tensor]) -> None:
        for weight, value in zip(self._weights[number], values, strict=True):
            weight.data = value
