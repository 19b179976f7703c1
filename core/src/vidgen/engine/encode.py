"""`job: encode`: the latents and text features that a training recipe will ask for, worked out once and kept."""

import logging
import time
from collections.abc import Mapping
from functools import cached_property
from itertools import islice
from math import ceil

from attrs import evolve

from vidgen.engine.batch import Ask, Position
from vidgen.engine.data import Lookup, Stream
from vidgen.engine.encoding import Encoding, open_store
from vidgen.engine.features import FeatureStore
from vidgen.engine.feed import Feed
from vidgen.engine.held_out import rows_to_train_on
from vidgen.engine.parts import (
    Encoders,
    Parts,
    build_dataset,
    build_encoders,
    build_on_meta,
    build_parallel,
    data_context,
    shared_context,
    tokens,
)
from vidgen.engine.session import Session, logging_to, owned_folder
from vidgen.errors import VidgenError
from vidgen.interfaces import Context, Dataset, RunInfo, Size3
from vidgen.recipe.schema import EncodeRecipe, FeatureOptions
from vidgen.rng import address

LOG = logging.getLogger("vidgen")


def build(options: EncodeRecipe, context: Context) -> "EncodeJob":
    """The job; nothing is loaded before it runs."""
    return EncodeJob(options, context)


class EncodeJob:
    """What is there already is left as it is, so that a run that was killed goes on."""

    def __init__(self, recipe: EncodeRecipe, context: Context) -> None:
        self.recipe = recipe
        self.context = evolve(shared_context(recipe, context), batch_size=recipe.batch_size)

    @property
    def features(self) -> FeatureOptions:
        """Where they are kept."""
        assert self.recipe.features is not None, "the recipe was checked"
        return self.recipe.features

    def run(self) -> None:
        """Encode what is missing."""
        outputs, parallel = self.recipe.outputs, build_parallel(self.recipe.parallel, self.context)
        with owned_folder(outputs, parallel.world), logging_to(outputs, parallel.world) as console:
            encoders = build_encoders(self.recipe, self.context, parallel=parallel)
            dataset = build_dataset(data_context(self.context, encoders), self.recipe)
            with Session(RunInfo("encode", outputs), [], self.context, console, parallel.world) as session:
                self._encode(encoders, dataset, session)

    def dry_run(self) -> Mapping[str, str]:
        """See `interfaces.Job`."""
        dataset = build_dataset(self.context, self.recipe)
        rows = f"{dataset.table.num_rows:,}"
        return {"rows": rows, "windows of each": str(self.features.epochs), "cache": str(self.features.cache)}

    def _encode(self, encoders: Encoders, dataset: Dataset, session: Session) -> None:
        store = open_store(self.recipe, self.features, self.context, encoders)
        store.clear_partial()
        store.clear_unreadable()
        lookup = Lookup(dataset, store, epochs=self.features.epochs, needed=False)
        missing, before = self._missing(lookup, encoders), len(store)
        LOG.info("%s: %d samples are there, %d are missing", store.folder, before, sum(map(len, missing)))
        feed = Feed(
            dataset,
            missing,
            self.recipe,
            seed=self.recipe.seed,
            outputs=self.recipe.outputs,
            device=encoders.device,
            lookup=lookup,
            stand_ins=False,  # what cannot be read has no features, and another row has its own
            on_bad=lambda sample: store.mark_unreadable(sample.key, str(sample.error)),
        )
        encoding, begun = Encoding(encoders, self.recipe.seed, lookup, writes=True), time.perf_counter()
        try:
            for number, batch in enumerate(feed, start=1):
                encoding(batch)
                session.progress.advance("encode", number, len(missing))
                if session.stopped:
                    LOG.warning("stopped by %s; the same command goes on", session.stopped)
                    break
        finally:
            encoding.close()
        self._report(store, len(store) - before, time.perf_counter() - begun, encoding.seconds())

    def _missing(self, lookup: Lookup, encoders: Encoders) -> list[list[Ask]]:
        """What this rank has to encode, in batches of training: every sample that any of its epochs will ask for."""
        context = evolve(data_context(self.context, encoders), tokens=self._tokens)
        bucketer = context.components.build(self.recipe.bucketer, context)
        rows = rows_to_train_on(self.recipe, lookup.dataset.table.num_rows)
        stream = Stream(lookup.dataset, bucketer, Position(), None, context.rank, context.num_ranks, rows)
        per_epoch, missing, seen = stream.steps_per_epoch(), list[list[Ask]](), set[int]()
        for batch in islice(stream, per_epoch * self._epochs(per_epoch)):
            new = [ask for ask in batch if self._is_new(ask, lookup, seen)]
            missing += [new] if new else []
        return missing

    def _is_new(self, ask: Ask, lookup: Lookup, seen: set[int]) -> bool:
        """Also where the media cannot be read: that is found out, and told, in its turn."""
        try:
            key = lookup.key(ask, ask.request.row)
        except VidgenError:
            key = address(0, "unreadable", ask.request.row)
        if key in seen or key in lookup.store:
            return False
        seen.add(key)
        return True

    def _tokens(self, size: Size3) -> int:
        """As training counts them; the model is made, without memory, by the first bucketer that asks."""
        return tokens(self._training_parts, size)

    @cached_property
    def _training_parts(self) -> Parts:
        return build_on_meta(self.recipe, self.context)

    def _epochs(self, steps: int) -> int:
        """Of the training, each of so many steps."""
        recipe, kept = self.recipe, self.features.epochs
        if recipe.epochs is not None:
            return max(recipe.epochs, kept)
        return max(ceil((recipe.max_steps or 0) * recipe.accumulation_steps / max(steps, 1)), kept)

    def _report(self, store: FeatureStore, made: int, seconds: float, encoding: float) -> None:
        if made:
            share = 100 * encoding / seconds
            LOG.info("encoded %d samples in %.1f s, %.0f %% of it in the encoders", made, seconds, share)
        if len(store):
            LOG.info("%.1f kB a sample, %d samples in all", store.bytes_on_disk() / 1000 / len(store), len(store))
