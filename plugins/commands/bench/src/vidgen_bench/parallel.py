"""What several GPUs send each other in a training step, by formula, and what that leaves of their speed.

Bytes are those that each rank sends, in collectives that send no more than they must (rings): to gather n bytes of
which every rank has a part, or to sum and share them out, sends n (R - 1) / R; to sum them for all ranks, twice that;
to exchange n bytes of one's own, n (R - 1) / R. Sources: arXiv 1910.02054 (ZeRO), 2309.14509 (Ulysses). A test
compares them with what ranks hand to torch.distributed.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Literal

from attrs import evolve, field, frozen
from rich.console import Console
from rich.table import Table

Engine = Literal["ddp", "zero2", "zero2-seq", "zero3"]
ENGINES: tuple[Engine, ...] = ("ddp", "zero2", "zero2-seq", "zero3")
FLOAT = 4
TRAINED = 3  # times the arithmetic of a forward pass: the backward pass is twice that
GIGA = 1e9


@frozen(kw_only=True)
class Job:
    """One step of a model in which every other block attends along time, as STDiT's do.

    parameters: of the model. blocks: that attend along time. width: of a token. out: numbers that the model returns for
    a token. frames, places: tokens of a clip along time, and of one frame. clips: of each batch, for one rank, or for
    the ranks that share them. batches: accumulated. itemsize: bytes of a weight and of a number between blocks.
    recomputed: whether blocks are worked out again in the backward pass. flops: of a forward pass, per token.
    """

    parameters: int
    blocks: int
    width: int
    out: int
    frames: int
    places: int
    clips: int = 1
    batches: int = 1
    itemsize: int = 2
    recomputed: bool = False
    flops: float = 0.0

    @property
    def tokens(self) -> int:
        """Of one batch."""
        return self.clips * self.frames * self.places


@frozen(kw_only=True)
class Traffic:
    """Bytes that a rank sends in a step: weights that are gathered, gradients that are summed, tokens of samples that
    ranks share."""

    gathered: float = 0.0
    summed: float = 0.0
    exchanged: float = 0.0

    @property
    def total(self) -> float:
        """All of them."""
        return self.gathered + self.summed + self.exchanged


@frozen(kw_only=True)
class Cluster:
    """What is assumed of the machines. within, between: bytes a second that a GPU sends to others of its machine, and
    to other machines. speed: operations a second that it does in training, attention and all."""

    gpus_per_node: int = 8
    within: float = field(default=300 * GIGA)
    between: float = field(default=40 * GIGA)
    speed: float = field(default=400e12)


def traffic(engine: Engine, job: Job, ranks: int, sp_size: int = 2) -> Traffic:
    """What a rank sends. sp_size: ranks that share a sample, of zero2-seq. Weights stay whole through the batches of an
    accumulation, but for zero3, which gathers them in the forward and again in the backward pass of each."""
    share = (ranks - 1) / ranks
    weights, gradients = job.parameters * job.itemsize * share, job.parameters * FLOAT * share
    if engine == "ddp":
        return Traffic(summed=2 * gradients)
    if engine == "zero3":
        return Traffic(gathered=2 * job.batches * weights, summed=gradients)
    exchanged = shared_tokens(job, sp_size) if engine == "zero2-seq" else 0.0
    return Traffic(gathered=weights, summed=gradients, exchanged=exchanged)


def shared_tokens(job: Job, sp_size: int) -> float:
    """Blocks that attend along time bring their tokens to and fro, forward, backward, and when worked out again; at the
    end every rank gathers the result, float32, whose gradient needs no sending."""
    passes = 2 * (3 if job.recomputed else 2)
    own = job.tokens / sp_size
    there = (sp_size - 1) / sp_size
    blocks = passes * job.blocks * own * job.width * job.itemsize * there
    result = own * job.out * FLOAT * (sp_size - 1)  # one's own part, to each of the others
    return job.batches * (blocks + result)


@frozen(kw_only=True)
class Row:
    """A line of the table. Seconds of a step in which a rank computes; sends weights and gradients, which it can do
    meanwhile; exchanges tokens, for which the blocks wait."""

    engine: Engine
    ranks: int
    traffic: Traffic
    compute: float
    sending: float
    waiting: float

    @property
    def apart(self) -> float:
        """Share of the speed of one GPU that is left when nothing is sent while something is computed."""
        return self.compute / (self.compute + self.sending + self.waiting)

    @property
    def together(self) -> float:
        """The same when as much as possible is."""
        return self.compute / (max(self.compute, self.sending) + self.waiting)


def scaling(job: Job, cluster: Cluster, sizes: Sequence[int], sp_size: int = 2) -> Iterator[Row]:
    """Every engine on so many GPUs. Ranks that share a sample are of one machine, and get as much work as others: as
    many clips more as there are ranks to share them."""
    for ranks in sizes:
        for engine in ENGINES:
            sharing = sp_size if engine == "zero2-seq" else 1
            own = evolve(job, clips=job.clips * sharing)
            sent = traffic(engine, own, ranks, sharing)
            slowest = cluster.within if ranks <= cluster.gpus_per_node else cluster.between
            passes = TRAINED + job.recomputed
            yield Row(
                engine=engine,
                ranks=ranks,
                traffic=sent,
                compute=passes * job.flops * job.tokens * job.batches / cluster.speed,
                sending=(sent.gathered + sent.summed) / slowest,
                waiting=sent.exchanged / cluster.within,
            )


def job_of(name: str, *, frames: int, places: int, clips: int, batches: int, recomputed: bool) -> Job:
    """A step of a model of the STDiT family, counted on the meta device. Raises: UserError, when there is none such."""
    from vidgen.component import Selection
    from vidgen.engine.anatomy import LATENT_SIZE, dissect
    from vidgen.engine.parts import token_grid
    from vidgen.errors import UserError
    from vidgen.registry import Registry

    registry = Registry.discover()
    found = next((one.component for one in registry.offers("model") if one.component.name == name), None)
    if found is None or not hasattr(found.options(), "depth"):
        raise UserError(f"--model: {name!r} is no model with blocks to count; try STDiT3-XL/2")
    options = found.options()
    model = dissect(registry, Selection("model", found, options))
    counted = token_grid(LATENT_SIZE, options.patch_size)  # attention's arithmetic grows with the tokens it looks at
    further = frames - counted[0] + places - counted[1] * counted[2]
    return Job(
        parameters=model.parameters,
        blocks=options.depth,
        width=options.hidden_size,
        out=prod(options.patch_size) * 8,
        frames=frames,
        places=places,
        clips=clips,
        batches=batches,
        recomputed=recomputed,
        flops=model.flops + 4 * options.depth * options.hidden_size * further,
    )


def report(job: Job, cluster: Cluster, sizes: Sequence[int], sp_size: int) -> None:
    """Print the assumptions and the table."""
    console = Console(highlight=False)
    console.print(
        f"{job.parameters / 1e9:.2f} billion parameters, {job.tokens:,} tokens a batch, {job.batches} a step, "
        f"blocks {'' if job.recomputed else 'not '}worked out again; {job.flops / 1e9:.2f} GFLOP a token forward\n"
        f"assumed of each GPU: {cluster.within / GIGA:g} GB/s to the {cluster.gpus_per_node} of its machine, "
        f"{cluster.between / GIGA:g} GB/s to others, {cluster.speed / 1e12:g} TFLOP/s in training"
    )
    rows = list(scaling(job, cluster, sizes, sp_size))
    console.print(
        f"{1000 * rows[0].compute:.0f} ms of computing a step. GB sent by each GPU in a step; share of its speed that "
        "is left when it sends apart from computing, and together with it"
    )
    console.print(_table(rows))


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("GPUs", "engine", "weights", "gradients", "tokens", "GB", "sending", "apart", "together"):
        table.add_column(column, justify="left" if column == "engine" else "right")
    for row in rows:
        sent = row.traffic
        sizes = [f"{one / GIGA:.2f}" for one in (sent.gathered, sent.summed, sent.exchanged, sent.total)]
        sending = f"{1000 * (row.sending + row.waiting):.0f} ms"
        table.add_row(str(row.ranks), row.engine, *sizes, sending, f"{row.apart:.0%}", f"{row.together:.0%}")
    return table
