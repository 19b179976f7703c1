"""What cannot be read, all at once."""

from collections.abc import Sequence

from attrs import frozen
from vidgen.errors import UserError


@frozen
class Fault:
    """One thing in a file that cannot be honoured. place: `file:line:column`. hint: what to write instead."""

    place: str
    text: str
    hint: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}\n    {self.hint}"


class Refused(UserError):
    """A file that is not converted, with every reason."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults)

    def __str__(self) -> str:
        plural = "" if len(self.faults) == 1 else "s"
        return "\n".join([*map(str, self.faults), f"{len(self.faults)} problem{plural}; nothing was written."])
