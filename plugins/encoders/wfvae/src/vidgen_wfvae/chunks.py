"""Going through a clip in chunks: where they begin and end, and what layers remember from one to the next."""

from collections.abc import Iterator

from attrs import field, frozen
from torch import Tensor, nn

Span = tuple[int, int]


@frozen(eq=False, kw_only=True)
class Chunk:
    """The part of a clip that goes through the layers now. A whole clip is its own first and last chunk.

    first, last: whether the clip begins or ends with it. memory: by layer, the frames that come before the next chunk;
    shared by the chunks of one clip.
    """

    first: bool = True
    last: bool = True
    memory: dict[nn.Module, Tensor] = field(factory=dict, repr=False)

    def remember(self, layer: nn.Module, frames: Tensor) -> None:
        """Keep `frames` (B, C, t, H, W), possibly none, for `layer` in the next chunk, if there is one."""
        if not self.last:
            self.memory[layer] = frames.clone()  # a view would keep the whole chunk alive


def spans(length: int, step: int) -> Iterator[Span]:
    """First and last + 1 of each chunk of `length` frames: one frame, then `step` at a time."""
    yield 0, 1
    for start in range(1, length, step):
        yield start, min(start + step, length)
