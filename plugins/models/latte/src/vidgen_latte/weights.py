"""Weights of Latte in the layout of the original project (Vchitect/Latte), there and back."""

from vidgen import UserError
from vidgen.weights import Converted, State
from vidgen_layers.checks import Size3
from vidgen_layers.published import PATCH, with_time_axis, without
from vidgen_layers.video_dit import SPACE, TIME, to_image_layout, unlike_condition

from vidgen_latte import LatteOptions

LAYOUTS = ("original",)
TABLES = ("pos_embed_spatial", "pos_embed_temporal")  # worked out from the options, never loaded


def to_latte(state: State, own: State) -> Converted:
    """From a Latte in video form or from the original model, told apart by their entries. Position tables stay the
    model's own. A model of averaged captions takes all but the classes from a model of classes.

    Raises: UserError, for the text-to-video Latte-1, which is another network.
    """
    if "adaln_single.linear.weight" in state or "temporal_transformer_blocks.0.scale_shift_table" in state:
        raise UserError(
            "these are weights of Latte-1 (diffusers' LatteTransformer3DModel), which is another network than this "
            "Latte: it reads captions by cross attention and shares one modulation among its blocks. Use type: "
            "Latte-1, or weights of the class-conditional Latte"
        )
    fresh, dropped = unlike_condition(state, own)
    return Converted(
        state=with_time_axis(without(state, *TABLES)),
        layout="the original Latte" if PATCH in state and state[PATCH].ndim == 4 else "",
        fresh=(*TABLES, *fresh),
        dropped=("pos_embed", "temp_embed", *dropped),
    )


def in_layout(layout: str, state: State, options: LatteOptions, grid: Size3) -> State:
    """The model's own state dict in one of `LAYOUTS`. grid: its tokens along time, rows and columns.

    Raises: UserError, when there is no such layout or it has no place for a model of this form.
    """
    if layout not in LAYOUTS:
        raise UserError(f"Latte has no layout {layout!r}; it has {', '.join(LAYOUTS)}")
    patch = options.patch_size
    needs = {
        "classes, flat_text or none, not condition text": options.condition != "text",
        f"square patches of one frame, not {list(patch)}": patch == (1, patch[1], patch[1]),
        f"as many rows of tokens as columns, not {grid[1]} and {grid[2]}": grid[1] == grid[2],
        f"an even depth, not {options.depth}": options.depth % 2 == 0,
    }
    faults = [need for need, met in needs.items() if not met]
    if faults:
        raise UserError(f"the {layout} layout has no place for this Latte: it takes {'; '.join(faults)}")
    return to_image_layout(state, pos_embed=SPACE, temp_embed=TIME)
