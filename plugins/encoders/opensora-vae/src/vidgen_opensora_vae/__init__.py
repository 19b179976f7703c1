"""Open-Sora 1.2's autoencoder of videos: an image autoencoder, and a causal temporal one on its latents.

Offers the autoencoders `OpenSoraVAE_V1_2` and `VideoAutoencoderPipeline` (the same with every size free). Read whenever
vidgen starts, so it holds only names and options; the networks live in `vidgen_opensora_vae.pipeline` and `.temporal`.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

from attrs import frozen
from attrs.validators import and_, deep_iterable, ge, min_len, optional
from vidgen import Component, hookimpl, option
from vidgen.errors import Problem
from vidgen_autoencoders.options import Dtype, FrameOptions, dtype_option

SHIFT, SCALE = (-0.10, 0.34, 0.27, 0.98), (3.85, 2.32, 2.33, 3.06)
HALVED = {"VAE_Temporal": (True, True, False), "VAE_Temporal_SD": (False, True, True)}
"""Between which of its four levels each kind of temporal autoencoder halves the frames."""


@frozen(kw_only=True)
class SpatialOptions(FrameOptions):
    """Keys of `vae_2d`."""

    type: Literal["VideoAutoencoderKL"] = option("VideoAutoencoderKL", "The only kind of image autoencoder there is.")


@frozen(kw_only=True)
class TemporalOptions:
    """Keys of `vae_temporal`, named as in Open-Sora."""

    type: Literal["VAE_Temporal_SD", "VAE_Temporal"] = option(
        "VAE_Temporal_SD", "Decides temporal_downsample, where that is silent; otherwise the same."
    )
    from_pretrained: str | None = option(
        None, "Weights of this part alone, or of a whole autoencoder; as in from_pretrained above."
    )
    in_out_channels: int = option(4, "Channels of the image latents, 1 or more.", validator=ge(1))
    latent_embed_dim: int = option(4, "Channels between encoder and decoder, 1 or more.", validator=ge(1))
    embed_dim: int = option(4, "Channels of the latents, 1 or more.", validator=ge(1))
    filters: int = option(128, "Width at the first level, a multiple of num_groups.", validator=ge(1))
    num_res_blocks: int = option(4, "Residual blocks per level, 1 or more.", validator=ge(1))
    channel_multipliers: tuple[int, ...] = option(
        (1, 2, 2, 4), "Width of each level over filters.", validator=and_(min_len(1), deep_iterable(ge(1)))
    )
    temporal_downsample: tuple[bool, ...] | None = option(
        None,
        "Between which levels frames are halved, one value fewer than levels; null: [false, true, true] of "
        "VAE_Temporal_SD, [true, true, false] of VAE_Temporal.",
    )
    num_groups: int = option(32, "Groups of the normalisations; divides every width.", validator=ge(1))
    activation_fn: Literal["swish", "relu"] = option("swish", "Activation after normalisations.")

    def halved(self) -> tuple[bool, ...]:
        """Between which levels frames are halved."""
        return HALVED[self.type] if self.temporal_downsample is None else self.temporal_downsample

    def problems(self) -> Iterator[Problem]:
        """What is wrong between keys."""
        between = len(self.channel_multipliers) - 1
        if len(self.halved()) != between:
            text = f"has {len(self.halved())} values, but {between + 1} channel_multipliers have {between} between them"
            yield Problem(("temporal_downsample",), text, ("say of each whether frames are halved there",))
        widths = sorted({self.filters * multiplier for multiplier in (1, *self.channel_multipliers)})
        wrong = [str(width) for width in widths if width % self.num_groups]
        if wrong:
            hint = "widths are filters times channel_multipliers"
            yield Problem(
                ("num_groups",), f"{self.num_groups} does not divide a width of {' or '.join(wrong)}", (hint,)
            )


@frozen(kw_only=True)
class PipelineOptions:
    """Keys allowed beside `type: VideoAutoencoderPipeline`."""

    from_pretrained: str | None = option(
        None,
        "Weights of both parts: a file, a folder, a checkpoint, or a Hugging Face id; those of vae_2d and vae_temporal "
        "are then not asked for. null: theirs, or start values.",
    )
    force_huggingface: bool = option(False, "Take from_pretrained for a Hugging Face id even where such a path exists.")
    vae_2d: SpatialOptions = option(SpatialOptions(), "The image autoencoder of single frames.")
    vae_temporal: TemporalOptions = option(TemporalOptions(), "The temporal autoencoder of their latents.")
    freeze_vae_2d: bool = option(False, "Keep the image autoencoder fixed in training.")
    cal_loss: bool = option(False, "Accepted for old configurations; no effect: a job asks for the parts it compares.")
    micro_frame_size: int | None = option(
        None,
        "Frames per piece, 1 or more, worked on alone from start to end; null: whole clips.",
        validator=optional(ge(1)),
    )
    dtype: Dtype = dtype_option()
    shift: float | tuple[float, ...] = option(0.0, "Taken off latents, one number or one per channel.")
    scale: float | tuple[float, ...] = option(1.0, "Latents are then divided by it, one number or one per channel.")

    def problems(self) -> Iterator[Problem]:
        """What is wrong between keys."""
        channels = self.vae_temporal.embed_dim
        for name, value in (("shift", self.shift), ("scale", self.scale)):
            if isinstance(value, tuple) and len(value) != channels:
                hint = "give one number per channel (vae_temporal.embed_dim), or a single one"
                yield Problem((name,), f"has {len(value)} numbers, but latents have {channels} channels", (hint,))
        if 0 in (self.scale if isinstance(self.scale, tuple) else (self.scale,)):
            yield Problem(("scale",), "latents are divided by it: no number can be 0")


@frozen(kw_only=True)
class OpenSoraVAEOptions(PipelineOptions):
    """Keys allowed beside `type: OpenSoraVAE_V1_2`."""

    micro_frame_size: int | None = option(
        17,
        "Frames per piece, 1 or more, worked on alone from start to end; null: whole clips.",
        validator=optional(ge(1)),
    )
    micro_batch_size: int | None = option(
        4,
        "vae_2d.micro_batch_size, which it replaces unless null: frames worked on at a time.",
        validator=optional(ge(1)),
    )
    shift: float | tuple[float, ...] = option(SHIFT, "Taken off latents, one number or one per channel.")
    scale: float | tuple[float, ...] = option(SCALE, "Latents are then divided by it, one number or one per channel.")


@hookimpl
def vidgen_autoencoders() -> Iterable[Component]:
    """List the autoencoders of this plugin."""
    yield Component(
        name="OpenSoraVAE_V1_2",
        summary="Open-Sora 1.2's autoencoder: 4x in frames, 8x in rows and columns, 393 million parameters.",
        options=OpenSoraVAEOptions,
        factory="vidgen_opensora_vae.build:build_opensora_vae",
    )
    yield Component(
        name="VideoAutoencoderPipeline",
        summary="An image autoencoder and a causal temporal one behind it, every size free: to train one's own.",
        options=PipelineOptions,
        factory="vidgen_opensora_vae.build:build",
    )
