"""`job: train-autoencoder`. Reads like the algorithm: batch, cut, losses, step, the discriminator's step, log, save."""

import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import evolve
from torch import Tensor
from vidgen import runfolder
from vidgen.engine import checkpoint, media
from vidgen.engine.agreement import Agreement
from vidgen.engine.batch import Batch, Position
from vidgen.engine.changes import tell_ranks
from vidgen.engine.checkpoint import Saved
from vidgen.engine.clock import Clock
from vidgen.engine.data import Stream
from vidgen.engine.ema import Ema, averaged
from vidgen.engine.feed import Feed
from vidgen.engine.heartbeat import Heartbeat
from vidgen.engine.optimization import learning_rate, set_learning_rate
from vidgen.engine.session import Session, logging_to, owned_folder, write_recipe
from vidgen.engine.window import Window
from vidgen.errors import UserError
from vidgen.interfaces import Context, Parallel, RunInfo
from vidgen.recipe.source import dump_yaml
from vidgen.rng import Draws, address

from vidgen_train_autoencoder import saving
from vidgen_train_autoencoder.care import take_into_care
from vidgen_train_autoencoder.critic import Critic
from vidgen_train_autoencoder.engines import build_engine, build_second
from vidgen_train_autoencoder.evaluation import Evaluation
from vidgen_train_autoencoder.mixing import Mixing
from vidgen_train_autoencoder.objective import Objective, Outcome
from vidgen_train_autoencoder.parts import (
    build_bucketer,
    build_dataset,
    build_on_meta,
    build_vae,
    describe,
    shared_context,
)
from vidgen_train_autoencoder.recipe import TRAIN, TrainAutoencoderRecipe

LOG = logging.getLogger("vidgen")
RATES = ("samples_per_s", "data_wait")


def build(options: TrainAutoencoderRecipe, context: Context) -> "TrainAutoencoderJob":
    """The job; nothing is loaded before it runs."""
    return TrainAutoencoderJob(options, context)


class TrainAutoencoderJob:
    """Sets a run up, or takes it up where it stood."""

    def __init__(self, recipe: TrainAutoencoderRecipe, context: Context) -> None:
        self.recipe = recipe
        self.context = evolve(shared_context(recipe, context), batch_size=recipe.batch_size)

    def run(self) -> None:
        """Train to the last step, or until told to stop."""
        outputs, parallel = self.recipe.outputs, build_engine(self.recipe, self.context)
        with owned_folder(outputs, parallel.world), logging_to(outputs, parallel.world) as console:
            start = checkpoint.starting_point(outputs, self.recipe.resume)
            training = AutoencoderTraining(self.recipe, self.context, start, parallel)
            if parallel.world.is_main:
                saving.clear(outputs, start)
                write_recipe(outputs / "recipe.yaml", dump_yaml(dict(self.context.recipe)))
            info = RunInfo(TRAIN, outputs, training.step, training.last_step or 0)
            with Session(info, self.recipe.trackers, self.context, console, parallel.world) as session:
                training.run(session)

    def dry_run(self) -> Mapping[str, str]:
        """See `interfaces.Job`."""
        recipe = self.recipe
        length = f"{recipe.max_steps:,} steps" if recipe.max_steps else f"{recipe.epochs} epochs"
        return {**build_on_meta(recipe, self.context), "length": length, "outputs": str(recipe.outputs)}


class AutoencoderTraining:
    """A run's state and its loop. `step` counts optimizer steps done; `position` is where the data goes on."""

    def __init__(
        self, recipe: TrainAutoencoderRecipe, context: Context, start: Path | None, parallel: Parallel
    ) -> None:
        """start: the checkpoint to go on from."""
        self.recipe, self.intact, self.parallel, self.world = recipe, start, parallel, parallel.world
        self.context = evolve(context, rank=parallel.rank, num_ranks=parallel.num_ranks)
        self.mixing = Mixing(strategy=recipe.mixed_strategy, image_ratio=recipe.mixed_image_ratio, seed=recipe.seed)
        wanted = evolve(self.context, load_weights=context.load_weights and start is None)
        self.vae = build_vae(recipe, wanted, self.mixing).to(parallel.device)
        self._held, self.optimizer = take_into_care(self.vae, parallel, recipe.optimizer)
        self.ema = Ema(self.vae, recipe.ema.decay) if recipe.ema else None
        self.critic = self._critic()
        self.objective = Objective(recipe, self.vae, self.parallel, self.critic)
        # a negative scale lets losses be negative, of which no ratio says anything
        ratio = recipe.max_loss_ratio if recipe.logvar_init >= 0 else None
        self.window = Window(parallel.device, ratio, self.world)
        self.clock, self.heartbeat = Clock(), Heartbeat(self.world, recipe.step_timeout)
        self.step, self.epoch, self.position, self.stopped = 0, 0, Position(), False
        if start is not None:
            self._restore(start)
        self.dataset = build_dataset(recipe.dataset, self.context)
        bucketer = build_bucketer(recipe.bucketer, self.context)
        ranks = parallel.rank, parallel.num_ranks
        self.stream = Stream(self.dataset, bucketer, self.position, recipe.epochs, *ranks)
        self.evaluation = self._evaluation()
        steps = self.stream.steps_per_epoch() * recipe.epochs if recipe.epochs else None
        self.last_step = recipe.max_steps or steps

    def run(self, session: Session) -> None:
        """The loop, then a last checkpoint and a last evaluation."""
        self.vae.train()
        LOG.info("%s", ", ".join(f"{name}: {value}" for name, value in describe(self.recipe, self.vae).items()))
        if self.intact is not None:
            LOG.info("goes on from %s, step %d, epoch %d", self.intact, self.step, self.position.epoch)
        saver = self._saver(session)
        for batch, waited in self._batches(session):
            self.train_step(batch)
            self._log(session, batch, waited)
            saver.poll()
            if self._due(self.recipe.checkpoint.every):
                self.save(saver)
            if self._due(self.recipe.evaluate.every if self.recipe.evaluate else None) and self.step != self.last_step:
                self.evaluate(session)
        self.save(saver)
        saver.finish()
        if self.stopped:
            LOG.warning("stopped by %s at step %d; resume=latest goes on", session.stopped or "a rank", self.step)
        else:
            self.evaluate(session)

    def train_step(self, batch: Batch) -> None:
        """One step of the autoencoder, then one of the discriminator on the same clips. Every draw is addressed: mixing
        by step, posteriors by (epoch, row)."""
        (group,) = batch.groups  # no features are kept, and ragged batches are refused
        pixels = self.mixing.cut(group.video, self.step).to(self.parallel.device, non_blocking=True)
        video = media.to_unit(pixels)
        draws = Draws(self.recipe.seed, [(batch.epoch, row) for row in batch.rows])
        # Layers that draw for themselves (dropout) do so from the global generator: address that, too.
        torch.manual_seed(address(self.recipe.seed, "layers", self.step, self.parallel.rank))
        outcome: Outcome = self._held(self.objective, video, draws, self.step)
        numbers, rebuilt = outcome.numbers, outcome.rebuilt
        self.parallel.backward(outcome.total)
        del outcome  # and with it what the backward pass needed
        lr = learning_rate(self.recipe.optimizer, self.step, self.last_step)
        set_learning_rate(self.optimizer, lr)
        norm = self.parallel.step(self.recipe.optimizer.grad_clip)
        if self.critic is not None:
            told, norm = self._game(self.critic, video, rebuilt, lr, norm)
            numbers = numbers | told
        if self.ema is not None:
            self.ema.update()
        self.step += 1
        self.epoch, self.position = batch.following.epoch, batch.following  # the same on all ranks
        self.window.add(self.step, numbers, norm, batch.rows)

    def save(self, saver: saving.Savers) -> None:
        """Write a checkpoint, unless the loss was lost or this step is saved already. Raises: RunError."""
        self.heartbeat.pause()
        self.window.check(self.intact)
        saver.finish()
        if self.intact is None or runfolder.step_of(self.intact) != self.step:
            saver.save(*self._saved(), self._state())

    def evaluate(self, session: Session) -> None:
        """Reconstruct the fixed clips with the averaged weights, where there are any; the main rank does."""
        if self.evaluation is None:
            return
        self.heartbeat.pause()
        self.vae.eval()
        try:
            with averaged(self.ema), self.parallel.whole():
                if self.world.is_main:
                    self._evaluate(self.evaluation, session)
        finally:
            self.vae.train()
        self.world.barrier()

    def _evaluate(self, evaluation: Evaluation, session: Session) -> None:
        folder = self.recipe.outputs / "samples" / f"step{self.step}"
        sheets, scores = evaluation(self.vae, self.parallel, folder)
        session.hooks.vidgen_samples_written(step=self.step, samples=sheets)
        session.scores(self.step, scores)

    def _saver(self, session: Session) -> saving.Savers:
        def done(path: Path, step: int) -> None:
            self.intact = path
            session.hooks.vidgen_checkpoint_saved(step=step, path=path)

        recipe = self.recipe
        game = self.critic is not None
        return saving.Savers(recipe.outputs, self.world, recipe.checkpoint, discriminates=game, done=done)

    def _game(
        self, critic: Critic, video: Tensor, rebuilt: Tensor, lr: float, norm: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The discriminator's step. Its own norm is returned only where it is not finite: then the run is lost."""
        if not critic.plays(video, self.step):
            return critic.silence(), norm
        told, its_norm = critic.learn(video, rebuilt, self.step, lr)
        return told, torch.where(torch.isfinite(its_norm), norm, its_norm)

    def _batches(self, session: Session) -> Iterator[tuple[Batch, float]]:
        """Batches with the seconds spent waiting for them, up to the last step."""
        if self._finished():
            return
        recipe, device = self.recipe, self.parallel.device
        feed = Feed(self.dataset, self.stream, recipe, seed=recipe.seed, outputs=recipe.outputs, device=device)
        stream, agreement = iter(feed), Agreement(self.world)
        with self.heartbeat:
            while not self._finished():
                self.stopped = agreement(bool(session.stopped))
                self.heartbeat.beat(self.step, "reading")
                begun = time.perf_counter()
                batch = None if self.stopped else next(stream, None)
                if batch is None:
                    return
                self.heartbeat.beat(self.step, "training")
                yield batch, time.perf_counter() - begun

    def _finished(self) -> bool:
        return self.recipe.max_steps is not None and self.step >= self.recipe.max_steps

    def _log(self, session: Session, batch: Batch, waited: float) -> None:
        self.clock.add(self.parallel.num_ranks * len(batch.texts), 0, waited, 0.0)
        if not self._due(self.recipe.log.every):
            return
        numbers = {"epoch": self.epoch, **self.window.read(), "lr": self.optimizer.param_groups[0]["lr"]}
        self.window.check(self.intact)
        rates = self.clock.read()
        session.hooks.vidgen_step_done(step=self.step, metrics={**numbers, **{name: rates[name] for name in RATES}})

    def _due(self, every: int | None) -> bool:
        return every is not None and every > 0 and self.step % every == 0

    def _critic(self) -> Critic | None:
        """An engine takes care of one network: the discriminator has one of its own."""
        recipe = self.recipe
        if recipe.discriminator is None:
            return None
        return Critic(recipe.discriminator, recipe.optimizer, build_second(recipe, self.context), recipe.seed)

    def _evaluation(self) -> Evaluation | None:
        """Raises: UserError, when the recipe leaves the size of the clips open."""
        options, recipe = self.recipe.evaluate, self.recipe
        if options is None:
            return None
        if recipe.num_frames is None or recipe.image_size is None:
            raise UserError("evaluate: say num_frames and image_size, or set evaluate: null")
        dataset = build_dataset(options.dataset, self.context) if options.dataset else self.dataset
        return Evaluation(options, dataset, seed=recipe.seed, size=(recipe.num_frames, *recipe.image_size))

    def _saved(self) -> tuple[Saved, Saved | None]:
        critic = None if self.critic is None else Saved(self.critic.network, self.critic.optimizer, None)
        return Saved(self.vae, self.optimizer, self.ema), critic

    def _state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "step": self.step,
            "position": {"epoch": self.position.epoch, "batch": self.position.batch},
            "window": self.window.state_dict(),
            "parallel": self.parallel.state_dict(),
            "num_ranks": self.parallel.num_ranks,
            "critic": self.critic.state_dict() if self.critic is not None else None,
            "recipe": dict(self.context.recipe),
            "versions": {**self.context.components.versions(), "torch": torch.__version__},
        }

    def _restore(self, start: Path) -> None:
        state = saving.restore(start, *self._saved())
        self.step, self.epoch = state["step"], state["epoch"]
        self.position = Position(**state["position"])
        self.window.load_state_dict(state["window"])
        self.parallel.load_state_dict(state["parallel"])
        tell_ranks(state.get("num_ranks", self.parallel.num_ranks), self.parallel.num_ranks, start)
        if self.critic is not None:
            self.critic.load_state_dict(state["critic"])
