"""What a model may be taken to predict, and how one follows from another.

The noisy latents are x_t = alpha x + sigma noise. Kinds: `epsilon`, the noise; `sample`, the data x; `v_prediction`,
alpha noise - sigma x (arXiv 2202.00512, appendix D). alpha and sigma: numbers, or tensors that broadcast over latents.
"""

from typing import Literal

from torch import Tensor

Prediction = Literal["epsilon", "v_prediction", "sample"]
Level = float | Tensor


def target(kind: Prediction, x: Tensor, noise: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """What the model should have predicted."""
    if kind == "epsilon":
        return noise
    return x if kind == "sample" else alpha * noise - sigma * x


def data_from(kind: Prediction, predicted: Tensor, x_t: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """The data that a prediction stands for. `epsilon` has none at alpha 0."""
    if kind == "epsilon":
        return (x_t - sigma * predicted) / alpha
    return predicted if kind == "sample" else alpha * x_t - sigma * predicted


def noise_from(kind: Prediction, predicted: Tensor, x_t: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """The noise that a prediction stands for. `sample` has none at sigma 0."""
    if kind == "epsilon":
        return predicted
    return (x_t - alpha * predicted) / sigma if kind == "sample" else alpha * predicted + sigma * x_t
