"""Videos and still images with captions, listed in a table.

Offers the dataset `VideoText`. Read whenever vidgen starts, so it holds only names and options; tables are read in
`vidgen_video_text.metadata`, videos in `vidgen_video_text.av_reader`.
"""

from collections.abc import Iterable
from typing import Literal

from attrs import frozen, validators
from vidgen import Component, hookimpl, option
from vidgen.component import InputPath


@frozen(kw_only=True)
class VideoTextOptions:
    """Keys allowed beside `type: VideoText`."""

    data_path: InputPath = option(
        doc="Table of samples, .csv (with a header), .parquet or .jsonl: columns path and text, and where known "
        "num_frames, height, width, fps."
    )
    root: InputPath | None = option(
        None, "Folder that the paths in the table start from; null is the folder of data_path."
    )
    transform_name: Literal["center", "resize_crop"] = option(
        "resize_crop",
        "resize_crop scales a picture until it covers image_size and cuts the centre; center does so for square sizes "
        "only, and halves still images before the last, bicubic step as ADM does.",
    )
    frame_interval: int | None = option(
        None,
        "Take every n-th frame of a video, n at least 1; null is the recipe's frame_interval.",
        validator=validators.optional(validators.ge(1)),
    )
    window: Literal["random", "first"] = option(
        "random", "Which part of a longer video: another one in every epoch, or always its beginning."
    )
    reader: Literal["av"] = option("av", "Library that reads videos: av (FFmpeg's own libraries).")
    repeat_images: bool = option(
        False, "Turn a still image into a clip of equal frames where a clip is asked, instead of refusing it."
    )


@hookimpl
def vidgen_datasets() -> Iterable[Component]:
    """The datasets of this plugin."""
    yield Component(
        name="VideoText",
        summary="Videos and images with captions at one size, from CSV, Parquet or JSON lines",
        options=VideoTextOptions,
        factory="vidgen_video_text.dataset:build",
    )
