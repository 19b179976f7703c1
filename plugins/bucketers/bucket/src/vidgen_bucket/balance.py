"""Batches of near token count next to each other, so that the ranks of a step finish together."""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from vidgen.rng import numpy_generator

Places = NDArray[np.integer]


@frozen(kw_only=True)
class Balance:
    """Runs of so many batches of near token count, in another order in every epoch.

    run: batches of a run. Steps of `run` ranks, or of a number that divides it, lie in one run each.
    """

    run: int
    seed: int

    def arrange(self, tokens: NDArray[np.float64], epoch: int) -> Places:
        """A permutation of batches that stand in random order, given the token count of each, (batches,).

        Which batches of equal token count share a run is as random as their order was. Those that fill no run come
        last; they too are near in token count, around a size that is drawn.
        """
        draw = numpy_generator(self.seed, "balance", epoch)
        order = np.argsort(tokens, kind="stable")
        runs, rest = divmod(len(order), self.run)
        cut = int(draw.integers(runs + 1)) * self.run
        last = order[cut : cut + rest]
        whole = np.concatenate([order[:cut], order[cut + rest :]]).reshape(runs, self.run)
        mixed = draw.permuted(draw.permutation(whole), axis=1)
        return np.concatenate([mixed.ravel(), last])
