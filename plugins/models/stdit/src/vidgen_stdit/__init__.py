"""STDiT: video transformers that attend over space and over time in turn (Open-Sora 1.0 to 1.2).

Offers the models `STDiT` (every size free) and `STDiT-XL/2`. Read whenever vidgen starts, so it holds only names and
options; the network lives in `vidgen_stdit.model`.
"""

from collections.abc import Iterable
from typing import Literal

from attrs import frozen
from attrs.validators import and_, ge, gt, le, lt
from vidgen import Component, hookimpl, option


@frozen(kw_only=True)
class STDiTOptions:
    """Keys allowed beside `type: STDiT`, named as in Open-Sora; the defaults are STDiT-XL/2."""

    input_size: tuple[int, int, int] | None = option(
        None, "Latent frames, rows and columns of every clip; null: the recipe's, or [1, 32, 32] when built alone."
    )
    in_channels: int | None = option(None, "Latent channels; null: the autoencoder's, or 4 when built alone.")
    patch_size: tuple[int, int, int] = option((1, 2, 2), "Latent frames, rows and columns per token.")
    hidden_size: int = option(1152, "Width of a token; a multiple of 4 and of num_heads.", validator=ge(4))
    depth: int = option(28, "Number of blocks.", validator=ge(1))
    num_heads: int = option(16, "Attention heads; divides hidden_size.", validator=ge(1))
    mlp_ratio: float = option(4.0, "Hidden width of a block's MLP over hidden_size, above 0.", validator=gt(0))
    class_dropout_prob: float = option(
        0.1, "How often a training caption is replaced by the null caption, 0 to 1.", validator=and_(ge(0), le(1))
    )
    pred_sigma: bool = option(True, "Predict a variance too: twice in_channels come out.")
    drop_path: float = option(
        0.0, "Stochastic depth of the last block, 0 to below 1; rises linearly from 0.", validator=and_(ge(0), lt(1))
    )
    no_temporal_pos_emb: bool = option(False, "Accepted for old configurations; no effect, as in Open-Sora.")
    caption_channels: int | None = option(
        None, "Width of the caption features; null: the text encoder's, or 4096 when built alone."
    )
    model_max_length: int | None = option(
        None, "Tokens of the null caption; null: the text encoder's length, or 120 when built alone."
    )
    space_scale: float = option(
        1.0, "Divides rows and columns in the position table; 0.5 continues a 256-pixel image model.", validator=gt(0)
    )
    time_scale: float = option(1.0, "Divides frames in the temporal position table.", validator=gt(0))
    freeze: Literal["not_temporal", "text"] | None = option(
        None, "not_temporal: train the temporal attention alone; text: keep the cross attention fixed."
    )
    from_pretrained: str | None = option(
        None, "Weights to start from: a .safetensors or .pt file or a checkpoint folder, STDiT's or PixArt-alpha's."
    )
    enable_flash_attn: bool = option(False, "Accepted for old configurations; no effect, see the attention plugins.")
    enable_layernorm_kernel: bool = option(False, "Accepted for old configurations; no effect.")


@hookimpl
def vidgen_models() -> Iterable[Component]:
    """List the models of this plugin."""
    yield Component(
        name="STDiT",
        summary="STDiT of Open-Sora 1.0, any size: fixed clip size, spatial and temporal attention in every block.",
        options=STDiTOptions,
        factory="vidgen_stdit.model:build",
    )
    yield Component(
        name="STDiT-XL/2",
        summary="STDiT of Open-Sora 1.0 with 28 blocks of width 1152, 760 million parameters.",
        options=STDiTOptions,
        factory="vidgen_stdit.model:build",
    )
