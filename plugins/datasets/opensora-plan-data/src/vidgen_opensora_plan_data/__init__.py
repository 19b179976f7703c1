"""Data in Open-Sora-Plan's form: `data.txt`, annotation files, clips at one frame rate, batches grouped by shape.

Offers the dataset `OpenSoraPlanData` and the bucketer `grouped`. Read whenever vidgen starts, so it holds only names
and options; items are chosen in `vidgen_opensora_plan_data.selection`, batches made in its `grouped`.
"""

from collections.abc import Iterable

from attrs import frozen, validators
from vidgen import Component, hookimpl, option
from vidgen.component import InputPath

ABOVE_ZERO = validators.gt(0)
OPTIONAL_COUNT = validators.optional(validators.ge(1))


@frozen(kw_only=True)
class OpenSoraPlanDataOptions:
    """Keys allowed beside `type: OpenSoraPlanData`; named as the flags of Open-Sora-Plan's training."""

    data: InputPath = option(doc="Text file with a line `folder of the media,annotation file` for each source.")
    num_frames: int | None = option(
        None, "Frames of the longest sample; null is the recipe's, 65 without one.", validator=OPTIONAL_COUNT
    )
    train_fps: float = option(24.0, "Frames a second that clips are brought to.", validator=ABOVE_ZERO)
    speed_factor: float = option(
        1.0, "Play clips that are long enough up to so many times faster, at least 1.", validator=validators.ge(1)
    )
    drop_short_ratio: float = option(
        1.0,
        "Share of the clips shorter than num_frames that are left out, 0 to 1; the others give fewer frames.",
        validator=validators.and_(validators.ge(0), validators.le(1)),
    )
    max_height: int | None = option(
        None, "Rows of a sample; null is the recipe's image_size, 320 without one.", validator=OPTIONAL_COUNT
    )
    max_width: int | None = option(
        None, "Columns of a sample; null is the recipe's image_size, 240 without one.", validator=OPTIONAL_COUNT
    )
    min_height: int | None = option(
        None,
        "With min_width and without max_hxw: areas lie from min_height * min_width to max_height * max_width.",
        validator=OPTIONAL_COUNT,
    )
    min_width: int | None = option(None, "See min_height.", validator=OPTIONAL_COUNT)
    force_resolution: bool = option(
        False, "Every sample has max_height x max_width; else each keeps its ratio, within the areas allowed."
    )
    max_hxw: int | None = option(
        None, "Largest area of a sample in pixels, needed unless the resolution is forced.", validator=OPTIONAL_COUNT
    )
    min_hxw: int | None = option(
        None, "Smallest area of a sample in pixels; null is a quarter of max_hxw.", validator=OPTIONAL_COUNT
    )
    hw_stride: int = option(32, "Rows and columns of a sample are multiples of it.", validator=ABOVE_ZERO)
    sp_size: int = option(1, "Ranks that share one clip: they divide its latent frames.", validator=ABOVE_ZERO)
    ae_stride_t: int | None = option(
        None, "Frames per latent frame; null is the autoencoder's, 4 where none is known.", validator=OPTIONAL_COUNT
    )
    total_batch_size: int | None = option(
        None,
        "Shapes with fewer than four times as many samples are left out, 0 keeps all; null is the recipe's batch_size "
        "on all ranks, times accumulation_steps.",
        validator=validators.optional(validators.ge(0)),
    )
    video_endings: list[str] = option([".mp4"], "How the names of videos end; all that FFmpeg reads is possible.")
    image_endings: list[str] = option([".jpg"], "How the names of still images end.")


@frozen(kw_only=True)
class GroupedOptions:
    """Keys allowed beside `type: grouped`; named as the flags of Open-Sora-Plan's training."""

    train_batch_size: int | None = option(
        None, "Samples of a batch on one rank; null is the recipe's batch_size.", validator=OPTIONAL_COUNT
    )
    group_data: bool = option(
        False, "Samples of one shape to a batch; false: any, and a batch of several shapes is padded."
    )


@hookimpl
def vidgen_datasets() -> Iterable[Component]:
    """The datasets of this plugin."""
    yield Component(
        name="OpenSoraPlanData",
        summary="Videos and images listed as for Open-Sora-Plan: data.txt with JSON or pickle annotations",
        options=OpenSoraPlanDataOptions,
        factory="vidgen_opensora_plan_data.dataset:build",
    )


@hookimpl
def vidgen_bucketers() -> Iterable[Component]:
    """The bucketers of this plugin."""
    yield Component(
        name="grouped",
        summary="Open-Sora-Plan's batches: samples of one shape together, or any, every one once an epoch",
        options=GroupedOptions,
        factory="vidgen_opensora_plan_data.grouped:build",
    )
