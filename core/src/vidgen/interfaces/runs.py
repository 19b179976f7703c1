"""What surrounds a run: devices, trackers, measures, and the job itself."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from attrs import frozen

from vidgen.context import Size3

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from vidgen.mesh import TokenGroup, World


class Parallel(Protocol):
    """How a run uses its devices. The engine calls, in this order: `prepare`, then per step `autocast`, `backward`,
    `step`.

    device: of this rank. world: all ranks. tokens: the ranks that share the tokens of each of this rank's samples.
    rank, num_ranks: among data-parallel ranks; those that share their samples count as one.

    An engine for several ranks may have a method `plan(whole, blocks, ranks)`, by which a dry run tells what memory one
    of `ranks` ranks needs. whole: bytes of all ranks together as `weights`, `gradients`, `optimizer` and `average`, in
    float32; blocks: of the weights of each repeated block. It returns bytes on one rank under the same names, and as
    `gathered weights` those that layers compute with, where they are others.
    """

    device: "torch.device"
    world: "World"
    tokens: "TokenGroup"
    rank: int
    num_ranks: int

    def prepare(
        self, model: "torch.nn.Module", make_optimizer: "Callable[[torch.nn.Module], torch.optim.Optimizer]"
    ) -> "torch.optim.Optimizer":
        """Take a model into care, sharding its parameters in place or not, and make the optimizer of what they are
        then. Names of parameters stay."""
        ...

    def autocast(self) -> Any:
        """Context manager for forward passes in the recipe's dtype."""
        ...

    def backward(self, loss: "Tensor", *, last: bool = True) -> None:
        """Accumulate gradients of a scalar loss; `last` of an accumulation, so that communication can wait for it."""
        ...

    def step(self, max_norm: float) -> "Tensor":
        """Average gradients over ranks, clip to `max_norm` (0 = never), update, clear. Returns the gradient norm before
        clipping, a device scalar that is not finite when the update was unsound."""
        ...

    def whole(self) -> "AbstractContextManager[None]":
        """While it lasts, every rank has all weights as they are at its beginning, and can use the model alone, without
        gradients."""
        ...

    def state_dict(self) -> "dict[str, Any]":
        """Its own state: loss scale and the like; plain numbers."""
        ...

    def load_state_dict(self, state: "Mapping[str, Any]") -> None:
        """Take back what `state_dict` gave."""
        ...


@frozen
class Media:
    """A file made by a run: `path`, the prompt it answers, and its pixels' (frames, rows, columns)."""

    path: Path
    prompt: str
    size: Size3


@frozen
class RunInfo:
    """A run as observers see it: `job` name, `outputs` folder, `first_step` and `last_step` (0 when there are none)."""

    job: str
    outputs: Path
    first_step: int = 0
    last_step: int = 0


class Tracker(Protocol):
    """Metrics and media of a run to somewhere. Built on rank 0 with `context.outputs`, `context.recipe` and
    `context.step`: records after that step, left by a run that was killed, are to be dropped or overwritten."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Numbers of one step; every `log.every` steps."""
        ...

    def media(self, step: int, samples: Sequence[Media]) -> None:
        """Clips just written."""
        ...

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Results of metrics on clips just sampled."""
        ...

    def close(self) -> None:
        """The run ends; write what is left. Called once, also after an error."""
        ...


class Metric(Protocol):
    """A measure of clips, from their pixels, their prompts and, where it compares, the clips they are to be like.

    needs_reference: whether it measures nothing without a clip to compare with.
    better: name of a value -> `higher` or `lower`. A value without an entry is neither good nor bad.

    A metric that goes by the words of the prompt has a method `check(prompt)`, which raises UserError for one that it
    cannot mark: the prompts that `update` refuses, and no others. Prompts are checked before clips are made.
    """

    needs_reference: bool
    better: Mapping[str, str]

    def update(self, video: "Tensor", prompt: str, reference: "Tensor | None" = None) -> Mapping[str, float]:
        """Take in one clip, (3, T, H, W) uint8 RGB. reference: the clip it is to be like, of the same shape, or None.
        Returns name -> value of this clip alone; what it does not show (a still moves nowhere), or what only many clips
        show together, is left out. Raises: UserError, and takes nothing in, for a prompt that it cannot mark, or where
        it needs a reference and is given none."""
        ...

    def compute(self) -> dict[str, float]:
        """Name -> value over all clips taken in."""
        ...


class Job(Protocol):
    """What a recipe's `job:` names; its options class is the whole recipe."""

    def run(self) -> None:
        """Do it, to the end or until told to stop."""
        ...

    def dry_run(self) -> Mapping[str, str]:
        """Build on the meta device, load nothing, start nothing; what would be done, label -> value."""
        ...
