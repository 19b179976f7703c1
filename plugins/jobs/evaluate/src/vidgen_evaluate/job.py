"""`job: evaluate`: finds the clips, has them measured one by one, and tells what came of it."""

import logging
from collections.abc import Mapping, Sequence

from attrs import evolve
from vidgen.engine import media
from vidgen.engine.session import Session, logging_to, owned_folder, write_recipe
from vidgen.errors import RunError
from vidgen.interfaces import Context, Media, RunInfo
from vidgen.recipe.source import dump_yaml

from vidgen_evaluate.clips import Clip, clips_of, samples_among
from vidgen_evaluate.figures import Figure, differences, figures_of
from vidgen_evaluate.pairs import PairReader, read_ahead
from vidgen_evaluate.recipe import EVALUATE, EvaluateRecipe
from vidgen_evaluate.references import find_references
from vidgen_evaluate.scores import Measures, Scores
from vidgen_evaluate.tables import write_differences, write_rows, write_summary
from vidgen_evaluate.terminal import show_differences, show_figures
from vidgen_evaluate.worst_and_best import chosen, entries_of, sheet_of

LOG = logging.getLogger("vidgen")
TABLE, SUMMARY, DIFFERENCES, SHEET = "clip_scores.csv", "summary.json", "differences.csv", "worst_and_best"


def build(options: EvaluateRecipe, context: Context) -> "EvaluateJob":
    """The job; nothing is read before it runs."""
    return EvaluateJob(options, context)


class EvaluateJob:
    """Measures everything anew each time, and replaces what an earlier run left in its folder."""

    def __init__(self, recipe: EvaluateRecipe, context: Context) -> None:
        self.recipe, self.context = recipe, evolve(context, outputs=recipe.outputs)

    def run(self) -> None:
        """Measure, write, print. Raises: UserError, when there is nothing to measure, or nothing to compare it with;
        RunError, when not a single clip could be measured."""
        outputs = self.recipe.outputs
        folders, reader, measures = self._folders(), self._reader(), self._measures()
        with owned_folder(outputs), logging_to(outputs) as console:
            write_recipe(outputs / "recipe.yaml", dump_yaml(dict(self.context.recipe)))
            if (outputs / TABLE).exists():
                LOG.info("%s is of an earlier run: everything is measured anew, and replaced", outputs / TABLE)
            with Session(RunInfo(EVALUATE, outputs), self.recipe.trackers, self.context, console) as session:
                self._evaluate(folders, measures, reader, session)

    def dry_run(self) -> Mapping[str, str]:
        """See `interfaces.Job`."""
        measures, folders = self._measures(), self._folders()
        self._reader()
        counts = {key: str(len(clips)) for key, clips in folders.items()}
        metrics = ", ".join(one.type for one in self.recipe.metrics)
        refused = measures.refused([clip for clips in folders.values() for clip in clips])
        without = {f"without {name}": f"{count} clips: {why}" for name, (count, why) in refused.items()}
        return {**counts, "metrics": metrics, **without, "outputs": str(self.recipe.outputs)}

    def _folders(self) -> dict[str, list[Clip]]:
        """Key of the recipe -> clips of that folder."""
        recipe = self.recipe
        named = {"samples": recipe.samples, "against": recipe.against}
        return {
            key: samples_among(clips_of(folder, key, pattern=recipe.pattern, outputs=recipe.outputs))
            for key, folder in named.items()
            if folder is not None
        }

    def _measures(self) -> Measures:
        """New ones, which have seen no clip."""
        measures = Measures(self.recipe.metrics, self.context)
        measures.check_references(self.recipe.references is not None)
        return measures

    def _reader(self) -> PairReader:
        recipe = self.recipe
        references = None if recipe.references is None else find_references(recipe.references, recipe.match)
        return PairReader(references=references, upscale=recipe.upscale, reference_upscale=recipe.reference_upscale)

    def _evaluate(
        self, folders: Mapping[str, Sequence[Clip]], measures: Measures, reader: PairReader, session: Session
    ) -> None:
        """The samples, then what they are held against."""
        samples = self._measured("samples", folders["samples"], measures, reader, session)
        figures = figures_of(samples)
        show_figures(figures, samples.overall)
        if "against" in folders and not session.stopped:
            others = self._measured("against", folders["against"], self._measures(), reader, session)
            self._compare(samples, others)
        session.scores(0, {**{name: one.mean for name, one in figures.items()}, **samples.overall})
        self._show(samples, figures, {clip.name: clip for clip in folders["samples"]}, reader, session)

    def _measured(
        self, key: str, clips: Sequence[Clip], measures: Measures, reader: PairReader, session: Session
    ) -> Scores:
        """Measure and write. Raises: RunError, when no clip has a value."""
        scores = self._scores(key, clips, measures, reader, session)
        folder, prefix = getattr(self.recipe, key), "" if key == "samples" else f"{key}_"
        write_rows(self.recipe.outputs / f"{prefix}{TABLE}", scores)
        write_summary(self.recipe.outputs / f"{prefix}{SUMMARY}", folder, scores, figures_of(scores))
        if scores.rows and not any(row.values for row in scores.rows) and not scores.overall:
            problems = [problem for row in scores.rows for problem in row.problems]
            why = f"the first one: {problems[0]}" if problems else "no metric has a value for clips like these"
            raise RunError(f"none of {len(scores.rows)} clips of {folder} could be measured; {why}")
        return scores

    def _scores(
        self, key: str, clips: Sequence[Clip], measures: Measures, reader: PairReader, session: Session
    ) -> Scores:
        rows = []
        if all(clip.prompt is None for clip in clips):
            LOG.info("no file of %s has a prompt in its metadata", getattr(self.recipe, key))
        for name, (count, why) in measures.refused(clips).items():
            LOG.warning("%d of %d clips get no values of %s; the first one: %s", count, len(clips), name, why)
        for pair in read_ahead(reader, clips, self.recipe.num_workers):
            row = measures.row(pair)
            rows.append(row)
            for problem in row.problems:
                LOG.warning("%s", problem if str(row.path) in problem else f"{row.path}: {problem}")
            session.progress.advance(key, len(rows), len(clips))
            if session.stopped:
                LOG.warning("stopped by %s: %d of %d clips are measured", session.stopped, len(rows), len(clips))
                break
        return Scores(rows=rows, overall=measures.overall(), better=measures.better)

    def _compare(self, samples: Scores, others: Scores) -> None:
        found = differences(samples, others)
        write_differences(self.recipe.outputs / DIFFERENCES, found)
        show_differences(found, (str(self.recipe.samples), str(self.recipe.against)))

    def _show(
        self,
        scores: Scores,
        figures: Mapping[str, Figure],
        clips: Mapping[str, Clip],
        reader: PairReader,
        session: Session,
    ) -> None:
        """The worst and the best on a sheet, read once more."""
        value = chosen(figures, self.recipe.sheet_by)
        if value is None or self.recipe.sheet_clips == 0:
            return
        values = {row.name: row.values[value] for row in scores.rows if value in row.values}
        entries = entries_of(value, figures[value], values, self.recipe.sheet_clips)
        sheet = sheet_of(((entry, reader(clips[entry.name])) for entry in entries), self.recipe.sheet_frames)
        if sheet is not None:
            path = media.write(self.recipe.outputs / SHEET, sheet, 1.0, {"samples": str(self.recipe.samples)})
            shown = Media(path, f"by {value}, the worst first", (1, sheet.shape[2], sheet.shape[3]))
            session.hooks.vidgen_samples_written(step=0, samples=[shown])
