"""Parallel engines: steps as plain torch makes them, in the recipe's order of calls."""

import copy
import json
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from vidgen.rng import torch_generator
from vidgen.testing.subject import Subject, alike, declared


def declares(subject: Subject) -> Iterator[str]:
    """Where this process is."""
    engine = subject.one
    yield from declared(engine, "device", lambda device: isinstance(device, torch.device), "a torch.device")
    yield from declared(engine, "num_ranks", lambda ranks: type(ranks) is int and ranks > 0, "a number of ranks")
    yield from declared(engine, "rank", lambda rank: 0 <= rank < engine.num_ranks, "a number below num_ranks")


def trains(subject: Subject) -> Iterator[str]:
    """Accumulated gradients, their norm, a step; then a clipped one; as plain torch does it."""
    engine = subject.build()
    generator = torch_generator(0, "parallel")
    x = torch.randn(6, 5, generator=generator).to(engine.device)
    plain = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).to(engine.device)
    model = copy.deepcopy(plain)
    optimizer, sgd = (torch.optim.SGD(one.parameters(), lr=0.5) for one in (model, plain))
    engine.prepare(model, optimizer)
    for max_norm, parts in ((0.0, 2), (0.01, 1)):
        for i, part in enumerate(x.chunk(parts)):
            with engine.autocast():
                engine.backward(_loss(model, part), last=i == parts - 1)
            _loss(plain, part).backward()
        norm, expected = engine.step(max_norm), nn.utils.clip_grad_norm_(plain.parameters(), max_norm or float("inf"))
        sgd.step()
        sgd.zero_grad()
        if not isinstance(norm, Tensor) or norm.shape != () or not alike(norm, expected, 1e-3):
            yield f"step({max_norm}) must return the gradient norm before clipping, a scalar near {expected}; got {norm}"
        with torch.no_grad():
            if not alike(model(x), plain(x), 1e-3):
                yield f"after step({max_norm}) the weights are not those that torch itself arrives at"
                return


def keeps_its_state(subject: Subject) -> Iterator[str]:
    """Plain numbers, that go into state.json."""
    state = subject.one.state_dict()
    if json.loads(json.dumps(state)) != state:
        yield f"state_dict must be plain numbers, lists and dicts with text keys, not {state!r}"
    subject.build().load_state_dict(state)


def _loss(model: nn.Module, x: Tensor) -> Tensor:
    return model(x).float().square().mean()


CHECKS = (declares, trains, keeps_its_state)
