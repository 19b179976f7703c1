"""Published weights in other layouts, to the names and shapes of PixArt and back.

Three layouts are known, told apart by their entries: the video form (vidgen's own, and Open-Sora's), the image form of
PixArt-alpha's and PixArt-Sigma's own code (2-D patches, the same names), and that of diffusers'
PixArtTransformer2DModel (separate queries, keys and values, no null caption).
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from vidgen import UserError
from vidgen.weights import Converted, State
from vidgen_layers.checks import Widths
from vidgen_layers.published import (
    CAPTIONED_BLOCK,
    NULL_CAPTION,
    PATCH,
    sizes_in,
    with_null_caption_of,
    with_time_axis,
    without,
)

from vidgen_pixart import KvCompression, PixArtOptions

TABLES = "pos_embed"  # and pos_embed_temporal: worked out from the options, never loaded
TIME_TABLE = "pos_embed_temporal"
DIFFUSERS_CLASSES = ("PixArtTransformer2DModel", "Transformer2DModel")
DIFFUSERS_DEFAULTS: Mapping[str, Any] = {
    "num_layers": 28,
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "in_channels": 4,
    "out_channels": 8,
    "patch_size": 2,
    "sample_size": 128,
    "caption_channels": None,
    "interpolation_scale": None,
    "use_additional_conditions": None,
}
DIFFUSERS_PATCH = "pos_embed.proj.weight"
EMBEDDERS = "adaln_single.emb"

OUTER = {
    "x_embedder.proj": "pos_embed.proj",
    "t_embedder.mlp.0": f"{EMBEDDERS}.timestep_embedder.linear_1",
    "t_embedder.mlp.2": f"{EMBEDDERS}.timestep_embedder.linear_2",
    "csize_embedder.mlp.0": f"{EMBEDDERS}.resolution_embedder.linear_1",
    "csize_embedder.mlp.2": f"{EMBEDDERS}.resolution_embedder.linear_2",
    "ar_embedder.mlp.0": f"{EMBEDDERS}.aspect_ratio_embedder.linear_1",
    "ar_embedder.mlp.2": f"{EMBEDDERS}.aspect_ratio_embedder.linear_2",
    "t_block.1": "adaln_single.linear",
    "y_embedder.y_proj.fc1": "caption_projection.linear_1",
    "y_embedder.y_proj.fc2": "caption_projection.linear_2",
    "final_layer.linear": "proj_out",
    "final_layer": "",  # its scale_shift_table
}
"""vidgen's layer -> diffusers'."""


def to_pixart(state: State, own: State) -> Converted:
    """From any of the three layouts. Position tables are dropped, the null caption is cut, or lengthened by its last
    row."""
    if DIFFUSERS_PATCH in state:
        return _from_diffusers(state, own)
    image = PATCH in state and state[PATCH].ndim == 4
    return Converted(
        state=with_null_caption_of(with_time_axis(without(state, TABLES)), len(own[NULL_CAPTION])),
        layout="the PixArt image model" if image else "",
        fresh=(f"{TABLES}*",),
    )


def in_layout(layout: str, state: State, options: PixArtOptions) -> State:
    """The model's state dict in the image form `original`, or that of `diffusers`.

    Raises: UserError, when the layout is another one, or lacks something that the model has.
    """
    lacking = {"original": _not_in_original, "diffusers": _not_in_diffusers}
    if layout not in lacking:
        raise UserError(f"PixArt's weights are written as {' or '.join(lacking)}, not {layout!r}")
    obstacle = lacking[layout](options)
    if obstacle:
        raise UserError(f"this PixArt cannot be written in the layout {layout!r}, which has no {obstacle}")
    image = {**without(state, TIME_TABLE), PATCH: state[PATCH].squeeze(2)}
    return image if layout == "original" else _to_diffusers(without(image, TABLES, NULL_CAPTION))


def options_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a `config.json` names, in vidgen's form or in diffusers', which leaves some to its defaults."""
    if config.get("_class_name") not in DIFFUSERS_CLASSES:
        compression = config.get("kv_compress_config")
        return {**config, "kv_compress_config": KvCompression(**compression) if compression else None}
    told = {**DIFFUSERS_DEFAULTS, **config}
    side, conditioned = told["sample_size"], told["use_additional_conditions"]
    return {
        **sizes_in(told),
        "pred_sigma": told["out_channels"] == 2 * told["in_channels"],
        "caption_channels": told["caption_channels"],
        "base_size": side,
        "space_scale": float(told["interpolation_scale"] or max(side // 64, 1)),
        "micro_condition": side == 128 if conditioned is None else conditioned,
        "no_temporal_pos_emb": True,
    }


def config_in(layout: str, options: PixArtOptions, widths: Widths, side: int) -> Mapping[str, Any]:
    """The `config.json` beside the weights: diffusers' has one, the original layout none. side: latent rows of the
    square to which positions refer."""
    if layout != "diffusers":
        return {}
    return {
        "_class_name": DIFFUSERS_CLASSES[0],
        "num_layers": options.depth,
        "num_attention_heads": options.num_heads,
        "attention_head_dim": options.hidden_size // options.num_heads,
        "in_channels": widths.latents,
        "out_channels": widths.latents * (2 if options.pred_sigma else 1),
        "patch_size": options.patch_size[1],
        "sample_size": side,
        "interpolation_scale": options.space_scale,
        "use_additional_conditions": options.micro_condition,
        "caption_channels": widths.caption,
        "cross_attention_dim": options.hidden_size,
        "attention_bias": True,
        "activation_fn": "gelu-approximate",
        "norm_type": "ada_norm_single",
        "num_embeds_ada_norm": 1000,
        "norm_elementwise_affine": False,
        "norm_eps": 1e-6,
        "dropout": 0.0,
        "upcast_attention": False,
    }


def _from_diffusers(state: State, own: State) -> Converted:
    converted, left = {}, dict(state)
    for name in without(own, TABLES, NULL_CAPTION):
        theirs = _names_in_diffusers(name)
        if all(part in state for part in theirs):
            parts = [left.pop(part) for part in theirs]
            converted[name] = torch.cat(parts) if len(parts) > 1 else parts[0]
    return Converted(
        state=with_time_axis({**converted, **left}),
        layout="diffusers",
        fresh=(f"{TABLES}*", NULL_CAPTION),
        dropped=("pos_embed.pos_embed",),
        notes=("this layout has no null caption, so one is drawn: for guidance, give a negative_prompt, '' for none",),
    )


def _to_diffusers(state: State) -> State:
    written = {}
    for name, value in state.items():
        theirs = _names_in_diffusers(name)
        parts = value.chunk(len(theirs)) if len(theirs) > 1 else [value]
        # copies, since files of safetensors hold no two entries that share memory
        written.update({part: one.clone() if len(theirs) > 1 else one for part, one in zip(theirs, parts, strict=True)})
    return written


def _names_in_diffusers(name: str) -> tuple[str, ...]:
    """`blocks.3.attn.proj.weight` -> (`transformer_blocks.3.attn1.to_out.0.weight`,); names without a counterpart stay
    as they are."""
    block = re.fullmatch(r"blocks\.(\d+)\.(?:(.+)\.)?(\w+)", name)
    if block:
        number, layer, leaf = block[1], block[2] or "", block[3]
        parts = CAPTIONED_BLOCK.get(layer, (layer,))
        return tuple(_joined(f"transformer_blocks.{number}", part, leaf) for part in parts)
    layer, _, leaf = name.rpartition(".")
    return (_joined(OUTER.get(layer, layer), leaf),)


def _joined(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def _not_in_original(options: PixArtOptions) -> str:
    """What the image model cannot be told; empty when there is nothing."""
    frames, rows, columns = options.patch_size
    if frames > 1 or rows != columns:
        return f"patches of {list(options.patch_size)}: one latent frame, and as many rows as columns"
    if not options.no_temporal_pos_emb:
        return "positions of frames: set no_temporal_pos_emb"
    if options.qk_norm and options.qk_norm_over == "heads":
        return "normalisation of queries and keys per head"
    return ""


def _not_in_diffusers(options: PixArtOptions) -> str:
    config = options.kv_compress_config
    if config is not None and config.scale_factor > 1 and config.kv_compress_layer:
        return "compressed keys"
    return "normalised queries and keys" if options.qk_norm else _not_in_original(options)
