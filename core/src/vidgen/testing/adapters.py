"""Adapters: what they add is trained, kept by itself, and folded in without changing a prediction."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from vidgen.testing.declared import declares
from vidgen.testing.step_caches import Transformer
from vidgen.testing.subject import ROWS, Subject, alike, seeded
from vidgen.testing.tiny import draws_of


class Trial:
    """A model of 32 channels, an adapter on it, and what went in before."""

    def __init__(self, subject: Subject) -> None:
        with seeded(0):
            self.model = Transformer(32)
            self.before = copy.deepcopy(self.model)
            self.adapter: Any = subject.build()
            self.adapter.apply(self.model)

    def predict(self, model: nn.Module) -> Tensor:
        """Of one batch."""
        x, y = draws_of(ROWS).normal("x", (32, 2, 3, 4)), draws_of(ROWS).normal("y", (5, 7))
        predicted: Tensor = model(x, torch.full((len(ROWS),), 300.0), y=y)
        return predicted

    def train(self) -> list[str]:
        """Three steps towards other predictions. Names of what should have moved and did not."""
        trained = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        start = {name: p.detach().clone() for name, p in trained.items()}
        optimizer = torch.optim.SGD(trained.values(), lr=0.5)
        with seeded(1):
            for _ in range(3):
                self.predict(self.model).square().mean().backward()
                optimizer.step()
                optimizer.zero_grad()
        return [name for name, p in trained.items() if torch.equal(p, start[name])]


def _is_trained(subject: Subject) -> Iterator[str]:
    trial = Trial(subject)
    if not any(p.requires_grad for p in trial.model.parameters()):
        yield "after apply nothing requires a gradient: there is nothing to train"
        return
    still = trial.train()
    if still:
        yield f"three steps of training do not change {', '.join(still[:3])}: use it, or requires_grad_(False)"


def _names_its_own(subject: Subject) -> Iterator[str]:
    trial = Trial(subject)
    own, entries = trial.adapter.own_names(trial.model), trial.model.state_dict()
    if len(set(own.values())) < len(own):
        yield "own_names gives two entries one name in files"
    strange = sorted(set(own) - set(entries))
    if strange:
        yield f"own_names names {strange[0]}, which is not in the changed model's state dict"
    lost = sorted(set(trial.before.state_dict()) - set(entries))
    added = sorted(set(entries) - set(own) - set(trial.before.state_dict()))
    if len(added) > len(lost):
        yield f"entries were added that own_names does not name, such as {added[0]}"


def _starts_the_same(subject: Subject) -> Iterator[str]:
    one, other = Trial(subject).model.state_dict(), Trial(subject).model.state_dict()
    if one.keys() != other.keys() or not all(torch.equal(one[name], other[name]) for name in one):
        yield "the same seed gives another start: draw from torch's global generator alone, or not at all"


def _is_built_dry(subject: Subject) -> Iterator[str]:
    with torch.device("meta"):
        model = Transformer(32)
        subject.build(dry=True).apply(model)
    if not all(one.is_meta for one in model.state_dict().values()):
        yield "on a model without memory it makes tensors with memory: give them the device of those beside them"


def _is_folded_in(subject: Subject) -> Iterator[str]:
    trial = Trial(subject)
    trial.train()
    trial.model.eval()
    with torch.no_grad():
        expected = trial.predict(trial.model)
        trial.adapter.merge(trial.model)
        if not alike(trial.predict(trial.model), expected):
            yield "merge changes predictions"
    if list(trial.model.state_dict()) != list(trial.before.state_dict()):
        yield "after merge the names in the state dict must be those from before apply"


ADAPTER = (declares, _is_trained, _names_its_own, _starts_the_same, _is_built_dry, _is_folded_in)
