"""What weights are of, told by their entries."""

from collections.abc import Sequence

from attrs import frozen

QKV = "attn.qkv.weight"
CROSS = "blocks.0.cross_attn.q_linear.weight"
TEMPORAL = "blocks.0.attn_temp.qkv.weight"
MODULATION = "blocks.0.adaLN_modulation.1.weight"
DIFFUSERS_CROSS = "transformer_blocks.0.attn2.to_q.weight"
DIFFUSERS_PATCH = "pos_embed.proj.weight"


@frozen(kw_only=True)
class Family:
    """A kind of network. type: its name in vidgen. marks: entries all of which it has; lacks: entries of which it has
    none. blocks: beginning of its blocks' names. config_classes: what its config.json may say of its class."""

    kind: str = "model"
    type: str
    marks: tuple[str, ...]
    lacks: tuple[str, ...] = ()
    blocks: str = "blocks"
    config_classes: tuple[str, ...] = ()


FAMILIES: Sequence[Family] = (
    Family(
        type="STDiT3",
        marks=("temporal_blocks.0.attn.qkv.weight", "spatial_blocks.0.attn.qkv.weight"),
        blocks="spatial_blocks",
        config_classes=("STDiT3",),
    ),
    Family(type="STDiT2", marks=(TEMPORAL, "fl_embedder.mlp.0.weight"), config_classes=("STDiT2",)),
    Family(type="STDiT", marks=(TEMPORAL,), config_classes=("STDiT",)),
    Family(type="PixArtMS", marks=(CROSS, "csize_embedder.mlp.0.weight")),
    Family(type="PixArt", marks=(CROSS,)),
    Family(type="Latte", marks=(MODULATION, "temp_embed")),
    Family(type="DiT", marks=(MODULATION,), lacks=("pos_embed_temporal",)),
    Family(
        type="DiT",
        marks=("transformer_blocks.0.norm1.emb.class_embedder.embedding_table.weight",),
        config_classes=("DiTTransformer2DModel",),
    ),
    Family(
        type="OpenSoraInpaint_v1_3",
        marks=("pos_embed_masked_hidden_states.0.proj.weight",),
        config_classes=("OpenSoraInpaint_v1_3",),
    ),
    Family(
        type="Latte-1",
        marks=("temporal_transformer_blocks.0.attn1.to_q.weight", DIFFUSERS_CROSS),
        config_classes=("LatteTransformer3DModel",),
    ),
    Family(
        type="PixArtMS",
        marks=(DIFFUSERS_CROSS, DIFFUSERS_PATCH, "adaln_single.emb.resolution_embedder.linear_1.weight"),
    ),
    Family(
        type="PixArt",
        marks=(DIFFUSERS_CROSS, DIFFUSERS_PATCH),
        config_classes=("PixArtTransformer2DModel", "Transformer2DModel"),
    ),
    Family(
        kind="autoencoder",
        type="OpenSoraVAE_V1_2",
        marks=("spatial_vae.module.encoder.conv_in.weight", "temporal_vae.encoder.conv_in.conv.weight"),
    ),
    Family(kind="autoencoder", type="WFVAE", marks=("encoder.down1.0.weight",), config_classes=("WFVAEModel",)),
    Family(kind="autoencoder", type="VideoAutoencoderKL", marks=("encoder.down_blocks.0.resnets.0.conv1.weight",)),
    Family(
        kind="autoencoder", type="VideoAutoencoderKL", marks=("module.encoder.down_blocks.0.resnets.0.conv1.weight",)
    ),
)
"""In the order in which they are tried: the first that fits is it."""

OPEN_SORA_PLAN = Family(
    type="OpenSoraT2V_v1_3", marks=(DIFFUSERS_CROSS, DIFFUSERS_PATCH), config_classes=("OpenSoraT2V_v1_3",)
)
OPEN_SORA_PLAN_WIDTH = 2304
"""Its entries are called as those of diffusers' PixArt, and of this width."""

HEADS = {384: 6, 768: 12, 1024: 16, 1152: 16, 1872: 26}
"""Width of a published size -> attention heads, which weights do not tell."""

OWN_NAMES = {
    "OpenSoraT2V_v1_3": ("original",),
    "OpenSoraInpaint_v1_3": ("original",),
    "OpenSoraVAE_V1_2": ("opensora",),
    "WFVAE": ("original",),
}
"""Beginning of a type's name -> layouts whose names are vidgen's own."""

WRAPPED = {"PixArt": "state_dict", "Latte": "ema"}
"""Beginning of a type's name -> entry of a .pt or .pth file in which its original project looks for weights."""
