"""Options that every model has. Imports no torch: plugins read it whenever vidgen starts."""

from attrs import frozen
from attrs.validators import and_, ge, gt, le
from vidgen import option


@frozen(kw_only=True)
class WeightOptions:
    """Where a model's weights come from, and switches of older configurations."""

    from_pretrained: str | None = option(
        None,
        "Weights to start from: a .safetensors, .pt, .pth or .bin file, a folder of weights, a checkpoint, or a "
        "Hugging Face id such as org/name or org/name@revision.",
    )
    force_huggingface: bool = option(False, "Take from_pretrained for a Hugging Face id even where such a path exists.")
    allow_partial: list[str] = option(
        [],
        "Patterns of entries (blocks.*.attn_temp.*, or * for all) that may be missing in from_pretrained, left over or "
        "of another shape; they keep their start values.",
    )
    enable_flash_attn: bool = option(
        False, "Accepted for old configurations; no effect: the recipe's `attention` chooses the kernels."
    )
    enable_layernorm_kernel: bool = option(False, "Accepted for old configurations; no effect.")


@frozen(kw_only=True)
class TransformerOptions(WeightOptions):
    """What every transformer over patches has, named as in Open-Sora; the defaults are the size XL/2."""

    in_channels: int | None = option(None, "Latent channels; null: the autoencoder's, or 4 when built alone.")
    patch_size: tuple[int, int, int] = option((1, 2, 2), "Latent frames, rows and columns per token.")
    hidden_size: int = option(
        1152, "Width of a token; a multiple of num_heads and of 4 (12 in STDiT2).", validator=ge(4)
    )
    depth: int = option(28, "Number of blocks; of pairs of blocks in STDiT3.", validator=ge(1))
    num_heads: int = option(16, "Attention heads; divides hidden_size.", validator=ge(1))
    mlp_ratio: float = option(4.0, "Hidden width of a block's MLP over hidden_size, above 0.", validator=gt(0))
    class_dropout_prob: float = option(
        0.1,
        "How often a training caption or class is replaced by the null one, 0 to 1; with 0 there is no null class.",
        validator=and_(ge(0), le(1)),
    )
