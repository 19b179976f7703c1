"""What the report remembers between starts of a run: clips and scores by training step, in report.json."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, frozen
from vidgen.errors import UserError
from vidgen.interfaces import Media

from vidgen_report.files import write_whole


@frozen
class Clip:
    """A sampled clip. path: from the run folder, with `/`; size: (frames, rows, columns) of its pixels."""

    path: str
    prompt: str
    size: tuple[int, int, int]

    @classmethod
    def of(cls, media: Media, outputs: Path) -> "Clip":
        """The clip as seen from the run folder, so that the folder can be moved."""
        frames, rows, columns = media.size
        path = Path(os.path.relpath(media.path, outputs)).as_posix()
        return cls(path, media.prompt, (int(frames), int(rows), int(columns)))


@frozen
class Samples:
    """The clips of one training step, 0 for a sample job."""

    step: int
    clips: list[Clip]


class Record:
    """Clips and scores by step."""

    def __init__(self) -> None:
        self.clips: dict[int, dict[str, Clip]] = {}
        self.scores: dict[int, dict[str, float]] = {}

    @classmethod
    def load(cls, path: Path, last_step: int) -> "Record":
        """What was kept up to `last_step`; later entries come from a run that was killed. Empty without a file.

        Raises: UserError, when the file is not a report's.
        """
        record = cls()
        if not path.exists():
            return record
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            for entry in kept["samples"]:
                clips = [Clip(c["path"], c["prompt"], tuple(c["size"])) for c in entry["clips"]]
                if entry["step"] <= last_step:
                    record.add_clips(entry["step"], clips)
            for entry in kept["scores"]:
                if entry["step"] <= last_step:
                    record.add_scores(entry["step"], entry["values"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} was not written by the report tracker ({error!r}). Move it away to start a new report."
            ) from error
        return record

    def add_clips(self, step: int, clips: Sequence[Clip]) -> None:
        """Add clips to a step; one with a path that the step already has replaces it."""
        self.clips.setdefault(step, {}).update({clip.path: clip for clip in clips})

    def add_scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Add scores to a step; a name that the step already has is replaced."""
        self.scores.setdefault(step, {}).update({name: float(value) for name, value in scores.items()})

    def existing_clips(self, outputs: Path) -> list[Samples]:
        """Steps in order with those of their clips that are still there; steps without any are left out."""
        steps = [
            Samples(step, [clip for clip in clips.values() if (outputs / clip.path).is_file()])
            for step, clips in sorted(self.clips.items())
        ]
        return [samples for samples in steps if samples.clips]

    def save(self, path: Path) -> None:
        """Write report.json."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content: dict[str, Any] = {
            "samples": [
                {"step": step, "clips": [asdict(clip) for clip in clips.values()]}
                for step, clips in sorted(self.clips.items())
            ],
            "scores": [{"step": step, "values": values} for step, values in sorted(self.scores.items())],
        }
        write_whole(path, json.dumps(content, indent=1, ensure_ascii=False).encode())
