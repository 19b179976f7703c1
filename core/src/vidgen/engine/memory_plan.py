"""How much memory training will take on each rank, before anything is started.

One step of the recipe's own parts is made on the meta device, where tensors have sizes but no memory, and counted
operation by operation: whatever the model, the scheduler and the autoencoder do is in it. What is shared out over ranks
is for the parallel engine to say (`interfaces.Parallel.plan`).

Not counted: what kernels take for themselves, what the allocator holds in reserve, the text encoder's own activations.
Captions are as long as they may be.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn

from vidgen.conditioning import conditioning_for
from vidgen.devices import DTYPES
from vidgen.engine.batch import size_numbers
from vidgen.engine.counting import Counting
from vidgen.engine.ledger import Ledger
from vidgen.engine.meta_ledger import Known, MetaLedger
from vidgen.engine.parts import Parts, tokens
from vidgen.engine.recomputation import Policy, policy_of, recomputing
from vidgen.errors import UserError
from vidgen.interfaces import Bucket, Size3
from vidgen.mesh import TokenGroup, share_tokens
from vidgen.recipe.schema import TrainRecipe
from vidgen.rng import Draws

FLOAT = 4  # bytes
MOMENTS = 2  # float32 numbers that AdamW keeps of each
MOST_KINDS = 3  # of batches: each takes a second
META = torch.device("meta")


@frozen(kw_only=True)
class Step:
    """One batch: `count` clips of `size`. In bytes: activations as they are without and with recomputation; peak: of
    all that is there at the worst moment of the recipe's own step; encoding: of making latents, 0 where not known."""

    name: str
    size: Size3
    count: int
    kept: int
    recomputed: int
    encoding: int
    peak: int


@frozen(kw_only=True)
class MemoryPlan:
    """Bytes on one of `ranks` ranks. resting: what is there between steps, by name. gradients: after a backward
    pass."""

    ranks: int
    resting: Mapping[str, int]
    gradients: int
    steps: tuple[Step, ...]
    unknown: str = ""  # why there are no steps

    def lines(self) -> dict[str, str]:
        """As a dry run prints it."""
        parts = ", ".join(f"{name} {in_words(size)}" for name, size in self.resting.items() if size)
        rank = f"memory of {'the one rank' if self.ranks == 1 else f'each of {self.ranks} ranks'}"
        told = {rank: f"{in_words(sum(self.resting.values()))}: {parts}; gradients {in_words(self.gradients)}"}
        if not self.steps:
            told["peak"] = f"not known: {self.unknown}"
        for step in self.steps:
            told[f"peak, {step.count} x {step.name}"] = (
                f"{in_words(step.peak)}; activations {in_words(step.kept)}, with grad_checkpoint "
                f"{in_words(step.recomputed)}"
                + (f", making latents {in_words(step.encoding)}" if step.encoding else "")
            )
        return told


def plan_memory(recipe: TrainRecipe, parts: Parts, buckets: Sequence[Bucket], ranks: int) -> MemoryPlan:
    """parts: on the meta device, not compiled; given up to this. buckets: the kinds of batches. ranks: of the run.

    Raises: UserError, when `sp_size` does not divide the ranks.
    """
    model, encoders = parts.model, _bytes(parts.vae) + _bytes(parts.text_encoder)
    whole = _whole(recipe, model)
    shared = _shared_out(parts, whole, ranks)
    gradients = shared.pop("gradients")
    resting = {**shared, "encoders": encoders}
    if shared.get("gathered weights"):
        model.to(DTYPES[recipe.dtype])
    share_tokens(model, PlannedTokens(size=sharing_ranks(recipe, ranks)))
    counter = _Counter(recipe, parts, gradients / max(whole["gradients"], 1))
    steps, unknown = list[Step](), "what is in a batch depends on the data"
    try:
        steps.extend(counter.step(bucket, sum(resting.values())) for bucket in kinds(parts, buckets))
    except (NotImplementedError, RuntimeError, TypeError) as error:
        unknown = f"a step cannot be made without values ({str(error).splitlines()[0]})"
    return MemoryPlan(ranks=ranks, resting=resting, gradients=gradients, steps=tuple(steps), unknown=unknown)


def kinds(parts: Parts, buckets: Sequence[Bucket]) -> list[Bucket]:
    """Of buckets that differ in aspect ratio alone the one with most tokens; of very many, those with most tokens in
    all. Left out are those whose batches depend on what else is in them."""
    found: dict[tuple[int, int, str], Bucket] = {}
    for bucket in buckets:
        key = (bucket.num_frames, bucket.batch_size, bucket.name.split()[0])
        if bucket.batch_size and (key not in found or _tokens_of(parts, bucket) > _tokens_of(parts, found[key])):
            found[key] = bucket
    heaviest = sorted(found.values(), key=lambda one: one.batch_size * _tokens_of(parts, one), reverse=True)
    return heaviest[:MOST_KINDS]


def in_words(size: float) -> str:
    """Bytes as people read them."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


class _Counter:
    """Makes steps on the meta device. share: of the gradients of all weights, what stays on this rank."""

    def __init__(self, recipe: TrainRecipe, parts: Parts, share: float) -> None:
        self._recipe, self._parts, self._share = recipe, parts, share
        self._dtype = DTYPES[recipe.dtype]
        self._known = Known()

    def step(self, bucket: Bucket, resting: int) -> Step:
        """resting: bytes that are there anyway."""
        own = policy_of(self._recipe.grad_checkpoint)
        kept, peak = self._counted(bucket, own)
        other = self._forward(bucket, "none" if own != "none" else "full")
        encoding = self._encoding(bucket)
        return Step(
            name=bucket.name,
            size=(bucket.num_frames, *bucket.size),
            count=bucket.batch_size,
            kept=other if own != "none" else kept,
            recomputed=kept if own != "none" else other,
            encoding=encoding,
            peak=resting + max(peak, encoding),
        )

    def _forward(self, bucket: Bucket, policy: Policy) -> int:
        """Bytes after the forward pass."""
        around = partial(Counting, self._dtype, {})
        with MetaLedger(self._known) as ledger, recomputing(self._parts.model.train(), policy, around), around():
            loss = self._loss(bucket)
            assert loss.requires_grad
            return ledger.bytes

    def _counted(self, bucket: Bucket, policy: Policy) -> tuple[int, int]:
        """Bytes after the forward pass, and the most that there are in the step, gradients counted in."""
        model = self._parts.model.train()
        batches = min(self._recipe.accumulation_steps, 2)  # a second one finds the gradients of the first
        with MetaLedger(self._known) as ledger:
            for number in range(batches):
                share = self._share if number == batches - 1 else 1.0
                with _shared_gradients(model, ledger, share):
                    kept = self._forward_and_backward(bucket, policy, ledger)
            model.zero_grad(set_to_none=True)
        return kept, ledger.peak

    def _forward_and_backward(self, bucket: Bucket, policy: Policy, ledger: Ledger) -> int:
        """Returns what is kept from the one to the other."""
        before = ledger.bytes
        counting = partial(Counting, self._dtype, {})
        with recomputing(self._parts.model, policy, lambda: counting()):
            with counting():
                loss = self._loss(bucket)
            counting = partial(Counting, self._dtype)
            kept = ledger.bytes - before
            loss.backward()
        return kept

    def _loss(self, bucket: Bucket) -> Tensor:
        """As the training loop works it out, with captions as long as they may be."""
        parts, count = self._parts, bucket.batch_size
        size = (bucket.num_frames, *bucket.size)
        x = torch.empty(count, parts.vae.latent_channels, *parts.vae.latent_size(size), device=META)
        sizes = {name: one.to(META) for name, one in size_numbers([size] * count, 24.0).items()}
        told = {"drop_caption": torch.empty(count, dtype=torch.bool, device=META)}
        if "video_mask" in parts.model.conditioning:
            to_make = x.new_empty(count, parts.vae.stride[0], *x.shape[2:])
            told |= {"masked_video": torch.empty_like(x), "video_mask": to_make}
        mask = torch.empty(count, x.shape[2], dtype=torch.bool, device=META) if self._recipe.mask_ratios else None
        losses = parts.scheduler.training_losses(
            parts.model,
            x,
            conditioning_for(parts.model, sizes, _text(parts.text_encoder, count), told),
            draws=Draws(self._recipe.seed, [(0, row) for row in range(count)]),
            mask=mask,
            sizes=sizes,
        )
        return losses["loss"].mean()

    @torch.no_grad()
    def _encoding(self, bucket: Bucket) -> int:
        """The autoencoder's most; 0 where features are read, or it looks at values, of which there are none here."""
        if self._recipe.features is not None and self._recipe.features.mode == "read":
            return 0
        with MetaLedger(self._known) as ledger, Counting(self._dtype):
            try:
                self._parts.vae.encode(torch.empty(bucket.batch_size, 3, bucket.num_frames, *bucket.size, device=META))
            except (NotImplementedError, RuntimeError):
                return 0
        return ledger.peak


@contextmanager
def _shared_gradients(model: nn.Module, ledger: Ledger, share: float) -> Iterator[None]:
    """While it lasts, of every gradient that is ready no more than `share` counts."""

    def ready(parameter: Tensor) -> None:
        assert parameter.grad is not None
        ledger.share(parameter.grad, share)

    handles = [p.register_post_accumulate_grad_hook(ready) for p in model.parameters() if p.requires_grad]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _whole(recipe: TrainRecipe, model: nn.Module) -> dict[str, int]:
    """Bytes of everything, before it is shared out; weights and what is made of them are float32."""
    trained = FLOAT * sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {
        "weights": FLOAT * sum(p.numel() for p in model.parameters()),
        "gradients": trained,
        "optimizer": MOMENTS * trained,
        "average": trained if recipe.ema else 0,
    }


def _shared_out(parts: Parts, whole: Mapping[str, int], ranks: int) -> dict[str, int]:
    """By the parallel engine; one that does not say is one process. Raises: UserError."""
    plan = getattr(parts.parallel, "plan", None)
    if plan is not None:
        return dict(plan(whole, [_bytes(block) for block in parts.model.repeated_blocks()], ranks))
    if ranks > 1:
        raise UserError(
            f"parallel.type: this engine does not say how {ranks} processes share memory (single is one). Choose "
            "another, such as parallel.type=zero2, or plan for one process."
        )
    return dict(whole)


def planned_ranks(recipe: TrainRecipe, ranks: int) -> int:
    """`ranks`; in place of a single one, as many as the recipe shares each sample between."""
    return max(ranks, getattr(recipe.parallel.options, "sp_size", 1)) if ranks == 1 else ranks


def sharing_ranks(recipe: TrainRecipe, ranks: int) -> int:
    """How many of `ranks` share each sample. Raises: UserError, when that does not divide them."""
    size: int = getattr(recipe.parallel.options, "sp_size", 1)
    if ranks % size:
        raise UserError(
            f"parallel.sp_size: {size} ranks are to share each sample, which does not divide {ranks}. Plan for a "
            f"multiple of {size} with --nproc."
        )
    return size


@frozen(kw_only=True, eq=False)
class PlannedTokens(TokenGroup):
    """Ranks that share each sample's tokens, without the other ranks: what arrives from them has a size and no more."""

    def gather(self, x: Tensor, dim: int, length: int) -> Tensor:
        """See `TokenGroup`."""
        return torch.cat([x] * self.size, dim).narrow(dim, 0, length)

    def exchange(self, x: Tensor, *, split: int, join: int, length: int) -> Tensor:
        """See `TokenGroup`."""
        part = self.part(x.shape[split])
        short = part * self.size - x.shape[split]
        whole = nn.functional.pad(x, (0, 0) * (x.ndim - 1 - split) + (0, short)) if short else x
        pieces = whole.unflatten(split, (self.size, part)).movedim(split, 0).contiguous()
        received = pieces.clone()
        return received.movedim(0, join).flatten(join, join + 1).narrow(join, 0, length)


def _text(encoder: Any, count: int) -> dict[str, Tensor]:
    """Features of the longest captions, or class numbers."""
    if encoder.width == 0:
        return {"y": torch.empty(count, dtype=torch.int64, device=META)}
    mask = torch.empty(count, encoder.max_length, dtype=torch.int64, device=META)
    return {"y": torch.empty(count, encoder.max_length, encoder.width, device=META), "mask": mask}


def _tokens_of(parts: Parts, bucket: Bucket) -> int:
    return tokens(parts, (bucket.num_frames, *bucket.size))


def _bytes(module: nn.Module) -> int:
    return sum(one.numel() * one.element_size() for one in (*module.parameters(), *module.buffers()))
