"""`job: train`. Reads like the algorithm: batch, encode, loss, backward, step, average, log, sample, save."""

import logging
import time
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.utils.checkpoint
from attrs import evolve
from torch import Tensor

from vidgen import runfolder
from vidgen.conditioning import conditioning_for
from vidgen.conditioning.mask_ratios import complete_ratios
from vidgen.conditioning.masks import training_mask
from vidgen.engine import checkpoint
from vidgen.engine.batch import Batch, Position
from vidgen.engine.clock import Clock
from vidgen.engine.comparison import Comparison
from vidgen.engine.data import Stream
from vidgen.engine.ema import Ema
from vidgen.engine.encoding import Encoding, make_lookup
from vidgen.engine.feed import Feed
from vidgen.engine.optimization import learning_rate, make_optimizer, set_learning_rate
from vidgen.engine.parts import (
    Parts,
    build_bucketer,
    build_dataset,
    build_on_meta,
    build_parts,
    data_context,
    describe,
    shared_context,
    tokens,
)
from vidgen.engine.sampler import build_metrics, make_sampler, measure
from vidgen.engine.session import Session, logging_to, owned_folder, write_recipe
from vidgen.engine.tasks import clip_size
from vidgen.engine.window import Window
from vidgen.interfaces import Context, Dataset, RunInfo
from vidgen.recipe.load import recipe_hash
from vidgen.recipe.schema import TrainingSampleOptions, TrainRecipe
from vidgen.recipe.source import dump_yaml
from vidgen.rng import Draws, address

LOG = logging.getLogger("vidgen")


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
        outputs = self.recipe.outputs
        with owned_folder(outputs), logging_to(outputs) as console:
            start = checkpoint.starting_point(outputs, self.recipe.resume)
            checkpoint.clear_partial(outputs)
            training = Training(self.recipe, self.context, start)
            write_recipe(outputs / "recipe.yaml", dump_yaml(dict(self.context.recipe)))
            info = RunInfo("train", outputs, training.step, training.last_step or 0)
            with Session(info, self.recipe.trackers, self.context, console) as session:
                training.run(session)

    def dry_run(self) -> Mapping[str, str]:
        """See `interfaces.Job`."""
        parts = build_on_meta(self.recipe, self.context)
        known = data_context(self.context, parts)
        build_bucketer(known, self.recipe, parts)
        steps = str(self.recipe.max_steps)
        if self.recipe.max_steps is None:
            stream = make_stream(self.recipe, known, build_dataset(known, self.recipe), parts, Position())
            per_epoch = stream.steps_per_epoch() // self.recipe.accumulation_steps
            steps = f"{per_epoch * (self.recipe.epochs or 0):,} ({self.recipe.epochs} epochs of {per_epoch:,})"
        return {**describe(parts), "steps": steps, "outputs": str(self.recipe.outputs)}


class Training:
    """A run's state and its loop. `step` counts optimizer steps done; `position` is where the data goes on."""

    def __init__(self, recipe: TrainRecipe, context: Context, start: Path | None) -> None:
        self.recipe, self.context, self.start = recipe, context, start
        self.parts: Parts = build_parts(recipe, evolve(context, load_weights=context.load_weights and start is None))
        self.model = self.parts.model
        self.parallel = self.parts.parallel
        self.optimizer = make_optimizer(self.model, recipe.optimizer)
        self.ema = Ema(self.model, recipe.ema.decay) if recipe.ema else None
        self._mask_ratios = complete_ratios(recipe.mask_ratios) if recipe.mask_ratios is not None else None
        self.window = Window(self.parts.device, recipe.max_loss_ratio)
        self.clock = Clock()
        self.step, self.epoch, self.position = 0, 0, Position()
        self.intact = start
        if start is not None:
            self._restore(start)
        if recipe.grad_checkpoint:
            checkpoint_blocks(self.model)
        self.parallel.prepare(self.model, self.optimizer)
        if recipe.sample is not None:
            build_metrics(recipe.sample, context)  # refused now, and not at the first sampling
        known = data_context(context, self.parts)
        self.dataset = build_dataset(known, recipe)
        self.stream = make_stream(recipe, known, self.dataset, self.parts, self.position)
        self.lookup = make_lookup(recipe, context, self.parts, self.dataset)
        writes = recipe.features is not None and recipe.features.mode == "write-through"
        self.encoding = Encoding(self.parts, recipe.seed, self.lookup, writes=writes)
        self.last_step = recipe.max_steps or self._steps_of_all_epochs()

    def run(self, session: Session) -> None:
        """The loop, then a last checkpoint and last samples."""
        self.model.train()
        LOG.info("%s", ", ".join(f"{name}: {value}" for name, value in describe(self.parts).items()))
        if self.start is not None:
            LOG.info("goes on from %s, step %d, epoch %d", self.start, self.step, self.position.epoch)
        for step_batches, waited in self._steps(session):
            self.train_step(step_batches)
            self._log(session, step_batches, waited)
            if self._due(self.recipe.checkpoint.every):
                self.save(session)
            if self._due(self.recipe.sample.every if self.recipe.sample else None) and self.step != self.last_step:
                self.sample(session)
        self.save(session)
        self.encoding.close()
        if session.stopped:
            LOG.warning("stopped by %s at step %d; resume=latest goes on", session.stopped, self.step)
        elif self.recipe.sample is not None:
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
            self.ema.update()
        self.step += 1
        self.epoch, self.position = step_batches[-1].epoch, step_batches[-1].following
        self.window.add(self.step, total, norm, tuple(row for batch in step_batches for row in batch.rows))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of one batch, (B,) each. Every draw is addressed by (seed, purpose, epoch, row)."""
        parts, device = self.parts, self.parts.device
        draws = Draws(self.recipe.seed, [(batch.epoch, row) for row in batch.rows])
        sizes = {key: value.to(device) for key, value in batch.numbers().items()}
        encoded = self.encoding(batch)
        told = {"drop_caption": draws.uniform("drop caption", device=device) < self.model.caption_dropout}
        if encoded.valid is not None:
            told["valid"] = encoded.valid
        conditioning = conditioning_for(self.model, sizes, encoded.text, told)
        mask = self._given_frames(batch, draws, encoded.x)
        # Layers that draw for themselves (dropout, drop path) do so from the global generator: address that, too.
        torch.manual_seed(address(self.recipe.seed, "layers", self.step, self.parallel.rank))
        with self.parallel.autocast():
            return parts.scheduler.training_losses(
                self.model, encoded.x, conditioning, draws=draws, mask=mask, valid=encoded.valid, sizes=sizes
            )

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

    def save(self, session: Session) -> None:
        """Write a checkpoint, unless the loss was lost or this step is saved already. Raises: RunError."""
        self.window.check(self.intact)
        if self.intact is not None and runfolder.step_of(self.intact) == self.step:
            return
        saved = checkpoint.Saved(self.model, self.optimizer, self.ema)
        self.intact = checkpoint.save(self.recipe.outputs, saved, self._state(), self.recipe.checkpoint.keep)
        session.hooks.vidgen_checkpoint_saved(step=self.step, path=self.intact)

    def sample(self, session: Session) -> None:
        """Sample with the averaged weights, write and measure."""
        seen = self.comparison
        options = evolve(seen.options, prompts=[*seen.captions, *seen.options.prompts])
        folder = self.recipe.outputs / "samples" / f"step{self.step}"
        swapped = self.ema if options.ema else None
        if swapped is not None:
            swapped.swap()
        try:
            samples = self._sampler(options, session).run(folder, lambda: bool(session.stopped))
        finally:
            if swapped is not None:
                swapped.swap()
        shown = seen.beside(samples, folder)
        session.hooks.vidgen_samples_written(step=self.step, samples=shown)
        if not session.stopped and (options.metrics or seen.captions):
            session.scores(self.step, {**measure(options, samples, self.context), **seen.scores(samples)})

    @cached_property
    def comparison(self) -> Comparison:
        """The clips that samples are shown beside; read when first sampled, and kept."""
        assert self.recipe.sample is not None
        size = clip_size(self.recipe.sample, self.recipe)
        return Comparison(self.parts, self.dataset, self.recipe.sample, seed=self.recipe.seed, size=size)

    def _sampler(self, options: TrainingSampleOptions, session: Session) -> Any:
        return make_sampler(
            self.parts,
            options,
            self.recipe,
            recipe_hash(self.context.recipe),
            session.progress.advance,
            self.context,
        )

    def _steps(self, session: Session) -> Iterator[tuple[list[Batch], float]]:
        """Batches grouped into optimizer steps, with the seconds spent waiting for them, up to the last step."""
        if self._finished():
            return
        stream = iter(
            Feed(
                self.dataset,
                self.stream,
                self.recipe,
                seed=self.recipe.seed,
                outputs=self.recipe.outputs,
                device=self.parts.device,
                lookup=self.lookup,
            )
        )
        while not self._finished() and not session.stopped:
            begun = time.perf_counter()
            group = list(islice(stream, self.recipe.accumulation_steps))
            if len(group) < self.recipe.accumulation_steps:
                return
            yield group, time.perf_counter() - begun

    def _finished(self) -> bool:
        return self.recipe.max_steps is not None and self.step >= self.recipe.max_steps

    def _log(self, session: Session, step_batches: list[Batch], waited: float) -> None:
        samples = sum(len(batch.texts) for batch in step_batches)
        self.clock.add(samples, self._tokens(step_batches), waited, self.encoding.seconds())
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
            "prediction_type": self.parts.scheduler.prediction_type,
            "recipe": dict(self.context.recipe),
            "versions": {**self.context.components.versions(), "torch": torch.__version__},
        }

    def _restore(self, start: Path) -> None:
        state = checkpoint.restore(start, checkpoint.Saved(self.model, self.optimizer, self.ema))
        checkpoint.check_prediction(start, state, self.recipe.scheduler, self.parts.scheduler.prediction_type)
        self.step, self.epoch = state["step"], state["epoch"]
        self.position = Position(**state["position"])
        self.window.load_state_dict(state["window"])
        self.parallel.load_state_dict(state["parallel"])


def make_stream(recipe: TrainRecipe, context: Context, dataset: Dataset, parts: Parts, start: Position) -> Stream:
    """Batches of this rank from `start` on."""
    bucketer = build_bucketer(context, recipe, parts)
    return Stream(dataset, bucketer, start, recipe.epochs, parts.parallel.rank, parts.parallel.num_ranks)


def checkpoint_blocks(model: Any) -> None:
    """Recompute each repeated block in the backward pass. Put on from outside: the blocks know nothing of it, and the
    state dict keeps its names."""
    for block in model.repeated_blocks():
        block.forward = partial(torch.utils.checkpoint.checkpoint, block.forward, use_reentrant=False)
