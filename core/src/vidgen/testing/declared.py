"""What components must declare: the numbers through which they meet."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from vidgen.testing.subject import Subject

MODULES = ("model", "text_encoder", "autoencoder")
CONDITIONING = frozenset(
    {"y", "mask", "x_mask", "masked_video", "video_mask", "drop_caption", "valid"}
    | {"fps", "height", "width", "num_frames", "ar"}
)
Rule = tuple[str, Callable[[Any], bool]]

COUNT: Rule = ("a whole number above 0", lambda value: type(value) is int and value > 0)
WIDTH: Rule = ("a whole number, 0 or more", lambda value: type(value) is int and value >= 0)
SIZE: Rule = (
    "a tuple of three whole numbers above 0",
    lambda value: type(value) is tuple and [COUNT[1](one) for one in value] == [True] * 3,
)
NUMBER: Rule = ("a number", lambda value: type(value) in (int, float))
WORD: Rule = ("a word", lambda value: type(value) is str and bool(value))
SHARE: Rule = ("a share from 0 to 1", lambda value: type(value) in (int, float) and 0 <= value <= 1)
YES_OR_NO: Rule = ("True or False", lambda value: type(value) is bool)
BETTER: Rule = (
    "a mapping of names of values to 'higher' or 'lower'",
    lambda value: isinstance(value, Mapping) and all(way in ("higher", "lower") for way in value.values()),
)
KEYS: Rule = (
    f"a frozenset out of {', '.join(sorted(CONDITIONING))}",
    lambda value: type(value) is frozenset and value <= CONDITIONING,
)

DECLARED: Mapping[str, Mapping[str, Rule]] = {
    "model": {
        "latent_channels": COUNT,
        "out_channels": COUNT,
        "patch_size": SIZE,
        "text_width": WIDTH,
        "conditioning": KEYS,
        "caption_dropout": SHARE,
    },
    "text_encoder": {"width": WIDTH, "max_length": COUNT},
    "autoencoder": {"latent_channels": COUNT, "stride": SIZE},
    "scheduler": {"prediction_type": WORD, "cfg_scale": NUMBER, "num_sampling_steps": COUNT},
    "dataset": {"table": ("an Arrow table with rows", lambda table: table.num_rows > 0 and bool(table.column_names))},
    "parallel": {
        "device": ("a torch.device", lambda value: isinstance(value, torch.device)),
        "rank": ("a whole number", lambda value: type(value) is int and value >= 0),
        "num_ranks": COUNT,
    },
    "adapter": {"merges": YES_OR_NO, "pretrained": YES_OR_NO},
    "metric": {"needs_reference": YES_OR_NO, "better": BETTER},
}


def declares(subject: Subject) -> Iterator[str]:
    """The type and attributes of the kind; those that a dry run builds, on the meta device as well."""
    if subject.kind in MODULES and not isinstance(subject.one, torch.nn.Module):
        yield f"the factory must return a torch.nn.Module, not {type(subject.one).__name__}"
    for name, (words, fits) in DECLARED.get(subject.kind, {}).items():
        value = getattr(subject.one, name, None)
        if value is None or not fits(value):
            yield f"`{name}` must be {words}, not {value!r}: set it on what the factory returns"
    if subject.kind in (*MODULES, "scheduler"):
        dry = subject.build(dry=True)
        if subject.kind == "model" and not all(parameter.is_meta for parameter in dry.parameters()):
            yield "built under torch.device('meta'), as in a dry run, it allocates memory: name no device in factories"
