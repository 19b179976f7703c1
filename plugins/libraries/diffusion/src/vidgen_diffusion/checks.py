"""What may be handed to a scheduler; every mistake is a `UserError` that says what would be accepted."""

import torch
from torch import Tensor
from vidgen.errors import UserError
from vidgen.rng import Draws


def steps(count: int, most: int | None = None) -> None:
    """Refuse fewer than one sampling step, or more than there are."""
    if count < 1:
        raise UserError(f"{count} sampling steps lead nowhere: give num_sampling_steps of 1 or more.")
    if most is not None and count > most:
        raise UserError(f"{count} sampling steps are more than there are: give num_sampling_steps of 1 to {most}.")


def same_shape(name: str, given: Tensor, x: Tensor) -> None:
    """Refuse noise of another shape than the latents."""
    if given.shape != x.shape:
        raise UserError(f"{name} has shape {tuple(given.shape)}, but the latents have {tuple(x.shape)}: give the same.")


def times(t: Tensor, batch: int, last: int) -> None:
    """Refuse times of another shape than (B,) or outside 0..last."""
    if t.shape != (batch,):
        raise UserError(f"t has shape {tuple(t.shape)}, but the batch needs ({batch},): one time per sample.")
    if not bool(((t >= 0) & (t <= last)).all()):
        raise UserError(f"t must lie in 0..{last} (data to pure noise), given {t.tolist()}.")


def whole_times(t: Tensor, batch: int, last: int) -> None:
    """Refuse times that do not index a table of last + 1 entries."""
    if t.is_floating_point():
        raise UserError(f"t is {t.dtype}, but this process has whole steps: give integers 0..{last}.")
    times(t, batch, last)


def training_mask(mask: Tensor, x: Tensor) -> None:
    """Refuse anything but (B, T) booleans."""
    _mask_shape(mask, x)
    if mask.dtype != torch.bool:
        raise UserError(f"the training mask holds {mask.dtype}, but needs booleans: true where a frame is noised.")


def padding(valid: Tensor, x: Tensor) -> None:
    """Refuse anything but (B, T, H, W)."""
    wanted = (x.shape[0], *x.shape[2:])
    if valid.shape != wanted:
        raise UserError(
            f"valid has shape {tuple(valid.shape)}, but the latents need {wanted}: true where one is no padding."
        )


def sampling_mask(mask: Tensor, z: Tensor) -> None:
    """Refuse anything but (B, T) numbers in [0, 1]."""
    _mask_shape(mask, z)
    if not bool(((mask >= 0) & (mask <= 1)).all()):
        raise UserError(f"the frame mask must lie in 0..1 (0 keep, 1 generate, between edit), given {mask.tolist()}.")


def weight_table(weights: Tensor, t: Tensor, num_timesteps: int) -> None:
    """Refuse a table that whole numbers of t cannot index."""
    if weights.dim() != 1 or len(weights) < num_timesteps:
        raise UserError(f"weights has shape {tuple(weights.shape)}, but needs ({num_timesteps},): one per t.")
    if t.is_floating_point():
        raise UserError(f"weights are looked up by whole numbers of t, but t is {t.dtype}: draw whole numbers.")


def drawn(draws: Draws | None, batch: int, purpose: str) -> Draws:
    """The draws, refused when missing or made for another number of samples."""
    if draws is None:
        raise UserError(f"random numbers are needed for {purpose}: pass draws=vidgen.rng.Draws(seed, samples).")
    if len(draws) != batch:
        raise UserError(f"draws are for {len(draws)} samples, but the batch has {batch}: give one address per sample.")
    return draws


def variance(out_channels: int | None, channels: int | None) -> None:
    """Refuse a model that predicts no variance, where one is learned; None: not known yet."""
    if out_channels is not None and channels is not None and out_channels != 2 * channels:
        raise UserError(
            f"the scheduler learns a variance (learn_sigma: true), but the model returns {out_channels} channels for "
            f"latents of {channels}, not {2 * channels}: set scheduler.learn_sigma: false, or let the model predict it "
            "(pred_sigma: true; learn_sigma: true for DiT and Latte)."
        )


def _mask_shape(mask: Tensor, x: Tensor) -> None:
    batch, frames = x.shape[0], x.shape[2]
    if mask.shape != (batch, frames):
        raise UserError(
            f"the mask has shape {tuple(mask.shape)}, but the latents need ({batch}, {frames}): one number per sample "
            "and latent frame."
        )
