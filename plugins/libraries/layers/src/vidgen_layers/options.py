"""Options that every model has. Imports no torch: plugins read it whenever vidgen starts."""

from attrs import frozen
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
