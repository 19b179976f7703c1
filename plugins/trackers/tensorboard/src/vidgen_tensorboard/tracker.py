"""The tracker: one event file per process, in a folder below the run folder."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from torch.utils.tensorboard import SummaryWriter
from vidgen.interfaces import Context, Media

from vidgen_tensorboard import TensorBoardOptions
from vidgen_tensorboard.clips import encode, read_frames


class TensorBoardTracker:
    """Writes `train/<metric>`, `scores/<name>`, `samples/<number>` and the text `recipe`."""

    def __init__(self, options: TensorBoardOptions, *, outputs: Path, step: int, recipe: Mapping[str, Any]) -> None:
        self.options = options
        # A purge step of step + 1 hides what a killed run wrote after the step that this run continues from.
        self.writer = SummaryWriter(str(outputs / options.folder), purge_step=step + 1)
        self.newest_step = -1
        self.shown = 0
        if recipe:
            self.writer.add_text("recipe", _as_code(recipe), step)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Numbers of one step, as `train/<name>`."""
        self._scalars("train", step, metrics)

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Results of metrics, as `scores/<name>`."""
        self._scalars("scores", step, scores)
        self.writer.flush()

    def media(self, step: int, samples: Sequence[Media]) -> None:
        """Clips as GIFs, `samples/000` and so on; several calls for one step go on counting."""
        if step != self.newest_step:
            self.newest_step, self.shown = step, 0
        for sample in samples[: self.options.max_clips - self.shown]:
            self._clip(step, sample)
            self.shown += 1
        self.writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()

    def _scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(f"{group}/{name}", value, step)

    def _clip(self, step: int, sample: Media) -> None:
        try:
            picture = encode(*read_frames(sample.path, self.options.max_side))
        except (OSError, ValueError, av.FFmpegError) as error:
            # A clip that cannot be shown is no reason to end a run.
            logging.getLogger(__name__).warning("tensorboard: %s is not shown: %s", sample.path, error)
            return
        image = Summary.Image(
            height=picture.height, width=picture.width, colorspace=3, encoded_image_string=picture.data
        )
        value = Summary.Value(
            tag=f"samples/{self.shown:03d}", image=image, metadata=SummaryMetadata(summary_description=sample.prompt)
        )
        assert self.writer.file_writer is not None, "media() after close()"
        self.writer.file_writer.add_summary(Summary(value=[value]), step)


def build(options: TensorBoardOptions, context: Context) -> TensorBoardTracker:
    """Start an event file below `context.outputs` (the current folder when there is none)."""
    return TensorBoardTracker(options, outputs=context.outputs or Path(), step=context.step, recipe=context.recipe)


def _as_code(recipe: Mapping[str, Any]) -> str:
    text = json.dumps(recipe, indent=2, ensure_ascii=False, default=str)
    return "\n".join(f"    {line}" for line in text.splitlines())  # four spaces: a code block in Markdown
