"""What encoders with published weights share: where the weights are between uses, and the surroundings they run in."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vidgen_text import PretrainedOptions
from vidgen_text.identity import nothing
from vidgen_text.tokens import Group, Tokens, group

ROOM_ON_CPU = 1024  # tokens whose intermediate results stay near a core
ROOM = 4096  # tokens that keep a GPU busy


class PretrainedEncoder(nn.Module):
    """See `vidgen.interfaces.TextEncoder`.

    load: makes the network with its weights; called again after these were given up. tokens: None in a dry run.
    """

    home: Tensor

    def __init__(
        self,
        load: Callable[[], nn.Module],
        tokens: Tokens | None,
        *,
        options: PretrainedOptions,
        width: int,
        max_length: int,
    ) -> None:
        super().__init__()
        self.options, self.width, self.max_length = options, width, max_length
        self.network: nn.Module | None = load()
        self._load, self._tokens, self._away = load, tokens, False
        # Follows `.to`, also while the weights are elsewhere.
        device = next(self.network.parameters()).device
        self.register_buffer("home", torch.empty(0, device=device), persistent=False)
        self.register_buffer("identity", nothing() if tokens is None else tokens.identity)

    def release(self) -> None:
        """Do with the weights what `after_use` says: nothing, to the CPU, or give up their memory. The next `encode`
        brings them back. Where they are shared out over ranks, all ranks must call it."""
        if self.options.after_use == "cpu" and self.network is not None:
            self.network.cpu()
            self._away = True
        elif self.options.after_use == "free":
            self.network = None

    @property
    def tokens(self) -> Tokens:
        """The tokenizer."""
        assert self._tokens is not None, "a dry run encodes nothing"
        return self._tokens

    def _at_home(self) -> nn.Module:
        """The network, brought back if it was released."""
        if self.network is None:
            self.network = self._load().to(self.home.device)
        elif self._away:
            self.network.to(self.home.device)
        self._away = False
        return self.network

    def _groups(self, numbers: Sequence[Sequence[int]], length: int | None = None) -> Iterator[Group]:
        """The texts of a call, by `group`."""
        room = ROOM_ON_CPU if self.home.device.type == "cpu" else ROOM
        size, sort = self.options.micro_batch_size, self.options.sort_by_length
        return group(numbers, size=size, room=room, sort=sort, pad=self.tokens.pad, length=length)

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Features are the same whatever runs around: no autocast of the run, and tensors that may be used anywhere."""
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(self.home.device.type, enabled=False):
            yield
