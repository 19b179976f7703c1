"""Videos and still images with captions, listed in a table.

Offers the datasets `VideoText` and `VariableVideoText`. Read whenever vidgen starts, so it holds only names and
options; tables are read in `vidgen_video_text.metadata`, videos in `vidgen_video.av_reader`.
"""

from collections.abc import Iterable
from typing import Literal

from attrs import frozen, validators
from vidgen import Component, hookimpl, option
from vidgen.component import InputPath


@frozen(kw_only=True)
class TableOptions:
    """Keys that all datasets of this plugin share."""

    data_path: InputPath = option(
        doc="Table of samples, .csv (with a header), .parquet or .jsonl: columns path and text, and where known "
        "num_frames, height, width, fps, or in place of height and width resolution and aspect_ratio."
    )
    root: InputPath | None = option(
        None, "Folder that the paths in the table start from; null is the folder of data_path."
    )
    frame_interval: int | None = option(
        None,
        "Take every n-th frame of a video, n at least 1; null is the recipe's frame_interval.",
        validator=validators.optional(validators.ge(1)),
    )
    window: Literal["random", "first"] = option(
        "random", "Which part of a longer video: another one in every epoch, or always its beginning."
    )
    reader: Literal["av", "decord", "torchcodec"] = option(
        "av",
        "Library that reads videos: av (FFmpeg's own libraries); or decord or torchcodec, which are installed "
        "separately, for the files that they read right.",
    )
    max_unknown_fraction: float = option(
        1.0,
        "Share of rows, 0 to 1, whose size or length may stay unknown because neither the table nor the file tells "
        "it; with more, nothing starts.",
        validator=validators.and_(validators.ge(0), validators.le(1)),
    )


@frozen(kw_only=True)
class VideoTextOptions(TableOptions):
    """Keys allowed beside `type: VideoText`."""

    transform_name: Literal["center", "resize_crop"] = option(
        "resize_crop",
        "resize_crop scales a picture until it covers image_size and cuts the centre; center does so for square sizes "
        "only, and halves still images before the last, bicubic step as ADM does.",
    )
    repeat_images: bool = option(
        False, "Turn a still image into a clip of equal frames where a clip is asked, instead of refusing it."
    )


@frozen(kw_only=True)
class VariableVideoTextOptions(TableOptions):
    """Keys allowed beside `type: VariableVideoText`. Sizes and lengths are the bucketer's."""

    transform_name: Literal["center", "resize_crop"] = option(
        "resize_crop",
        "resize_crop scales a picture until it covers the bucket's size and cuts the centre; center does so for "
        "square buckets only, and halves still images before the last, bicubic step as ADM does.",
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
    yield Component(
        name="VariableVideoText",
        summary="Videos and images with captions at the size of their bucket, from CSV, Parquet or JSON lines",
        options=VariableVideoTextOptions,
        factory="vidgen_video_text.dataset:build_variable",
    )
