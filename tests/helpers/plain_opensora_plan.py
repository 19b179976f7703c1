"""Open-Sora-Plan's transformer written out, one step after the other, as its specification words it: to test against.

Nothing is shared with the model but the names of the weights. Every mask is added to the scores; each sub-sequence is
picked by a list of its tokens.

Letters: B clips, C latent channels, T H W latent frames/rows/columns, h w rows and columns in patches, N tokens, K
heads, E head width, L caption tokens, D width.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

State = Mapping[str, Tensor]
HIDDEN, FILLING = -10000.0, -9980.0


def predict(state: State, options: Mapping[str, Any], given: Mapping[str, Tensor]) -> Tensor:
    """given: x (B, C, T, H, W), timestep (B,), y (B, L, caption channels), mask (B, L), attention_mask (B, T, H, W).
    Returns (B, out channels, T, p h, p w): what fills no patch is left out."""
    side, heads = options["patch_size"], options["num_attention_heads"]
    x = given["x"]
    clips, _, frames, height, width = x.shape
    grid = frames, height // side, width // side
    h = _embedded(state, x, side)
    tau = _two(state, "adaln_single.emb.timestep_embedder", _waves(given["timestep"]), functional.silu)
    time = _linear(state, "adaln_single.linear", functional.silu(tau)).view(clips, 6, -1)
    caption = _two(state, "caption_projection", given["y"], _gelu_tanh)
    seen = functional.max_pool3d(given["attention_mask"].float()[:, None], (1, side, side), (1, side, side)).flatten(1)
    on_tokens, on_caption = ((mask == 0) * HIDDEN for mask in (seen, given["mask"]))
    places = torch.stack(torch.meshgrid(*(torch.arange(n) for n in grid), indexing="ij")).flatten(1)
    for number in range(options["num_layers"]):
        block = f"transformer_blocks.{number}."
        table = state[f"{block}scale_shift_table"]
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = (table + time)[:, :, None].unbind(1)
        u = _normed(state, f"{block}norm1", h, options["norm_eps"]) * (1 + scale_a) + shift_a
        q, k, v = (_heads(_linear(state, f"{block}attn1.to_{letter}", u), heads) for letter in "qkv")
        q, k = (_turned(z, places, [options[f"interpolation_scale_{axis}"] for axis in "thw"]) for z in (q, k))
        made = _dealt(q, k, v, on_tokens, options, number)
        h = h + gate_a * _linear(state, f"{block}attn1.to_out.0", made)
        sources = {"q": h, "k": caption, "v": caption}
        q, k, v = (_heads(_linear(state, f"{block}attn2.to_{a}", z), heads) for a, z in sources.items())
        h = h + _linear(state, f"{block}attn2.to_out.0", _merged(_attended(q, k, v, on_caption)))
        u = _normed(state, f"{block}norm2", h, options["norm_eps"]) * (1 + scale_m) + shift_m
        h = h + gate_m * _feed_forward(state, f"{block}ff.net", u, options["activation_fn"])
    shift, scale = (state["scale_shift_table"] + tau[:, None])[:, :, None].unbind(1)
    patches = _linear(state, "proj_out", functional.layer_norm(h, h.shape[2:], eps=1e-6) * (1 + scale) + shift)
    pixels = patches.view(clips, *grid, side, side, -1)
    return torch.einsum("nthwpqc->ncthpwq", pixels).reshape(clips, -1, frames, side * grid[1], side * grid[2])


def _linear(state: State, name: str, x: Tensor) -> Tensor:
    return functional.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))


def _two(state: State, name: str, x: Tensor, curve: Any) -> Tensor:
    return _linear(state, f"{name}.linear_2", curve(_linear(state, f"{name}.linear_1", x)))


def _gelu_tanh(x: Tensor) -> Tensor:
    return functional.gelu(x, approximate="tanh")


def _waves(timestep: Tensor) -> Tensor:
    """Frequencies rounded to float32, and so their products with the time."""
    frequencies = (-math.log(10000.0) / 128 * torch.arange(128).float()).double().exp().float()
    angles = timestep.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _embedded(state: State, x: Tensor, side: int) -> Tensor:
    frames = functional.conv2d(
        x.transpose(1, 2).flatten(0, 1), state["pos_embed.proj.weight"], state["pos_embed.proj.bias"], stride=side
    )
    return frames.flatten(2).transpose(1, 2).reshape(len(x), -1, frames.shape[1])


def _normed(state: State, name: str, x: Tensor, eps: float) -> Tensor:
    return functional.layer_norm(x, x.shape[2:], state.get(f"{name}.weight"), state.get(f"{name}.bias"), eps)


def _heads(x: Tensor, heads: int) -> Tensor:
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)  # (B, K, N, E)


def _merged(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


def _turned(x: Tensor, places: Tensor, scales: list[float]) -> Tensor:
    """Each third by its axis; v1 cos - v2 sin, v2 cos + v1 sin of the halves of a third."""
    thirds = []
    for third, place, scale in zip(x.chunk(3, dim=-1), places, scales, strict=True):
        width = third.shape[-1]
        angles = (place.float() / scale)[:, None] * 10000.0 ** (-2 * torch.arange(width // 2).float() / width)
        first, second = third.chunk(2, dim=-1)
        cos, sin = angles.cos(), angles.sin()
        thirds += [first * cos - second * sin, second * cos + first * sin]
    return torch.cat(thirds, dim=-1)


def _attended(q: Tensor, k: Tensor, v: Tensor, added: Tensor) -> Tensor:
    """added: (B, keys)."""
    scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5 + added[:, None, None]
    return scores.softmax(-1) @ v


def _dealt(q: Tensor, k: Tensor, v: Tensor, added: Tensor, options: Mapping[str, Any], block: int) -> Tensor:
    n, tokens = options["sparse_n"], q.shape[2]
    if not options["sparse1d"] or not 2 <= block < 30:
        return _merged(_attended(q, k, v, added))
    lacking = -tokens % (n * n)
    q, k, v = (functional.pad(z, (0, 0, 0, lacking)) for z in (q, k, v))
    added = functional.pad(added, (0, lacking), value=FILLING)
    places = torch.arange(tokens + lacking)
    part = places % n if block % 2 == 0 else places // n % n
    out = torch.empty_like(q)
    for number in range(n):
        own = (part == number).nonzero()[:, 0]
        out[:, :, own] = _attended(q[:, :, own], k[:, :, own], v[:, :, own], added[:, own])
    return _merged(out[:, :, :tokens])


def _feed_forward(state: State, name: str, x: Tensor, curve: str) -> Tensor:
    inner = _linear(state, f"{name}.0.proj", x)
    if curve == "geglu":
        value, gate = inner.chunk(2, dim=-1)
        return _linear(state, f"{name}.2", value * functional.gelu(gate))
    return _linear(state, f"{name}.2", _gelu_tanh(inner))
