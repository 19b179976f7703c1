"""`job: train`. Reads like the algorithm: batch, encode, loss, backward, step, average, log, sample, save."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from attrs import evolve
from torch import Tensor

from vidgen import runfolder
from vidgen.conditioning import conditioning_for
from vidgen.conditioning.mask_ratios import complete_ratios
from vidgen.conditioning.masks import training_mask
from vidgen.engine import checkpoint
from vidgen.engine.adapting import names_of
from vidgen.engine.agreement import Agreement
from vidgen.engine.batch import Batch, Position
from vidgen.engine.changes import check_changes, tell_ranks
from vidgen.engine.clock import Awaited, Clock
from vidgen.engine.data import Stream
from vidgen.engine.ema import Ema
from vidgen.engine.encoding import Encoding, make_lookup
from vidgen.engine.feed import Feed
from vidgen.engine.heartbeat import Heartbeat
from vidgen.engine.held_out import make_held_out, rows_to_train_on
from vidgen.engine.memory_plan import plan_memory, planned_ranks, sharing_ranks
from vidgen.engine.optimization import choose_trained, learning_rate, make_optimizer, set_learning_rate
from vidgen.engine.parts import (
    Parts,
    build_bucketer,
    build_dataset,
    build_on_meta,
    build_parallel,
    build_parts,
    data_context,
    describe,
    shared_context,
    tokens,
)
from vidgen.engine.recomputation import checkpoint_blocks, policy_of
from vidgen.engine.saver import Saver
from vidgen.engine.session import Session, logging_to, owned_folder, write_recipe
from vidgen.engine.shared_reading import SharedReading, ShareOfAsks
from vidgen.engine.showing import Showing
from vidgen.engine.training_samples import TrainingSamples
from vidgen.engine.window import Window
from vidgen.interfaces import Context, Dataset, Parallel, RunInfo
from vidgen.recipe.schema import TrainRecipe
from vidgen.recipe.source import dump_yaml
from vidgen.rng import Draws, address

LOG = logging.getLogger("vidgen")
NO_ROWS = pa.table({"path": pa.array([], pa.string())})
"""For bucketers that know their buckets without data, which then need not be looked at."""


def build(options: TrainRecipe, context: Context) -> "TrainJob":
    """The job; nothing is loaded before it runs."""
    return TrainJob(options, context)


class TrainJob:
    """Sets a run up, or takes it up where it stood."""

    def __init__(self, recipe: TrainRecipe, context: Context) -> None:
        self.recipe = recipe
        self.context = evolve(shared_context(recipe, context), batch_size=recipe.batch_size)

    def run(self) -> None:
        """Train to the last step, or until told to stop."""
        outputs, parallel = self.recipe.outputs, build_parallel(self.recipe.parallel, self.context)
        with owned_folder(outputs, parallel.world), logging_to(outputs, parallel.world) as console:
            start = checkpoint.starting_point(outputs, self.recipe.resume)
            if start is not None:
                before = runfolder.read_state(start)["recipe"]
                check_changes(before, self.context.recipe, start, force=self.recipe.force)
            training = Training(self.recipe, self.context, start, parallel)
            if parallel.world.is_main:
                checkpoint.clear_partial(outputs)
                write_recipe(outputs / "recipe.yaml", dump_yaml(dict(self.context.recipe)))
            info = RunInfo("train", outputs, training.step, training.last_step or 0)
            with Session(info, self.recipe.trackers, self.context, console, parallel.world) as session:
                training.run(session)

    def dry_run(self) -> Mapping[str, str]:
        """See `interfaces.Job`."""
        recipe = self.recipe
        ranks = planned_ranks(recipe, self.context.num_ranks)
        parts = build_on_meta(evolve(recipe, compile=False), self.context)
        _choose_trained(parts, recipe)
        known = evolve(data_context(self.context, parts), num_ranks=ranks // sharing_ranks(recipe, ranks))
        bucketer, steps = build_bucketer(known, recipe, parts), str(recipe.max_steps)
        buckets = bucketer.assign(NO_ROWS, 0).buckets
        if recipe.max_steps is None or not buckets:
            dataset = build_dataset(known, recipe)
            buckets = bucketer.assign(dataset.table, 0).buckets
        if recipe.max_steps is None:
            rows = rows_to_train_on(recipe, dataset.table.num_rows)
            batches = Stream(dataset, bucketer, Position(), recipe.epochs, 0, known.num_ranks, rows).steps_per_epoch()
            per_epoch = batches // recipe.accumulation_steps
            steps = f"{per_epoch * (recipe.epochs or 0):,} ({recipe.epochs} epochs of {per_epoch:,})"
        facts = {**describe(parts), "steps": steps, "outputs": str(recipe.outputs)}
        return {**facts, **plan_memory(recipe, parts, buckets, ranks).lines()}


class Training:
    """A run's state and its loop. `step` counts optimizer steps done; `position` is where the data goes on."""

    def __init__(
        self, recipe: TrainRecipe, context: Context, start: Path | None, parallel: Parallel | None = None
    ) -> None:
        """start: the checkpoint to go on from. parallel: the engine, where it is built already."""
        self.recipe, self.context, self.start = recipe, context, start
        wanted = evolve(context, load_weights=context.load_weights and start is None)
        self.parts: Parts = build_parts(recipe, wanted, parallel=parallel)
        self.model = self.parts.model
        _choose_trained(self.parts, recipe)
        self.parallel = self.parts.parallel
        self.world = self.parallel.world
        checkpoint_blocks(self.model, policy_of(recipe.grad_checkpoint))
        self.optimizer = self.parallel.prepare(self.model, partial(make_optimizer, options=recipe.optimizer))
        ema = recipe.ema
        self.ema = Ema(self.model, ema.decay, ema.start_step, warmup=ema.warmup) if ema else None
        self._mask_ratios = complete_ratios(recipe.mask_ratios) if recipe.mask_ratios is not None else None
        self.window = Window(self.parts.device, recipe.max_loss_ratio, self.world)
        self.clock, self.awaited = Clock(), Awaited[Batch](())
        self.heartbeat = Heartbeat(self.world, recipe.step_timeout)
        self.step, self.epoch, self.position, self.stopped = 0, 0, Position(), False
        self.intact = start
        if start is not None:
            self._restore(start)
        known = data_context(context, self.parts)
        self.dataset = build_dataset(known, recipe)
        self.samples = self._samples()
        self.stream = make_stream(recipe, known, self.dataset, self.parts, self.position)
        self.lookup = make_lookup(recipe, context, self.parts, self.dataset)
        writes = recipe.features is not None and recipe.features.mode == "write-through"
        dropped = recipe.dropped_captions
        self.encoding = Encoding(self.parts, recipe.seed, self.lookup, writes=writes, dropped=dropped)
        self.showing = Showing(self.model, self.encoding, recipe.frame_masks)
        self.last_step = recipe.max_steps or self._steps_of_all_epochs()
        self.held_out = make_held_out(recipe, known, self.parts, self.dataset, self.ema)

    def run(self, session: Session) -> None:
        """The loop, then a last checkpoint and last samples."""
        self.model.train()
        LOG.info("%s", ", ".join(f"{name}: {value}" for name, value in describe(self.parts).items()))
        if self.start is not None:
            LOG.info("goes on from %s, step %d, epoch %d", self.start, self.step, self.position.epoch)
            given = getattr(self.recipe.model.options, "from_pretrained", None)
            if given is not None:
                LOG.warning("model.from_pretrained (%s) is not read: resume goes on with all of the checkpoint", given)
        saver = self._saver(session)
        for step_batches in self._steps(session):
            self.train_step(step_batches)
            self._log(session, step_batches)
            saver.poll()
            if self._due(self.recipe.checkpoint.every):
                self.save(saver)
            if self._due(self.samples.options.every if self.samples else None) and self.step != self.last_step:
                self.sample(session)
            if self._due(self.recipe.held_out.every if self.recipe.held_out else None) and self.step != self.last_step:
                self.measure_held_out(session)
        self.save(saver)
        saver.finish()
        self.encoding.close()
        if self.stopped:
            LOG.warning("stopped by %s at step %d; resume=latest goes on", session.stopped or "a rank", self.step)
        else:
            self.measure_held_out(session)
            self.sample(session)

    def train_step(self, step_batches: list[Batch]) -> None:
        """One optimizer step over one or more batches."""
        total: dict[str, Tensor] = {}
        for number, batch in enumerate(step_batches, start=1):
            losses = {name: value.mean() / len(step_batches) for name, value in self.losses(batch).items()}
            self.parallel.backward(losses["loss"], last=number == len(step_batches))
            total = {name: total[name] + v.detach() if name in total else v.detach() for name, v in losses.items()}
        set_learning_rate(self.optimizer, learning_rate(self.recipe.optimizer, self.step, self.last_step))
        norm = self.parallel.step(self.recipe.optimizer.grad_clip)
        if self.ema is not None:
            self.ema.update(self.step)
        self.step += 1
        self.position = step_batches[-1].following
        self.epoch = self.position.epoch  # where the last rank's batch is from: all write to one folder
        self.window.add(self.step, total, norm, tuple(row for batch in step_batches for row in batch.rows))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of one batch, (B,) each. Every draw is addressed by (seed, purpose, epoch, row)."""
        parts, device = self.parts, self.parts.device
        draws = Draws(self.recipe.seed, [(batch.epoch, row) for row in batch.rows])
        sizes = {key: value.to(device) for key, value in batch.numbers().items()}
        encoded = self.encoding(batch)
        dropped, text = draws.uniform("drop caption", device=device) < self.model.caption_dropout, encoded.text
        if self._drops_texts:
            text = self.encoding.without_captions(text, dropped, draws)
        told = {"drop_caption": dropped, **({} if encoded.valid is None else {"valid": encoded.valid})}
        told |= self.showing(batch, draws)
        conditioning = conditioning_for(self.model, sizes, text, told)
        mask = self._given_frames(batch, draws, encoded.x)
        # Layers that draw for themselves (dropout, drop path) do so from the global generator: address that, too.
        torch.manual_seed(address(self.recipe.seed, "layers", self.step, self.parallel.rank))
        with self.parallel.autocast():
            return parts.scheduler.training_losses(
                self.model, encoded.x, conditioning, draws=draws, mask=mask, valid=encoded.valid, sizes=sizes
            )

    @property
    def _drops_texts(self) -> bool:
        """Whether the model has no null caption, and learns what texts without a caption are instead."""
        return self.model.caption_dropout > 0 and "drop_caption" not in self.model.conditioning

    def _given_frames(self, batch: Batch, draws: Draws, x: Tensor) -> Tensor | None:
        """Which latent frames are learned, (B, T) bool on the device; None where all are."""
        ratios = self._mask_ratios
        if ratios is None:
            return None
        mask = torch.ones(len(x), x.shape[2], dtype=torch.bool)
        for row, size in enumerate(batch.sizes):
            frames = self.parts.vae.latent_size(size)[0]
            drawn = training_mask(ratios, frames, draws[row])[0]
            mask[row, :frames] = drawn if drawn.any() else True  # a clip of which all is given teaches nothing
        return mask.to(x.device, non_blocking=True)

    def save(self, saver: Saver) -> None:
        """Write a checkpoint, unless the loss was lost or this step is saved already. Raises: RunError."""
        self.heartbeat.pause()
        self.window.check(self.intact)
        saver.finish()
        if self.intact is None or runfolder.step_of(self.intact) != self.step:
            saver.save(self._saved(), self._state())

    def _samples(self) -> TrainingSamples | None:
        recipe = self.recipe
        if recipe.sample is None:
            return None
        return TrainingSamples(self.parts, recipe.sample, recipe, self.context, self.dataset, self.ema)

    def _saver(self, session: Session) -> Saver:
        def done(path: Path, step: int) -> None:
            self.intact = path
            session.hooks.vidgen_checkpoint_saved(step=step, path=path)

        options = self.recipe.checkpoint
        return Saver(self.recipe.outputs, self.world, keep=options.keep, background=options.background, done=done)

    def sample(self, session: Session) -> None:
        """What the recipe's `sample` asks for."""
        if self.samples is not None:
            self.heartbeat.pause()
            self.samples.make(self.step, session, lambda: bool(session.stopped))

    def measure_held_out(self, session: Session) -> None:
        """What the recipe's `held_out` asks for."""
        if self.held_out is not None:
            self.heartbeat.pause()
            scores = self.held_out.measure()
            if self.world.is_main:
                session.scores(self.step, scores)

    def _steps(self, session: Session) -> Iterator[list[Batch]]:
        """Batches grouped into optimizer steps, up to the last step."""
        if self._finished():
            return
        stream, agreement = iter(self._batches()), Agreement(self.world)
        with self.heartbeat, self._reading():
            while not self._finished():
                self.stopped = agreement(bool(session.stopped))
                self.heartbeat.beat(self.step, "reading")
                group = [] if self.stopped else list(islice(stream, self.recipe.accumulation_steps))
                if len(group) < self.recipe.accumulation_steps:
                    return
                self.heartbeat.beat(self.step, "training")
                yield group

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """At the end the processes that read are let go."""
        try:
            yield
        finally:
            self.awaited = Awaited(())

    def _batches(self) -> Iterable[Batch]:
        """From where the run stands. Ranks that share tokens share the work of reading and encoding."""
        tokens, device = self.parallel.tokens, self.parts.device
        self.awaited = Awaited(self._feed())
        if tokens.size == 1:
            return self.awaited
        return SharedReading(self.awaited, self.encoding, self.showing, tokens, device)

    def _feed(self) -> Feed:
        """This rank's share."""
        return Feed(
            self.dataset,
            ShareOfAsks(self.stream, self.parallel.tokens),
            self.recipe,
            seed=self.recipe.seed,
            outputs=self.recipe.outputs,
            device=self.parts.device,
            lookup=self.lookup,
        )

    def _finished(self) -> bool:
        return self.recipe.max_steps is not None and self.step >= self.recipe.max_steps

    def _log(self, session: Session, step_batches: list[Batch]) -> None:
        samples = sum(len(batch.texts) for batch in step_batches)
        ranks = self.parallel.num_ranks  # which do alike
        waited, encoding = self.awaited.seconds(), self.encoding.seconds()
        self.clock.add(ranks * samples, ranks * self._tokens(step_batches), waited, encoding)
        if not self._due(self.recipe.log.every):
            return
        numbers = {"epoch": self.epoch, **self.window.read(), "lr": self.optimizer.param_groups[0]["lr"]}
        self.window.check(self.intact)
        session.hooks.vidgen_step_done(step=self.step, metrics={**numbers, **self.clock.read()})

    def _due(self, every: int | None) -> bool:
        return every is not None and every > 0 and self.step % every == 0

    def _tokens(self, step_batches: list[Batch]) -> int:
        return sum(tokens(self.parts, size) for batch in step_batches for size in batch.sizes)

    def _steps_of_all_epochs(self) -> int | None:
        """Steps in all when epochs are as long as the first; the data decides when training ends."""
        per_epoch = self.stream.steps_per_epoch() // self.recipe.accumulation_steps
        return per_epoch * self.recipe.epochs if self.recipe.epochs else None

    def _state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "step": self.step,
            "position": {"epoch": self.position.epoch, "batch": self.position.batch},
            "window": self.window.state_dict(),
            "parallel": self.parallel.state_dict(),
            "num_ranks": self.parallel.num_ranks,
            "prediction_type": self.parts.scheduler.prediction_type,
            "recipe": dict(self.context.recipe),
            "versions": {**self.context.components.versions(), "torch": torch.__version__},
        }

    def _saved(self) -> checkpoint.Saved:
        return checkpoint.Saved(self.model, self.optimizer, self.ema, self.parts.adapters)

    def _restore(self, start: Path) -> None:
        state = checkpoint.restore(start, self._saved())
        checkpoint.check_prediction(start, state, self.recipe.scheduler, self.parts.scheduler.prediction_type)
        self.step, self.epoch = state["step"], state["epoch"]
        self.position = Position(**state["position"])
        self.window.load_state_dict(state["window"])
        self.parallel.load_state_dict(state["parallel"])
        tell_ranks(state.get("num_ranks", self.parallel.num_ranks), self.parallel.num_ranks, start)


def make_stream(recipe: TrainRecipe, context: Context, dataset: Dataset, parts: Parts, start: Position) -> Stream:
    """Batches of this rank from `start` on."""
    bucketer = build_bucketer(context, recipe, parts)
    rows = rows_to_train_on(recipe, dataset.table.num_rows)
    return Stream(dataset, bucketer, start, recipe.epochs, parts.parallel.rank, parts.parallel.num_ranks, rows)


def _choose_trained(parts: Parts, recipe: TrainRecipe) -> None:
    choose_trained(parts.model, recipe.trainable, recipe.freeze, names_of(parts.model, parts.adapters))
