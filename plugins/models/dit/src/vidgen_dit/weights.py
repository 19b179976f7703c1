"""Weights of DiT in other layouts, there and back.

`original`: facebookresearch/DiT, an image model. `diffusers`: DiTTransformer2DModel, the same network with the
embedders of timestep and class repeated in every block.
"""

import re
from collections.abc import Mapping
from itertools import product
from typing import Any

import torch
from torch import Tensor
from vidgen import UserError
from vidgen.weights import Converted, State
from vidgen_layers.checks import Size3
from vidgen_layers.published import PATCH, sizes_in, with_time_axis, without
from vidgen_layers.vectors import class_count
from vidgen_layers.video_dit import SPACE, to_image_layout, unlike_condition

from vidgen_dit import DiTOptions

LAYOUTS = ("original", "diffusers")
DIFFUSERS_CLASS = "DiTTransformer2DModel"
DIFFUSERS_DEFAULTS: Mapping[str, Any] = {
    "num_layers": 28,
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "in_channels": 4,
    "out_channels": None,
    "patch_size": 2,
    "num_embeds_ada_norm": 1000,
}
TABLES = ("pos_embed_spatial", "pos_embed_temporal")  # worked out from the options, never loaded
BLOCKS = "transformer_blocks."
REPEATED = re.compile(r"transformer_blocks\.[1-9]\d*\.(norm1\.emb\..*)")
EMBEDDERS = {
    "norm1.emb.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "norm1.emb.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "norm1.emb.class_embedder.embedding_table": "y_embedder.embedding_table",
}
ENDS = {
    "pos_embed.proj": "x_embedder.proj",
    "proj_out_1": "final_layer.adaLN_modulation.1",
    "proj_out_2": "final_layer.linear",
}
OF_A_BLOCK = {
    "norm1.linear": "adaLN_modulation.1",
    "attn1.to_out.0": "attn.proj",
    "ff.net.0.proj": "mlp.fc1",
    "ff.net.2": "mlp.fc2",
}
PROJECTIONS = ("attn1.to_q", "attn1.to_k", "attn1.to_v")
QKV = "attn.qkv"
FREQUENCIES = (
    "diffusers runs these weights with 128 timestep frequencies spaced by 1/127 of their range, the original model and "
    "vidgen by 1/128"
)


def to_dit(state: State, own: State) -> Converted:
    """From a DiT in video form, from the original image model, or from diffusers' class; told apart by their entries.
    Position tables stay the model's own. A model of captions takes all but the classes from a model of classes.

    Raises: UserError, when diffusers' blocks have embedders of their own, which no DiT has.
    """
    layout = ""
    notes: tuple[str, ...] = ()
    if any(name.startswith(BLOCKS) for name in state):
        state, layout, notes = _from_diffusers(state), "diffusers", (FREQUENCIES,)
    elif PATCH in state and state[PATCH].ndim == 4:
        layout = "the original image model"
    fresh, dropped = unlike_condition(state, own)
    return Converted(
        state=with_time_axis(without(state, *TABLES)),
        layout=layout,
        fresh=(*TABLES, *fresh),
        dropped=("pos_embed", *dropped),
        notes=notes,
    )


def options_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options that a `config.json` names, in vidgen's form or in diffusers', which leaves some to its defaults."""
    if config.get("_class_name") != DIFFUSERS_CLASS:
        return config
    told = {**DIFFUSERS_DEFAULTS, **config}
    return {
        **sizes_in(told),
        "learn_sigma": told["out_channels"] == 2 * told["in_channels"],
        "condition": f"label_{told['num_embeds_ada_norm']}",
        "no_temporal_pos_emb": True,
    }


def in_layout(layout: str, state: State, options: DiTOptions, grid: Size3) -> State:
    """The model's own state dict in one of `LAYOUTS`. grid: its tokens along time, rows and columns.

    Raises: UserError, when there is no such layout or it has no place for a model of this form.
    """
    if layout not in LAYOUTS:
        raise UserError(f"DiT has no layout {layout!r}; it has {', '.join(LAYOUTS)}")
    faults = _faults(layout, options, grid)
    if faults:
        raise UserError(f"the {layout} layout has no place for this DiT: it takes {'; '.join(faults)}")
    original = to_image_layout(state, pos_embed=SPACE)
    return original if layout == "original" else _to_diffusers(without(original, "pos_embed"), options.depth)


def config_in(layout: str, options: DiTOptions, channels: int, grid: Size3) -> Mapping[str, Any]:
    """The `config.json` beside the weights: diffusers' has one, the original layout none. channels: of the latents.
    grid: as in `in_layout`."""
    if layout != "diffusers":
        return {}
    return {
        "_class_name": DIFFUSERS_CLASS,
        "num_layers": options.depth,
        "num_attention_heads": options.num_heads,
        "attention_head_dim": options.hidden_size // options.num_heads,
        "in_channels": channels,
        "out_channels": channels * (2 if options.learn_sigma else 1),
        "patch_size": options.patch_size[1],
        "sample_size": grid[1] * options.patch_size[1],
        "num_embeds_ada_norm": class_count(options.condition),
        "attention_bias": True,
        "activation_fn": "gelu-approximate",
        "norm_type": "ada_norm_zero",
        "norm_elementwise_affine": False,
        "norm_eps": 1e-6,
        "dropout": 0.0,
        "upcast_attention": False,
    }


def _faults(layout: str, options: DiTOptions, grid: Size3) -> list[str]:
    frames, rows, columns = grid
    patch = options.patch_size
    needs = {
        f"classes, not condition {options.condition}": class_count(options.condition) is not None,
        f"square patches of one frame, not {list(patch)}": patch == (1, patch[1], patch[1]),
        f"a square of tokens in one frame, not {list(grid)}": frames == 1 and rows == columns,
        "no positions of frames: no_temporal_pos_emb true": options.no_temporal_pos_emb,
    }
    if layout == "diffusers":
        needs["a null class: class_dropout_prob above 0"] = options.class_dropout_prob > 0
        needs[f"an mlp_ratio of 4, not {options.mlp_ratio}"] = options.mlp_ratio == 4
    return [need for need, met in needs.items() if not met]


def _from_diffusers(state: State) -> State:
    """Diffusers' entries under the original names; what is not known keeps its own.

    Raises: UserError, when a block's embedders are not those of the first.
    """
    rest, out = _without_repeated(state), {}
    depth = len({name.split(".")[1] for name in rest if name.startswith(BLOCKS)})
    for i, leaf in product(range(depth), ("weight", "bias")):
        three = [f"{BLOCKS}{i}.{part}.{leaf}" for part in PROJECTIONS]
        if all(name in rest for name in three):
            out[f"blocks.{i}.{QKV}.{leaf}"] = torch.cat([rest.pop(name) for name in three])
    names = _names(depth)
    for name, value in rest.items():
        stem, _, leaf = name.rpartition(".")
        out[f"{names.get(stem, stem)}.{leaf}"] = value
    return out


def _without_repeated(state: State) -> State:
    """The entries without position table and without the embedders of all blocks but the first, which have to be its.

    Raises: UserError, when they are not.
    """
    kept = {}
    for name, value in state.items():
        found = REPEATED.fullmatch(name)
        if found is None:
            kept[name] = value
        elif (first := state.get(f"{BLOCKS}0.{found[1]}")) is None or not torch.equal(value, first):
            raise UserError(
                f"these weights of diffusers are no DiT's: {name} differs from the first block's, and a DiT has one "
                "embedder for all its blocks. Published DiTs have equal ones; a model that was trained in diffusers "
                "from scratch runs there alone"
            )
    return without(kept, "pos_embed.pos_embed")


def _to_diffusers(state: State, depth: int) -> State:
    """From the original names. Every entry has memory of its own, as in diffusers' class, so that the result can be
    saved and trained."""
    names = {ours: theirs for theirs, ours in _names(depth).items()}
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        stem, _, leaf = name.rpartition(".")
        if stem.endswith(QKV):
            within = f"transformer_{stem.removesuffix(QKV)}"
            out |= {f"{within}{part}.{leaf}": one for part, one in zip(PROJECTIONS, value.chunk(3), strict=True)}
        elif names[stem].startswith(f"{BLOCKS}0.norm1.emb"):
            within = names[stem].removeprefix(f"{BLOCKS}0.")
            out |= {f"{BLOCKS}{i}.{within}.{leaf}": value for i in range(depth)}
        else:
            out[f"{names[stem]}.{leaf}"] = value
    return {name: value.clone() for name, value in out.items()}


def _names(depth: int) -> dict[str, str]:
    """Diffusers' names to the original ones, without the ends `.weight` and `.bias`, but for what is divided there."""
    inner = {f"{BLOCKS}{i}.{theirs}": f"blocks.{i}.{ours}" for i in range(depth) for theirs, ours in OF_A_BLOCK.items()}
    return ENDS | {f"{BLOCKS}0.{theirs}": ours for theirs, ours in EMBEDDERS.items()} | inner
