"""What core itself offers: the jobs, one device, and the loss table. Everything else is a plugin."""

from collections.abc import Iterator
from typing import Literal

from attrs import frozen, validators

from vidgen.component import Component, hookimpl, option
from vidgen.recipe.schema import EncodeRecipe, SampleRecipe, TrainRecipe


@frozen(kw_only=True)
class SingleOptions:
    """Keys allowed beside `type: single`."""

    device: Literal["auto", "cpu", "cuda", "mps"] = option("auto", "`auto` takes a GPU when there is one.")
    sp_size: int = option(1, "Ranks that share one sample; one device has one.", validator=validators.in_((1,)))


@frozen(kw_only=True)
class CsvOptions:
    """Keys allowed beside `type: csv`."""

    name: str = option("metrics.csv", "File below the run's folder.")


@hookimpl
def vidgen_jobs() -> Iterator[Component]:
    """The jobs every user has."""
    yield Component(
        name="train",
        summary="Train a model from a dataset; resumes bit for bit.",
        options=TrainRecipe,
        factory="vidgen.engine.train:build",
    )
    yield Component(
        name="encode",
        summary="Work out the latents and text features of a training recipe once; takes up where it stood.",
        options=EncodeRecipe,
        factory="vidgen.engine.encode:build",
    )
    yield Component(
        name="sample",
        summary="Sample videos and images from prompts.",
        options=SampleRecipe,
        factory="vidgen.engine.sample:build",
    )


@hookimpl
def vidgen_parallel() -> Iterator[Component]:
    """One process, one device."""
    yield Component(
        name="single",
        summary="One process on one device.",
        options=SingleOptions,
        factory="vidgen.engine.single:build",
    )


@frozen(kw_only=True)
class NoOptions:
    """No keys beside `type:`."""


@hookimpl
def vidgen_attention() -> Iterator[Component]:
    """torch's own kernels, and the formula."""
    yield Component(
        name="sdpa",
        summary="torch's scaled_dot_product_attention; chooses flash and other fused kernels for the device.",
        options=NoOptions,
        factory="vidgen.attention:build_sdpa",
    )
    yield Component(
        name="explicit",
        summary="The formula written out: slow, memory grows with tokens squared; to compare others with.",
        options=NoOptions,
        factory="vidgen.attention:build_explicit",
    )


@hookimpl
def vidgen_trackers() -> Iterator[Component]:
    """The table that every run folder holds."""
    yield Component(
        name="csv",
        summary="One row of numbers per logged step, in metrics.csv.",
        options=CsvOptions,
        factory="vidgen.engine.metrics_table:build",
    )
