"""Published weights in other layouts, to the names and shapes of the STDiT models.

Every function takes a state dict as published, and the model's own for its shapes. Layouts are told apart by their
entries, never by a file's name.
"""

from collections.abc import Mapping
from typing import Any

from attrs import asdict
from vidgen import UserError
from vidgen.weights import Converted, State
from vidgen_layers.checks import Widths
from vidgen_layers.network import OWN
from vidgen_layers.published import (
    NULL_CAPTION,
    PATCH,
    null_caption_notes,
    with_null_caption_of,
    with_time_axis,
    without,
)

from vidgen_stdit import CommonOptions

LAYOUTS = ("opensora",)
TABLES = "pos_embed"  # and pos_embed_temporal: worked out from the options, never loaded
NEW_IN_2 = (
    "rope.freqs",
    "t_block_temp.*",
    "csize_embedder.*",
    "ar_embedder.*",
    "fl_embedder.*",
    "fps_embedder.*",
    "blocks.*.scale_shift_table_temporal",
    "blocks.*_norm.weight",
)
NEW_IN_3 = ("rope.freqs", "fps_embedder.*", "temporal_blocks.*", "spatial_blocks.*_norm.weight")


def to_stdit(state: State, own: State) -> Converted:
    """From an STDiT, or a PixArt-alpha image model: the temporal attention, which that lacks, keeps its start value
    (zero output, so every frame is first treated as an image). All other names agree."""
    image = _of_images(state)
    return _converted(
        state,
        own,
        layout="PixArt-alpha" if image else "",
        fresh=(f"{TABLES}*", "blocks.*.attn_temp.*") if image else (f"{TABLES}*",),
    )


def to_stdit2(state: State, own: State) -> Converted:
    """From an STDiT2; from an STDiT, which lacks what tells of size and frame rate; or from a PixArt-alpha image model,
    which lacks the temporal attention as well. All other names agree."""
    if _of_images(state):
        return _converted(state, own, layout="PixArt-alpha", fresh=(*NEW_IN_2, "blocks.*.attn_temp.*"))
    if _of_stdit(state):
        return _converted(state, own, layout="STDiT", fresh=NEW_IN_2)
    return _converted(state, own)


def to_stdit3(state: State, own: State) -> Converted:
    """From an STDiT3, or a PixArt-Sigma image model, whose blocks become the spatial ones: the temporal ones and the
    frame rate keep their start values, which do nothing."""
    if not _of_images(state):
        return _converted(state, own)
    renamed = {f"spatial_{name}" if name.startswith("blocks.") else name: value for name, value in state.items()}
    return _converted(renamed, own, layout="PixArt-Sigma", fresh=NEW_IN_3)


def in_layout(layout: str, state: State) -> State:
    """The model's state dict as Open-Sora's code and its released files name it, which is as here.

    Raises: UserError, when there is no such layout.
    """
    if layout not in LAYOUTS:
        raise UserError(f"an STDiT's weights are written as {', '.join(LAYOUTS)}, not {layout!r}")
    return state


def config_in(layout: str, options: CommonOptions, widths: Widths, name: str) -> Mapping[str, Any]:
    """The `config.json` beside them, from which Open-Sora 1.1 and 1.2 build the model. name: of its class there.

    Raises: UserError, when there is no such layout.
    """
    settled = {
        "in_channels": widths.latents,
        "caption_channels": widths.caption,
        "model_max_length": widths.caption_length,
    }
    told = {key: value for key, value in asdict(options).items() if key not in OWN}
    in_layout(layout, {})
    return {**told, **settled, "model_type": name, "architectures": [name]}


def _converted(state: State, own: State, *, layout: str = "", fresh: tuple[str, ...] = ()) -> Converted:
    """Without position tables, with a time axis, and with a null caption as long as the model's."""
    length = len(own[NULL_CAPTION])
    return Converted(
        state=with_null_caption_of(with_time_axis(without(state, TABLES)), length),
        layout=layout,
        fresh=fresh,
        notes=null_caption_notes(state, length),
    )


def _of_images(state: State) -> bool:
    return PATCH in state and state[PATCH].ndim == 4


def _of_stdit(state: State) -> bool:
    """Blocks with temporal attention, and nothing that later versions added."""
    later = ("rope.", "t_block_temp.", "csize_embedder.", "ar_embedder.", "fl_embedder.", "fps_embedder.")
    return any(".attn_temp." in name for name in state) and not any(name.startswith(later) for name in state)
