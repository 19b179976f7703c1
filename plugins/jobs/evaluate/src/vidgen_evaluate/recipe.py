"""The recipe of `job: evaluate`, as typed options. All defaults live here. Imports no torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from attrs import frozen
from vidgen import Problem, option, sections
from vidgen.component import InputPath, Selection
from vidgen.recipe.schema import AT_LEAST_ONE, NOT_NEGATIVE

EVALUATE = "evaluate"


@frozen(kw_only=True)
class EvaluateRecipe:
    """`job: evaluate`."""

    outputs: Path = option(Path("outputs/run"), "Where results go; outputs/{name of the recipe file} when silent.")
    samples: Path = option(doc="Folder of the clips to measure, with its subfolders.")
    against: InputPath | None = option(None, "Another such folder: measured as well, and compared value by value.")
    references: InputPath | None = option(
        None, "What clips are to be like: a folder, or a CSV, JSONL or Parquet table with `path` and `text`."
    )
    match: Literal["name", "prompt"] = option(
        "name", "Find a clip's reference by its file name without suffix, or by its prompt."
    )
    pattern: str = option("*", "Take files whose name is like this, such as sample_00*.")
    metrics: list[Selection] = sections("metric", doc="What is measured; at least one.")
    upscale: int = option(1, "Clips were written enlarged this many times; undone first.", validator=AT_LEAST_ONE)
    reference_upscale: int = option(1, "The same of references.", validator=AT_LEAST_ONE)
    num_workers: int = option(2, "Threads that read clips ahead; 0: none.", validator=NOT_NEGATIVE)
    sheet_clips: int = option(
        4, "So many of the worst, and of the best, on the sheet; 0: none.", validator=NOT_NEGATIVE
    )
    sheet_frames: int = option(4, "Evenly spaced frames of each on the sheet.", validator=AT_LEAST_ONE)
    sheet_by: str | None = option(
        None, "Value that says which are the worst; null: the first one of which one end is better."
    )
    trackers: list[Selection] = sections("tracker", doc="Where means and the sheet go.")

    def problems(self) -> Iterator[Problem]:
        """What is wrong between keys."""
        if not self.metrics:
            yield Problem(("metrics",), "missing", ("say what to measure, such as metrics: [{type: flicker}]",))
        if self.match == "prompt" and self.references is None:
            yield Problem(("match",), "there is nothing to match: no references are named", ("references: FOLDER",))
        if self.against is not None and self.against.resolve() == self.samples.resolve():
            yield Problem(("against",), "is the folder of the samples themselves", ("name another one",))
        for path, folder in (("samples", self.samples), ("against", self.against)):
            if folder is not None and self.outputs.resolve() in (folder.resolve(), *folder.resolve().parents):
                hint = "choose another one with outputs=FOLDER: what is measured is to stay as it is"
                yield Problem(("outputs",), f"{self.outputs} holds the clips of `{path}`", (hint,))
