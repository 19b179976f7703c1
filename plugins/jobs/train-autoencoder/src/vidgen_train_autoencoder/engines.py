"""The parallel engines of a run: one for the autoencoder, one of the same kind for the discriminator."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from vidgen.engine.parts import build_parallel
from vidgen.errors import UserError
from vidgen.interfaces import Context, Parallel

from vidgen_train_autoencoder.recipe import TRAIN, TrainAutoencoderRecipe

SERVED = "TORCHELASTIC_USE_AGENT_STORE"
"""By this variable torch's launcher says that the store by which ranks meet is served already."""


def build_engine(recipe: TrainAutoencoderRecipe, context: Context) -> Parallel:
    """The autoencoder's, connected to all ranks, which must run the same recipe by the same code.

    Raises: UserError, for one whose ranks share clips; RunError.
    """
    parallel = build_parallel(recipe.parallel, context)
    if parallel.tokens.size > 1:
        raise UserError(
            f"parallel.type: ranks of {recipe.parallel.type} share each clip, {parallel.tokens.size} to one, and no "
            f"autoencoder can share one. {TRAIN} takes engines whose ranks have clips of their own: ddp, zero2, "
            "zero3, or single for one process."
        )
    return parallel


def build_second(recipe: TrainAutoencoderRecipe, context: Context) -> Parallel:
    """The discriminator's: an engine takes care of one network. Ranks are connected already."""
    with _store_served():
        second: Parallel = context.components.build(recipe.parallel, context)
    return second


@contextmanager
def _store_served() -> Iterator[None]:
    """Rank 0 serves one store, not two at one address."""
    before = os.environ.get(SERVED)
    os.environ[SERVED] = "True"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SERVED]
        else:
            os.environ[SERVED] = before
