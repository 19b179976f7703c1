"""The schedule of noise, in float32 and in one order throughout: 1 - alphas_cumprod is so small near data that another
order of rounding changes the signal-to-noise ratio there by 2e-4 of it.

Letters: N steps, from data to noise.
"""

import torch
from torch import Tensor

CPU = "cpu"  # whatever the default device is: a dry run builds under meta, and tables are read on the host
NEARLY_ZERO = 2.0**-24  # of signal; the smallest number of half precision


def betas(schedule: str, first: float, last: float, steps: int, *, zero_snr: bool) -> Tensor:
    """The variance added in each step: (N,) float32. `linear`, or `scaled_linear` with evenly rising roots."""
    if schedule == "scaled_linear":
        added = torch.linspace(first**0.5, last**0.5, steps, dtype=torch.float32, device=CPU) ** 2
    else:
        added = torch.linspace(first, last, steps, dtype=torch.float32, device=CPU)
    return _without_signal_at_the_end(added) if zero_snr else added


def alphas_cumprod(betas: Tensor) -> Tensor:
    """The share of data in each step's variance: (N,) float32."""
    return (1 - betas).cumprod(0)


def sigmas(alphas_cumprod: Tensor) -> Tensor:
    """Noise per data in each step, (N,) float32. A last step without data counts as one with hardly any: 4096."""
    levels = ((1 - alphas_cumprod) / alphas_cumprod).sqrt()
    if alphas_cumprod[-1] == 0:
        levels[-1] = NEARLY_ZERO**-0.5
    return levels


def _without_signal_at_the_end(betas: Tensor) -> Tensor:
    """Source: arXiv 2305.08891, algorithm 1."""
    alphas = alphas_cumprod(betas).sqrt()
    first, last = alphas[0], alphas[-1]
    shares = ((alphas - last) * (first / (first - last))).square()
    return 1 - torch.cat([shares[:1], shares[1:] / shares[:-1]])
