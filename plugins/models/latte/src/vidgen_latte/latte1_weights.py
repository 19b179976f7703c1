"""Weights of Latte-1 in the layout of diffusers' LatteTransformer3DModel, as they are published, there and back."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from vidgen import UserError
from vidgen.weights import Converted, State
from vidgen_layers.checks import Size3
from vidgen_layers.published import CAPTIONED_BLOCK, PATCH, sizes_in, with_time_axis, without

from vidgen_latte import Latte1Options

LAYOUTS = ("diffusers",)
DIFFUSERS_CLASS = "LatteTransformer3DModel"
DIFFUSERS_DEFAULTS: Mapping[str, Any] = {
    "num_layers": 28,
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "in_channels": 4,
    "out_channels": 8,
    "patch_size": 2,
    "sample_size": 64,
    "video_length": 16,
    "caption_channels": 4096,
}
TABLES = "pos_embed"  # and pos_embed_temporal: worked out from the options, never loaded
DIFFUSERS_PATCH = "pos_embed.proj.weight"
TABLES_THERE = ("pos_embed.pos_embed", "temp_pos_embed")

OUTER = {
    "x_embedder.proj": "pos_embed.proj",
    "t_embedder.mlp.0": "adaln_single.emb.timestep_embedder.linear_1",
    "t_embedder.mlp.2": "adaln_single.emb.timestep_embedder.linear_2",
    "t_block.1": "adaln_single.linear",
    "y_proj.fc1": "caption_projection.linear_1",
    "y_proj.fc2": "caption_projection.linear_2",
    "final_layer.linear": "proj_out",
    "final_layer": "",  # its scale_shift_table
}
"""vidgen's layer -> diffusers'."""
BLOCKS = {"spatial_blocks": "transformer_blocks", "temporal_blocks": "temporal_transformer_blocks"}


def to_latte1(state: State, own: State) -> Converted:
    """From a Latte-1 in vidgen's names, or from diffusers' class. Position tables stay the model's own."""
    if DIFFUSERS_PATCH not in state:
        return Converted(state=without(state, TABLES), fresh=(f"{TABLES}*",))
    converted, left = {}, {name: value for name, value in state.items() if name not in TABLES_THERE}
    for name in without(own, TABLES):
        theirs = _names_in_diffusers(name)
        if all(part in left for part in theirs):
            parts = [left.pop(part) for part in theirs]
            converted[name] = torch.cat(parts) if len(parts) > 1 else parts[0]
    return Converted(state=with_time_axis({**converted, **left}), layout="diffusers", fresh=(f"{TABLES}*",))


def options_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options that a `config.json` names, in vidgen's form or in diffusers', which leaves some to its defaults."""
    if config.get("_class_name") != DIFFUSERS_CLASS:
        return config
    told = {**DIFFUSERS_DEFAULTS, **config}
    return {
        **sizes_in(told),
        "learn_sigma": told["out_channels"] == 2 * told["in_channels"],
        "caption_channels": told["caption_channels"],
        "space_scale": float(max(told["sample_size"] // 64, 1)),
    }


def config_in(options: Latte1Options, *, channels: int, caption: int, size: Size3) -> Mapping[str, Any]:
    """The `config.json` beside diffusers' weights. channels: of the latents; caption: of the caption features."""
    return {
        "_class_name": DIFFUSERS_CLASS,
        "num_layers": options.depth,
        "num_attention_heads": options.num_heads,
        "attention_head_dim": options.hidden_size // options.num_heads,
        "cross_attention_dim": options.hidden_size,
        "in_channels": channels,
        "out_channels": channels * (2 if options.learn_sigma else 1),
        "patch_size": options.patch_size[1],
        "sample_size": size[1],
        "video_length": size[0],
        "caption_channels": caption,
        "attention_bias": True,
        "activation_fn": "gelu-approximate",
        "norm_type": "ada_norm_single",
        "num_embeds_ada_norm": 1000,
        "norm_elementwise_affine": False,
        "norm_eps": 1e-6,
        "dropout": 0.0,
    }


def in_layout(layout: str, state: State, options: Latte1Options, size: Size3) -> State:
    """The model's state dict in one of `LAYOUTS`. size: latent frames, rows and columns.

    Raises: UserError, when there is no such layout or it has no place for a model of this form.
    """
    if layout not in LAYOUTS:
        raise UserError(f"Latte-1's weights are written as {', '.join(LAYOUTS)}, not {layout!r}")
    patch, scale = options.patch_size, float(max(size[1] // 64, 1))
    needs = {
        f"square patches of one frame, not {list(patch)}": patch == (1, patch[1], patch[1]),
        f"as many rows as columns, not {size[1]} and {size[2]}": size[1] == size[2],
        f"an mlp_ratio of 4, not {options.mlp_ratio}": options.mlp_ratio == 4,
        f"a space_scale of {scale} at {size[1]} rows, not {options.space_scale}": options.space_scale == scale,
    }
    faults = [need for need, met in needs.items() if not met]
    if faults:
        raise UserError(f"the {layout} layout has no place for this Latte-1: it takes {'; '.join(faults)}")
    return _to_diffusers({**without(state, TABLES), PATCH: state[PATCH].squeeze(2)})


def _to_diffusers(state: State) -> State:
    written: State = {}
    for name, value in state.items():
        theirs = _names_in_diffusers(name)
        # copies, since files of safetensors hold no two entries that share memory
        written |= {part: one.clone() for part, one in zip(theirs, value.chunk(len(theirs)), strict=True)}
    return written


def _names_in_diffusers(name: str) -> tuple[str, ...]:
    """`temporal_blocks.3.attn.proj.weight` -> (`temporal_transformer_blocks.3.attn1.to_out.0.weight`,)."""
    block = re.fullmatch(r"(\w+_blocks)\.(\d+)\.(?:(.+)\.)?(\w+)", name)
    if block and block[1] in BLOCKS:
        kind, number, layer, leaf = block[1], block[2], block[3] or "", block[4]
        return tuple(_joined(BLOCKS[kind], number, part, leaf) for part in CAPTIONED_BLOCK.get(layer, (layer,)))
    layer, _, leaf = name.rpartition(".")
    return (_joined(OUTER.get(layer, layer), leaf),)


def _joined(*parts: str) -> str:
    return ".".join(part for part in parts if part)
