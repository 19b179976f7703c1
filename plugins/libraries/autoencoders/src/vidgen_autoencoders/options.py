"""Options that autoencoders share. Imports no torch: plugins read it whenever vidgen starts."""

from typing import Any, Literal

from attrs import frozen
from attrs.validators import and_, ge, gt, le, optional
from vidgen import option

Dtype = Literal["fp32", "bf16"]
SCALING_FACTOR = 0.18215
"""What latents of Stable Diffusion's autoencoder are multiplied by, to have a variance of about 1."""


@frozen(kw_only=True)
class NetworkOptions:
    """Which network of diffusers, and where its weights come from."""

    from_pretrained: str | None = option(
        None,
        "A folder in diffusers' form, a file of weights, or a Hugging Face id such as org/name; null: start values.",
    )
    subfolder: str | None = option(None, "Folder inside from_pretrained in which the autoencoder lies, such as vae.")
    force_huggingface: bool = option(False, "Take from_pretrained for a Hugging Face id even where such a path exists.")
    config: dict[str, Any] = option(
        {},
        "Keys of diffusers' config.json; they win over that file. Without either: the shape of Stable Diffusion's.",
    )


@frozen(kw_only=True)
class TiledOptions(NetworkOptions):
    """A network that may see rows and columns in pieces."""

    tile_size: int | None = option(
        None,
        "Side in pixels of overlapping, blended tiles, a multiple of the stride; an approximation, for frames too "
        "large for the memory. null: whole frames.",
        validator=optional(ge(1)),
    )
    tile_overlap: float = option(
        0.25, "Share of a tile that its neighbour covers as well, 0 to 0.5.", validator=and_(ge(0), le(0.5))
    )


@frozen(kw_only=True)
class FrameOptions(TiledOptions):
    """An image autoencoder applied to every frame."""

    scaling_factor: float = option(
        SCALING_FACTOR,
        "Latents are multiplied by this, above 0; the one of config.json is not used, as in Open-Sora.",
        validator=gt(0),
    )
    micro_batch_size: int | None = option(
        None,
        "Frames worked on at a time, 1 or more; null: all. Changes memory, not results.",
        validator=optional(ge(1)),
    )
    memory_limit_mb: int | None = option(
        None,
        "Megabytes that intermediate results may take, about; fewer frames are worked on at a time, at least one.",
        validator=optional(ge(1)),
    )


def dtype_option() -> Any:
    """The field `dtype`, of type `Dtype`."""
    return option(
        "fp32", "Type of the weights in memory and of the arithmetic; latents and pixels keep the type they come in."
    )
