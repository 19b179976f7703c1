"""Where clips come from, in configurations of Open-Sora: `dataset = dict(...)`, and the keys of 1.0 at the top."""

from collections.abc import Mapping

from vidgen_convert.opensora.changes import buckets, frames, size
from vidgen_convert.rule import Table, needless, none, same, step, to

TYPES: Mapping[str, str] = {
    "DatasetFromCSV": "VideoText",
    "VideoTextDataset": "VideoText",
    "VariableVideoTextDataset": "VariableVideoText",
    "VideoText": "VideoText",
    "VariableVideoText": "VariableVideoText",
    "BatchFeatureDataset": "VariableVideoText",
}
"""Type of a dataset there -> here."""

DATASET: Table = {
    "dataset.type": step("dataset.type", "VideoText or VariableVideoText; of BatchFeatureDataset, `features` as well"),
    **same("dataset.data_path", "dataset.transform_name"),
    "dataset.num_frames": to("num_frames", frames),
    "dataset.frame_interval": to("frame_interval"),
    "dataset.image_size": to("image_size", size),
    "dataset.dummy_text_feature": none("captions are encoded, or read from the `features` cache"),
    "data_path": to("dataset.data_path"),
    "root": to("dataset.root"),
    "use_image_transform": step("dataset.transform_name", "stills and videos are told apart by their files"),
    "bucket_config": to("bucketer.bucket_config", buckets),
    "num_bucket_build_workers": needless("buckets of a million rows are planned in half a second"),
    "num_workers": to("num_workers"),
}
