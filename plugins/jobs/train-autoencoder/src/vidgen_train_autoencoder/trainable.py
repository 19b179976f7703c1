"""What training asks of an autoencoder, beyond encoding and decoding."""

from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from vidgen.errors import UserError
from vidgen.interfaces import Size3
from vidgen.rng import Draws

from vidgen_train_autoencoder.recipe import TrainAutoencoderRecipe
from vidgen_train_autoencoder.reconstruction import Posterior


class EncodedParts(Protocol):
    """What encoding gives on the way.

    z: latents drawn from the posterior, (B, C, t, h, w), neither shifted nor scaled. posterior: of the last step of
    encoding. x_z: the spatial latents, (B, C, T, h, w), one a video frame: what the temporal part was given.
    """

    z: Tensor
    posterior: Posterior
    x_z: Tensor


@runtime_checkable
class TrainableAutoencoder(Protocol):
    """A `vidgen.interfaces.Autoencoder` and `torch.nn.Module` that shows what is between.

    Parameters with `requires_grad` are trained; what an option such as `freeze_vae_2d` freezes has none.
    """

    latent_channels: int
    stride: Size3

    def encode_parts(self, video: Tensor, draws: Draws | None = None) -> EncodedParts:
        """video: (B, 3, T, H, W) in [-1, 1]. Every draw is taken from `draws`."""
        ...

    def decode_parts(self, z: Tensor, num_frames: int) -> tuple[Tensor, Tensor]:
        """z: as `encode_parts` gives them. Returns video (B, 3, T, H, W) and spatial latents (B, C, T, h, w)."""
        ...

    @property
    def last_layer(self) -> nn.Parameter:
        """The weight at which the gradients of error and discriminator are compared."""
        ...


def check_trainable(vae: Any, name: str) -> None:
    """name: of the autoencoder in the recipe. Raises: UserError, when it cannot be trained."""
    if not isinstance(vae, TrainableAutoencoder):
        raise UserError(
            f"vae: {name} can encode and decode, but not be trained by this job: it does not show its posterior and "
            "spatial latents (`encode_parts`, `decode_parts`, `last_layer`). VideoAutoencoderPipeline and "
            "OpenSoraVAE_V1_2 of vidgen-opensora-vae do."
        )
    network: nn.Module = cast(Any, vae)  # no one type says both
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not trained:
        raise UserError(f"vae: every parameter of {name} is frozen, so there is nothing to train. Freeze less of it.")
    if any(parameter.dtype != torch.float32 for parameter in trained):
        raise UserError(
            f"vae: {name} keeps its weights in {str(trained[0].dtype).removeprefix('torch.')}, where small updates are "
            "lost. Leave its own dtype at fp32; `dtype: bf16` of the recipe makes the forward passes faster."
        )


def check_spatial(vae: TrainableAutoencoder, name: str, recipe: TrainAutoencoderRecipe) -> None:
    """Encodes one small frame, where the recipe learns from spatial latents. name: of the autoencoder in the recipe.

    Raises: UserError, when the autoencoder has none, or none like its latents.
    """
    if not (recipe.use_z_rec_loss or recipe.use_image_identity_loss):
        return
    frame = torch.zeros(1, 3, 1, *(2 * step for step in vae.stride[1:]))
    with torch.no_grad():
        parts = vae.encode_parts(frame)
    given, latents = parts.x_z.shape, parts.z.shape
    has = "has no spatial latents: its temporal part is given the video itself"
    if given != frame.shape:
        has = f"makes spatial latents {_size(given)} and latents {_size(latents)} of a frame {_size(frame.shape)}"
    wrong = {
        "use_z_rec_loss": recipe.use_z_rec_loss and given == frame.shape,
        "use_image_identity_loss": recipe.use_image_identity_loss and given != latents,
    }
    keys = [key for key, refused in wrong.items() if refused]
    if keys:
        raise UserError(
            f"{' and '.join(keys)}: {name} {has}. Set {'both' if len(keys) > 1 else 'it'} to false; use_real_rec_loss "
            "learns from the pixels."
        )


def _size(shape: torch.Size) -> str:
    """Without the batch."""
    return " x ".join(map(str, shape[1:]))
