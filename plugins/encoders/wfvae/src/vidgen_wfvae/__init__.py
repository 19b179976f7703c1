"""WF-VAE: an autoencoder of videos along a pyramid of wavelets (arXiv 2411.17459), Open-Sora-Plan's since 1.3.

Offers the autoencoders `WFVAE` (every size free), `WFVAE-8dim` and `WFVAE-4dim`. Read whenever vidgen starts, so it
holds only names and options; the network lives in `vidgen_wfvae.encoder`, `.decoder` and `.autoencoder`.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

from attrs import frozen
from attrs.validators import and_, ge, lt, optional
from vidgen import Component, hookimpl, option
from vidgen.component import preset
from vidgen.errors import Problem
from vidgen_autoencoders.options import SCALING_FACTOR, Dtype, dtype_option

GROUPS = 32
"""Groups of a group norm; divides every width."""
SWITCHES = {
    "l1_dowmsample_block": ("Downsample", "Spatial2xTime2x3DDownsample"),
    "l1_downsample_wavelet": ("HaarWaveletTransform2D", "HaarWaveletTransform3D"),
    "l1_upsample_block": ("Upsample", "Spatial2xTime2x3DUpsample"),
    "l1_upsample_wavelet": ("InverseHaarWaveletTransform2D", "InverseHaarWaveletTransform3D"),
}
"""Keys -> their values for 4 and for 8 video frames per latent frame."""
STRIDES = (4, 8)


@frozen(kw_only=True)
class NetworkOptions:
    """The network, its keys named as in Open-Sora-Plan's `config.json`."""

    latent_dim: int = option(8, "Channels of the latents, 1 or more.", validator=ge(1))
    base_channels: int = option(
        128, "Width of the outermost layers; inner ones have 2 and 4 times it.", validator=ge(1)
    )
    encoder_num_resblocks: int = option(2, "Residual blocks before each halving, 1 or more.", validator=ge(1))
    decoder_num_resblocks: int = option(2, "Residual blocks before each doubling, 1 or more.", validator=ge(1))
    encoder_energy_flow_hidden_size: int = option(
        64, "Width at which wavelets of the wavelets enter the encoder, 1 or more.", validator=ge(1)
    )
    decoder_energy_flow_hidden_size: int = option(
        128, "Width at which they leave the decoder; has to be base_channels.", validator=ge(1)
    )
    connect_res_layer_num: int = option(
        1, "Residual blocks through which each of them leaves the decoder, 0 or more.", validator=ge(0)
    )
    use_attention: bool = option(True, "Attention within each frame where frames are smallest.")
    norm_type: Literal["groupnorm", "layernorm"] = option(
        "groupnorm",
        "groupnorm: 32 groups, statistics over all frames; layernorm: over the channels of each position.",
    )
    t_interpolation: Literal["nearest", "trilinear"] = option(
        "nearest",
        "How the decoder's first doubling makes frames; one of 8 frames per latent takes trilinear for its last.",
    )
    dropout: float = option(
        0.0, "Share of values dropped in residual blocks in training, below 1.", validator=and_(ge(0), lt(1))
    )
    l1_dowmsample_block: Literal["Downsample", "Spatial2xTime2x3DDownsample"] = option(
        "Downsample",
        "The encoder's first halving: of rows and columns, or of frames too. The four keys l1_... go together: as they "
        "are, a latent stands for 4 frames; each with its other value, for 8.",
    )
    l1_downsample_wavelet: Literal["HaarWaveletTransform2D", "HaarWaveletTransform3D"] = option(
        "HaarWaveletTransform2D", "The wavelet beside it."
    )
    l1_upsample_block: Literal["Upsample", "Spatial2xTime2x3DUpsample"] = option(
        "Upsample", "The decoder's last doubling."
    )
    l1_upsample_wavelet: Literal["InverseHaarWaveletTransform2D", "InverseHaarWaveletTransform3D"] = option(
        "InverseHaarWaveletTransform2D", "The wavelet beside it."
    )
    l2_dowmsample_block: Literal["Spatial2xTime2x3DDownsample"] = option(
        "Spatial2xTime2x3DDownsample", "The encoder's second halving; there is one kind."
    )
    l2_downsample_wavelet: Literal["HaarWaveletTransform3D"] = option(
        "HaarWaveletTransform3D", "The wavelet beside it; there is one kind."
    )
    l2_upsample_block: Literal["Spatial2xTime2x3DUpsample"] = option(
        "Spatial2xTime2x3DUpsample", "The decoder's first doubling; there is one kind."
    )
    l2_upsample_wavelet: Literal["InverseHaarWaveletTransform3D"] = option(
        "InverseHaarWaveletTransform3D", "The wavelet beside it; there is one kind."
    )
    scale: float | tuple[float, ...] = option(
        SCALING_FACTOR, "Latents are multiplied by it, one number or one per channel, none of them 0."
    )
    shift: float | tuple[float, ...] = option(0.0, "Taken off latents before that, one number or one per channel.")

    def frames_per_latent(self) -> int:
        """4 or 8, where the switches agree."""
        return STRIDES[SWITCHES["l1_upsample_block"].index(self.l1_upsample_block)]

    def network_problems(self) -> Iterator[Problem]:
        """What is wrong between keys."""
        yield from self._width_problems()
        yield from self._switch_problems()
        for name, value in (("scale", self.scale), ("shift", self.shift)):
            if isinstance(value, tuple) and len(value) != self.latent_dim:
                hint = "give one number per channel, or a single one"
                yield Problem((name,), f"has {len(value)} numbers, but latent_dim is {self.latent_dim}", (hint,))
        if 0 in (self.scale if isinstance(self.scale, tuple) else (self.scale,)):
            yield Problem(("scale",), "latents are divided by it again: no number can be 0")

    def _width_problems(self) -> Iterator[Problem]:
        base, given = self.base_channels, self.decoder_energy_flow_hidden_size
        if given != base:
            text = f"is {given}, but base_channels is {base}; the decoder splits its layers by both"
            yield Problem(("decoder_energy_flow_hidden_size",), text, (f"set it to {base}",))
        entering = 2 * base + self.encoder_energy_flow_hidden_size
        wrong = [str(width) for width in (base, entering) if width % GROUPS]
        if self.norm_type == "groupnorm" and wrong:
            text = f"groupnorm has {GROUPS} groups, which do not divide a width of {' or '.join(wrong)}"
            hint = "widths are base_channels and 2 * base_channels + encoder_energy_flow_hidden_size; or take layernorm"
            yield Problem(("norm_type",), text, (hint,))

    def _switch_problems(self) -> Iterator[Problem]:
        chosen = {key: values.index(getattr(self, key)) for key, values in SWITCHES.items()}
        if len(set(chosen.values())) > 1:
            keys = [key for key, place in chosen.items() if place]
            text = f"{', '.join(keys)} would make a latent stand for 8 frames, the other keys l1_... for 4"
            hint = "; ".join(f"{key}: {values[1]}" for key, values in SWITCHES.items())
            yield Problem((keys[0],), text, (f"for 8 frames: {hint}", "for 4: leave all four out"))


@frozen(kw_only=True)
class WFVAEOptions(NetworkOptions):
    """Keys allowed beside `type: WFVAE`."""

    from_pretrained: str | None = option(
        None,
        "A folder with weights and config.json, a file of weights, a checkpoint, or a Hugging Face id; config.json "
        "decides all keys of the network that are left at their defaults. null: start values.",
    )
    subfolder: str | None = option(None, "Folder inside from_pretrained in which the autoencoder lies, such as vae.")
    force_huggingface: bool = option(False, "Take from_pretrained for a Hugging Face id even where such a path exists.")
    tiling: bool = option(
        False,
        "Go through clips in chunks of frames, each beginning where the last one ended, so that memory does not grow "
        "with length. With layernorm results are the same; with groupnorm statistics are those of a chunk.",
    )
    t_chunk_enc: int | None = option(
        None,
        "With tiling, chunks of the encoder after the first frame, counted in pairs of video frames; a multiple of 2, "
        "or of 4 where a latent stands for 8 frames. null: 16, with save_memory 8.",
        validator=optional(ge(2)),
    )
    t_chunk_dec: int | None = option(
        None, "With tiling, latent frames per chunk of the decoder after the first one. null: 4.",
        validator=optional(ge(1)),
    )  # fmt: skip
    save_memory: bool = option(False, "tiling, in smaller chunks.")
    micro_batch_size: int | None = option(
        None, "Clips worked on at a time, 1 or more; null: all. Changes memory, not results.", validator=optional(ge(1))
    )
    dtype: Dtype = dtype_option()

    def problems(self) -> Iterator[Problem]:
        """What is wrong between keys; of a published network its config.json has a say, and it is looked at later."""
        if self.from_pretrained is None:
            yield from self.network_problems()
            yield from self.chunk_problems()

    def chunk_problems(self) -> Iterator[Problem]:
        """Chunks of the encoder that would cut through a latent."""
        step = self.frames_per_latent() // 2
        if self.t_chunk_enc is not None and self.t_chunk_enc % step:
            below = self.t_chunk_enc // step * step
            text = f"is {self.t_chunk_enc}, which holds no whole number of latents of {2 * step} frames"
            hint = f"nearest: {below} or {below + step}" if below else f"nearest: {step}"
            yield Problem(("t_chunk_enc",), text, (hint,))


PUBLISHED = {"norm_type": "layernorm", "t_interpolation": "trilinear"}
EightOptions = preset(WFVAEOptions, "EightOptions", **PUBLISHED)
FourOptions = preset(WFVAEOptions, "FourOptions", **PUBLISHED, latent_dim=4, encoder_energy_flow_hidden_size=128)


@hookimpl
def vidgen_autoencoders() -> Iterable[Component]:
    """List the autoencoders of this plugin."""
    yield _component("WFVAE", "WF-VAE with every size free, 4x or 8x in frames, 8x in rows and columns.", WFVAEOptions)
    yield _component("WFVAE-8dim", "Open-Sora-Plan 1.3's autoencoder: 8 channels, 4x8x8, 146 million.", EightOptions)
    yield _component("WFVAE-4dim", "The same with 4 channels and a wider flow of wavelets, 4x8x8.", FourOptions)


def _component(name: str, summary: str, options: type) -> Component:
    return Component(name=name, summary=summary, options=options, factory="vidgen_wfvae.build:build")
