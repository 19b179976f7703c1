"""Step caches: an exact first step, sequences of calls kept apart, and a model that is left as it was."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vidgen.attention import AttentionLayer
from vidgen.interfaces import Size3
from vidgen.testing.subject import ROWS, Subject, alike
from vidgen.testing.tiny import draws_of

STEPS = 7


class Attention(AttentionLayer):
    """Every token looks at all others."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        """h: (B, N, D). Returns the same."""
        tokens = self.mix(h)[:, None]
        return self.backend(tokens, tokens, tokens)[:, 0]


class Block(nn.Module):
    """A residual block with one attention layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = Attention(width)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """h: (B, N, D). condition: (B, 1, 1). Returns tokens."""
        return h + condition * self.attn(h)


class Transformer(nn.Module):
    """A stand-in for a model: two blocks over the latents' places."""

    conditioning = frozenset({"y"})

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.latent_channels = self.out_channels = channels
        self.patch_size: Size3 = (1, 1, 1)
        self.text_width, self.caption_dropout = 7, 0.0
        self.blocks = nn.ModuleList(Block(channels) for _ in range(2))

    def forward(self, x: Tensor, timestep: Tensor, *, y: Tensor) -> Tensor:
        """x: (B, C, T, H, W). y: (B, N, 7). Returns the same as x."""
        condition = (y.mean(dim=(1, 2)) + torch.cos(timestep / 1000))[:, None, None]
        h = x.flatten(2).transpose(1, 2)
        for block in self.blocks:
            h = block(h, condition)
        return h.transpose(1, 2).view_as(x)

    def repeated_blocks(self) -> Sequence[nn.Module]:
        """Both."""
        return list(self.blocks)


class Trial:
    """A cache, a model and a course from noise to zero."""

    def __init__(self, subject: Subject) -> None:
        context = subject.context
        assert context.latent_channels and context.latent_size
        self.cache, self.shape = subject.one, (context.latent_channels, *context.latent_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model = Transformer(context.latent_channels)

    def x(self, step: int, rows: Sequence[int] = ROWS) -> Tensor:
        """What the model sees in a step."""
        return draws_of(rows).normal("x", self.shape) * (1 - 0.1 * step)

    def y(self, name: str, rows: Sequence[int] = ROWS) -> Tensor:
        """A caption of each row."""
        return draws_of(rows).normal(name, (5, 7))

    def predict(self, step: int, y: Tensor, rows: Sequence[int] = ROWS) -> Tensor:
        """A call of the model."""
        with torch.no_grad():
            return self.model(self.x(step, rows), torch.full((len(rows),), 900.0 - 100 * step), y=y)

    def course(self, *captions: Tensor) -> list[list[Tensor]]:
        """The predictions of every step, each with all captions in turn."""
        made = []
        with self.cache.applied(self.model, STEPS) as step_done:
            for step in range(STEPS):
                made.append([self.predict(step, y) for y in captions])
                step_done(step + 1, STEPS)
        return made


def _begins_exactly(subject: Subject) -> Iterator[str]:
    trial = Trial(subject)
    y = trial.y("y")
    exact, made = trial.predict(0, y), trial.course(y)
    if not torch.equal(made[0][0], exact):
        yield "the first step must be exact: nothing is known before it"
    if any(one.shape != exact.shape or not one.isfinite().all() for [one] in made):
        yield f"predictions must be like the model's own, {tuple(exact.shape)} and finite, in every step"
    if any(not torch.equal(one, other) for [one], [other] in zip(made, trial.course(y), strict=True)):
        yield "a second course is another one: keep nothing from one context to the next"


def _keeps_sequences_apart(subject: Subject) -> Iterator[str]:
    trial = Trial(subject)
    captions = trial.y("y"), trial.y("null")
    in_turn = trial.course(*captions)
    for place, y in enumerate(captions):
        alone = trial.course(y)
        if not all(alike(pair[place], one) for pair, [one] in zip(in_turn, alone, strict=True)):
            yield "calls with and without the prompt, in turn, are mixed: tell them by their conditioning"
            return


def _takes_other_batches(subject: Subject) -> Iterator[str]:
    trial, few = Trial(subject), ROWS[:2]
    y, of_few = trial.y("y"), trial.y("y", few)
    with trial.cache.applied(trial.model, STEPS) as step_done:
        for step in range(STEPS):
            rows, told = (ROWS, y) if 2 <= step < 5 else (few, of_few)
            made = trial.predict(step, told, rows)
            if len(made) != len(rows):
                yield f"after a step with another number of rows it gives {len(made)} of them, not {len(rows)}"
                return
            step_done(step + 1, STEPS)


def _leaves_the_model_alone(subject: Subject) -> Iterator[str]:
    trial = Trial(subject)
    y, before = trial.y("y"), _traces(trial.model)
    state = {name: value.clone() for name, value in trial.model.state_dict().items()}
    trial.course(y)
    if _traces(trial.model) != before:
        yield "after its end the model's attributes and hooks must be those from before"
    if any(not torch.equal(value, state[name]) for name, value in trial.model.state_dict().items()):
        yield "it changes the model's weights"
    try:
        with trial.cache.applied(trial.model, STEPS):
            trial.predict(0, y)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        if _traces(trial.model) != before:
            yield "after an error the model's attributes and hooks must be those from before: use `finally`"


def _traces(model: nn.Module) -> dict[str, dict[str, Any]]:
    """What each module holds: identities, and of tables what they list."""
    return {
        name: {key: list(value) if isinstance(value, dict) else id(value) for key, value in vars(module).items()}
        for name, module in model.named_modules()
    }


STEP_CACHE = (_begins_exactly, _keeps_sequences_apart, _takes_other_batches, _leaves_the_model_alone)
