"""Steps that conversions of published weights share."""

from collections.abc import Mapping
from typing import Any

import torch
from vidgen.weights import State

PATCH = "x_embedder.proj.weight"
NULL_CAPTION = "y_embedder.y_embedding"
CAPTIONED_BLOCK = {
    "attn.qkv": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
    "attn.proj": ("attn1.to_out.0",),
    "cross_attn.q_linear": ("attn2.to_q",),
    "cross_attn.kv_linear": ("attn2.to_k", "attn2.to_v"),
    "cross_attn.proj": ("attn2.to_out.0",),
    "mlp.fc1": ("ff.net.0.proj",),
    "mlp.fc2": ("ff.net.2",),
    "": ("",),  # the block's scale_shift_table
}
"""Our layer of a block that attends to itself and to captions -> diffusers', joined along the first axis."""


def sizes_in(config: Mapping[str, Any]) -> dict[str, Any]:
    """Options that say how large a network is, from a diffusers transformer's complete configuration."""
    return {
        "depth": config["num_layers"],
        "num_heads": config["num_attention_heads"],
        "hidden_size": config["num_attention_heads"] * config["attention_head_dim"],
        "in_channels": config["in_channels"],
        "patch_size": (1, config["patch_size"], config["patch_size"]),
    }


def without(state: State, *prefixes: str) -> State:
    """The entries whose names begin with none of the prefixes."""
    return {name: value for name, value in state.items() if not name.startswith(prefixes)}


def with_time_axis(state: State) -> State:
    """An image model's patch weight (D, C, rows, columns) gains a time axis of 1; a video model's stays."""
    weight = state.get(PATCH)
    return {**state, PATCH: weight.unsqueeze(2)} if weight is not None and weight.ndim == 4 else state


def with_null_caption_of(state: State, length: int) -> State:
    """The null caption (N, C) cut to `length` tokens, or lengthened by repeating its last."""
    caption = state.get(NULL_CAPTION)
    if caption is None or len(caption) == length:
        return state
    lacking = max(length - len(caption), 0)
    return {**state, NULL_CAPTION: torch.cat([caption[:length], caption[-1:].expand(lacking, -1)])}


def null_caption_notes(state: State, length: int) -> tuple[str, ...]:
    """What `with_null_caption_of` will change, in words for `Converted.notes`."""
    caption = state.get(NULL_CAPTION)
    if caption is None or len(caption) == length:
        return ()
    how = "by repeating the last" if len(caption) < length else "by leaving out the last"
    return (f"{NULL_CAPTION}: {len(caption)} tokens made {length} {how}",)
