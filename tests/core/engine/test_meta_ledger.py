"""What was worked out once is not worked out again, and the numbers are those of an ordinary ledger."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, layer_norm
from torch.utils._pytree import tree_leaves
from vidgen.engine.ledger import Ledger
from vidgen.engine.meta_ledger import Known, MetaLedger

WORK: dict[str, Callable[[Tensor], object]] = {
    "a product": lambda x: x @ x.new_empty(5, 7),
    "several results": lambda x: (x.max(dim=1), x.topk(2), layer_norm(x, (5,))),
    "parts of one memory": lambda x: (x.mul(2).unbind(0), x.exp().chunk(2, -1)),
    "changes in place": lambda x: x.mul(2).add_(1).relu_(),
    "random numbers": lambda x: dropout(x, 0.3, training=True),
    "other orders": lambda x: (x.transpose(0, 2).mul(3), x.transpose(0, 2).contiguous(), x.transpose(0, 2).reshape(-1)),
    "a repeated row": lambda x: x.expand(4, 2, 3, 5) + 1,
    "numbers of several types": lambda x: (x.long() * 1, x.long() * 1.0, x.long() * True, x.bool() * True),
    "what it was given": lambda x: torch.ops.aten._unsafe_view(x, [6, 5]),
    "complex numbers": lambda x: torch.view_as_complex(x.float().flatten()[:24].view(12, 2)).conj() * 2,
    "nothing": lambda x: x[:0] + 1,
}


def told(ledger: Ledger, work: Callable[[Tensor], object], x: Tensor) -> list[object]:
    """Bytes, the most that there were, what came out, and what is left when that is gone."""
    with ledger:
        made = work(x)
        forms = [(one.shape, one.stride(), one.dtype) for one in tree_leaves(made)]
        found = [ledger.bytes, ledger.peak, forms]
    del made
    return [*found, ledger.bytes]


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("name", WORK)
def test_the_numbers_are_those_of_a_ledger(name: str, inference: bool) -> None:
    """Also where operations arrive that are made of others."""
    known, work = Known(), WORK[name]
    with torch.inference_mode(inference):
        for dtype in (torch.float32, torch.bfloat16, torch.float32, torch.bfloat16):
            x = torch.empty(2, 3, 5, dtype=dtype, device="meta")
            turned = torch.empty_strided((2, 3, 5), (1, 10, 2), dtype=dtype, device="meta")
            for given in (x, turned):
                if name != "what it was given" or given is x:
                    assert told(MetaLedger(known), work, given) == told(Ledger(device="meta"), work, given)


def test_steps_take_the_same() -> None:
    """Of two like layers the second is known from the first; norms without weights have no gradient of them."""
    norms = [{"elementwise_affine": False}, {}] * 2
    layers = [nn.Sequential(nn.Linear(6, 6), nn.GELU(), nn.LayerNorm(6, **norm), nn.Dropout(0.1)) for norm in norms]
    network, known = nn.Sequential(*layers).to("meta"), Known()
    for clips in (3, 11, 3):
        taken = []
        for ledger in (MetaLedger(known), Ledger(device="meta")):
            with ledger:
                loss = network(torch.empty(clips, 4, 6, device="meta")).sum()
                forward = ledger.bytes
                loss.backward()
                del loss
                taken.append((forward, ledger.peak, ledger.bytes))
            network.zero_grad(set_to_none=True)
        assert taken[0] == taken[1] and taken[0][0] > 0


def test_an_operation_is_worked_out_once_for_each_size() -> None:
    worked_out = []

    def halved(x: Tensor) -> Tensor:
        worked_out.append(tuple(x.shape))
        return x.new_empty(x.shape[0] // 2)

    library = torch.library.Library("vidgen_test", "FRAGMENT")
    library.define("halved(Tensor x) -> Tensor")
    library.impl("halved", halved, "Meta")
    known = Known()
    for size in (6, 8, 6, 8, 6):
        with MetaLedger(known) as ledger:
            assert torch.ops.vidgen_test.halved(torch.empty(size, device="meta")).shape == (size // 2,)
            assert ledger.peak == 4 * (size + size // 2)
    assert worked_out == [(6,), (8,)]


def test_tensors_with_values_keep_them() -> None:
    with MetaLedger(Known()) as ledger:
        results: list[Any] = [(torch.arange(3) + one).tolist() for one in (1, 2, torch.tensor(3))]
    assert results == [[1, 2, 3], [2, 3, 4], [3, 4, 5]] and ledger.peak == 0
