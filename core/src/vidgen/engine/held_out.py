"""The loss of rows that are never trained on: the same clips with the same noise and timesteps at every measurement, so
that it changes with the weights alone.

Timesteps are spread over the schedule whatever the scheduler is: where it draws them, it is given the quantiles
(k + u) / K of what it asks for, k = 0..K-1, with one u for each row. So they lie as in training, but evenly. Captions
are never dropped, and no frames are given in the place of noise; a model that is shown frames beside it is shown the
same ones every time.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from attrs import evolve, frozen
from torch import Tensor

from vidgen.conditioning import conditioning_for
from vidgen.engine.batch import Answer, Ask, Batch, Missed, Position, collate
from vidgen.engine.data import Posts, Reader
from vidgen.engine.ema import Ema, averaged
from vidgen.engine.encoding import Encoded, Encoding
from vidgen.engine.parts import Parts, build_bucketer
from vidgen.engine.showing import Showing
from vidgen.errors import RunError, UserError
from vidgen.interfaces import Bucketer, Context, Dataset, Request
from vidgen.recipe.schema import HeldOutOptions, TrainRecipe
from vidgen.rng import Draws

LOG = logging.getLogger("vidgen")
EDGE = 2.0**-24  # quantiles keep this distance from 0 and 1, where a normal number is infinite


def held_out_rows(options: HeldOutOptions, num_rows: int) -> range:
    """The rows of a table that are measured: the last ones of the training dataset, the first ones of another.

    Raises: UserError, when none would be left to train on, or there are not so many.
    """
    wanted = options.rows if isinstance(options.rows, int) else max(1, round(options.rows * num_rows))
    if options.dataset is None and wanted >= num_rows:
        raise UserError(f"held_out.rows: {wanted} of the dataset's {num_rows} rows leave none to train on")
    if wanted > num_rows:
        raise UserError(f"held_out.rows: {wanted}, but held_out.dataset has {num_rows}")
    return range(wanted) if options.dataset is not None else range(num_rows - wanted, num_rows)


def rows_to_train_on(recipe: TrainRecipe, num_rows: int) -> int:
    """The first so many rows. Raises: UserError, when none are left."""
    options = recipe.held_out
    return num_rows if options is None or options.dataset is not None else held_out_rows(options, num_rows).start


def make_held_out(
    recipe: TrainRecipe, context: Context, parts: Parts, dataset: Dataset, ema: Ema | None
) -> "HeldOut | None":
    """None where the recipe asks for none. context: see `data_context`. dataset: of the training. Raises: UserError."""
    options = recipe.held_out
    if options is None:
        return None
    of = dataset if options.dataset is None else context.components.build(options.dataset, context)
    return HeldOut(parts, recipe, options, of, build_bucketer(context, recipe, parts), ema)


class SpreadDraws(Draws):
    """Draws for one pass over held-out rows, of which those for the purpose `timestep` are quantiles.

    number: of the pass, 0 to count - 1.
    """

    def __init__(self, seed: int, rows: Sequence[int], number: int, count: int) -> None:
        super().__init__(seed, [("held out", row, number) for row in rows])
        self._seed, self._rows, self._number, self._count = seed, tuple(rows), number, count

    def __getitem__(self, row: int) -> "SpreadDraws":
        return SpreadDraws(self._seed, self._rows[row : row + 1], self._number, self._count)

    def normal(
        self, purpose: str, shape: Sequence[int], *, device: torch.device | str = "cpu", step: int = 0
    ) -> Tensor:
        """See `Draws`."""
        if purpose != "timestep":
            return super().normal(purpose, shape, device=device, step=step)
        return torch.special.ndtri(self._quantiles(shape)).float().to(device)

    def uniform(
        self, purpose: str, shape: Sequence[int] = (), *, device: torch.device | str = "cpu", step: int = 0
    ) -> Tensor:
        """See `Draws`."""
        if purpose != "timestep":
            return super().uniform(purpose, shape, device=device, step=step)
        return self._quantiles(shape).float().to(device)

    def integers(
        self, purpose: str, high: int, shape: Sequence[int] = (), *, device: torch.device | str = "cpu", step: int = 0
    ) -> Tensor:
        """See `Draws`."""
        if purpose != "timestep":
            return super().integers(purpose, high, shape, device=device, step=step)
        return (self._quantiles(shape) * high).long().to(device)

    def _quantiles(self, shape: Sequence[int]) -> Tensor:
        """(B, *shape) float64, the same all over `shape`."""
        inside = Draws(self._seed, [("held out", row) for row in self._rows]).uniform("quantile").double()
        found = ((self._number + inside) / self._count).clamp(EDGE, 1 - EDGE)
        return found.view(-1, *[1] * len(shape)).expand(-1, *shape)


@frozen
class Portion:
    """Clips of one bucket that are measured together, encoded, on the CPU. bucket: place in the list of names."""

    bucket: int
    batch: Batch
    encoded: Encoded


class HeldOut:
    """What a training recipe's `held_out` asks for. Every rank measures its share.

    dataset: that the rows are of. ema: averaged weights, where there are any.
    """

    def __init__(
        self,
        parts: Parts,
        recipe: TrainRecipe,
        options: HeldOutOptions,
        dataset: Dataset,
        bucketer: Bucketer,
        ema: Ema | None,
    ) -> None:
        self._parts, self._options, self._ema, self._seed = parts, options, ema, recipe.seed
        self._dataset, self._batch_size, self._frame_masks = dataset, recipe.batch_size, recipe.frame_masks
        self._buckets, self._asks = self._in_buckets(bucketer)

    def measure(self) -> dict[str, float]:
        """Name -> mean loss over rows and timesteps: `held_out/raw`, `held_out/ema` where weights are averaged, and of
        those (else of the raw ones) `held_out/BUCKET`, where there are several. All ranks call this.

        Raises: RunError, when nothing can be read.
        """
        raw = sums = self._sums()
        scores = {"held_out/raw": _mean(raw)}
        if self._ema is not None:
            with averaged(self._ema):
                sums = self._sums()
            scores["held_out/ema"] = _mean(sums)
        if len(self._buckets) > 1:
            of_buckets = zip(self._buckets, sums, strict=True)
            scores |= {f"held_out/{name}": _mean(one) for name, one in of_buckets if one[1]}
        return scores

    @torch.no_grad()
    def _sums(self) -> Tensor:
        """Losses added up, and how many, of each bucket, (buckets, 2), over all ranks."""
        parts, count = self._parts, self._options.timesteps
        sums = torch.zeros(len(self._buckets), 2, dtype=torch.float64)
        portions, training = self._portions, parts.model.training
        parts.model.eval()
        with parts.parallel.whole():
            for portion in portions:
                for number in range(count):
                    losses = self._losses(portion, SpreadDraws(self._seed, portion.batch.rows, number, count))
                    sums[portion.bucket] += torch.tensor(
                        [losses.double().sum().item(), len(losses)], dtype=torch.float64
                    )
        parts.model.train(training)
        return parts.parallel.world.mean(sums.to(parts.device, torch.float32)).cpu()

    def _losses(self, portion: Portion, draws: Draws) -> Tensor:
        """Of each clip, (B,)."""
        model, device = self._parts.model, self._parts.device
        sizes = {key: value.to(device) for key, value in portion.batch.numbers().items()}
        text = {key: value.to(device) for key, value in portion.encoded.text.items()}
        told = {"drop_caption": torch.zeros(len(draws), dtype=torch.bool, device=device)}
        told |= {key: value.to(device) for key, value in portion.batch.shown.items()}
        x, conditioning = portion.encoded.x.to(device), conditioning_for(model, sizes, text, told)
        with self._parts.parallel.autocast():
            found = self._parts.scheduler.training_losses(model, x, conditioning, draws=draws, sizes=sizes)
        return found["loss"].float()

    @cached_property
    def _portions(self) -> list[Portion]:
        """This rank's share; read and encoded when first measured, and kept."""
        parallel = self._parts.parallel
        share = self._asks[parallel.rank :: parallel.num_ranks]
        reader = Reader(self._dataset, self._seed, None, posts=Posts(0))
        encoding = Encoding(self._parts, self._seed, None, writes=False)
        showing = Showing(self._parts.model, encoding, self._frame_masks)
        batches = ((bucket, _readable([reader[ask] for ask in asks])) for bucket, asks in share)
        return [self._portion(bucket, batch, encoding, showing) for bucket, batch in batches if batch is not None]

    def _portion(self, bucket: int, batch: Batch, encoding: Encoding, showing: Showing) -> Portion:
        """Without what is no longer needed."""
        encoded, draws = encoding(batch), Draws(self._seed, [("held out", row) for row in batch.rows])
        shown = {key: value.cpu() for key, value in showing(batch, draws).items()}
        text = {key: value.cpu() for key, value in encoded.text.items()}
        return Portion(bucket, evolve(batch, groups=(), shown=shown), evolve(encoded, x=encoded.x.cpu(), text=text))

    def _in_buckets(self, bucketer: Bucketer) -> tuple[list[str], list[tuple[int, list[Ask]]]]:
        """Names of the buckets that rows are in, and all batches, each of one bucket. Raises: UserError, when no row is
        in any."""
        table = self._dataset.table
        rows, assignment = held_out_rows(self._options, table.num_rows), bucketer.assign(table, 0)
        used = sorted({int(assignment.bucket[row]) for row in rows} - {-1})
        why = Counter(assignment.reasons[assignment.reason[row]] for row in rows if assignment.bucket[row] < 0)
        reasons = "; ".join(f"{count}: {reason}" for reason, count in why.items())
        if not used:
            raise UserError(f"held_out: no bucket takes any of the {len(rows)} rows ({reasons})")
        if why:
            LOG.warning("held_out: %d of %d rows are in no bucket (%s)", why.total(), len(rows), reasons)
        asks = []
        for place, number in enumerate(used):
            bucket = assignment.buckets[number]
            members = [row for row in rows if assignment.bucket[row] == number]
            requests = [Request(row, bucket.num_frames, bucket.size) for row in members]
            asks += [(place, one) for one in _batches(requests, bucket.batch_size or self._batch_size)]
        return [assignment.buckets[number].name for number in used], asks


def _batches(requests: Sequence[Request], size: int) -> Iterator[list[Ask]]:
    for begin in range(0, len(requests), size):
        yield [Ask(Position(), request, (request.row,)) for request in requests[begin : begin + size]]


def _readable(answers: Sequence[Answer]) -> Batch | None:
    batch = collate(answers)
    for bad in batch.bad:
        LOG.warning("held_out: row %d is not measured: %s", bad.row, bad.error)
    return None if isinstance(batch, Missed) else batch


def _mean(sums: Tensor) -> float:
    total, count = sums.reshape(-1, 2).sum(0).tolist()
    if count == 0:
        raise RunError("held_out: none of the rows can be read; the log says why")
    return float(total / count)
