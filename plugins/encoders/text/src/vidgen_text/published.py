"""Configurations of published encoders that recipes name most, so that a dry run of these needs no network.

A run reads what the repository itself says.
"""

from collections.abc import Mapping
from typing import Any

T5_XXL: Mapping[str, Any] = {
    "model_type": "t5",
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "vocab_size": 32128,
    "feed_forward_proj": "gated-gelu",
}
"""T5 v1.1 XXL (arXiv 1910.10683; google-research's released checkpoints)."""
CLIP_B: Mapping[str, Any] = {
    "model_type": "clip_text_model",
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "vocab_size": 49408,
}
"""The text model of CLIP ViT-B (arXiv 2103.00020)."""

CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "DeepFloyd/t5-v1_1-xxl": T5_XXL,
    "google/t5-v1_1-xxl": T5_XXL,
    "google/mt5-xxl": {**T5_XXL, "model_type": "mt5", "vocab_size": 250112},
    "openai/clip-vit-base-patch32": CLIP_B,
    "openai/clip-vit-base-patch16": CLIP_B,
}
"""By Hugging Face id."""
