"""The whole plugin interface on one page.

A plugin implements any of these with `@vidgen.hookimpl`. The first group says what a plugin offers: each is asked once
per process, before any recipe is read, and must import neither torch nor another heavy library. Two plugins that offer
one name of one kind stop the run (`DuplicateComponent`); nothing is overwritten. The second group observes a run; every
plugin is told, in no particular order, on the rank-0 process only, and what it returns is ignored.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

from vidgen.component import Component

if TYPE_CHECKING:
    import click

    from vidgen.interfaces import Media, RunInfo

hookspec = pluggy.HookspecMarker("vidgen")

INTERFACE = 1
"""Number of this interface: hooks, `Component` and `vidgen.interfaces`. It is raised when plugins written for the one
before may no longer work; a plugin says which it was written for by `vidgen_interface = 1` in its module."""
OLDEST_INTERFACE = 1
"""The oldest one whose plugins still work. What is to go is told of for one interface before it goes."""

KINDS = {
    "model": "vidgen_models",
    "text_encoder": "vidgen_text_encoders",
    "prompt_refiner": "vidgen_prompt_refiners",
    "autoencoder": "vidgen_autoencoders",
    "scheduler": "vidgen_schedulers",
    "step_cache": "vidgen_step_caches",
    "adapter": "vidgen_adapters",
    "dataset": "vidgen_datasets",
    "bucketer": "vidgen_bucketers",
    "parallel": "vidgen_parallel",
    "attention": "vidgen_attention",
    "tracker": "vidgen_trackers",
    "metric": "vidgen_metrics",
    "job": "vidgen_jobs",
}
"""Kind of component -> the hook that lists it. What each kind promises is in `vidgen.interfaces`."""


@hookspec
def vidgen_models() -> Iterable[Component]:
    """List the denoisers this plugin offers; see `interfaces.Model`."""


@hookspec
def vidgen_text_encoders() -> Iterable[Component]:
    """List the text encoders this plugin offers; see `interfaces.TextEncoder`."""


@hookspec
def vidgen_prompt_refiners() -> Iterable[Component]:
    """List the ways of rewriting prompts this plugin offers; see `interfaces.PromptRefiner`."""


@hookspec
def vidgen_autoencoders() -> Iterable[Component]:
    """List the autoencoders this plugin offers; see `interfaces.Autoencoder`."""


@hookspec
def vidgen_schedulers() -> Iterable[Component]:
    """List the diffusion processes this plugin offers; see `interfaces.Scheduler`."""


@hookspec
def vidgen_step_caches() -> Iterable[Component]:
    """List the ways of saving work between sampling steps this plugin offers; see `interfaces.StepCache`."""


@hookspec
def vidgen_adapters() -> Iterable[Component]:
    """List the changes of built models this plugin offers; see `interfaces.Adapter`."""


@hookspec
def vidgen_datasets() -> Iterable[Component]:
    """List the datasets this plugin offers; see `interfaces.Dataset`."""


@hookspec
def vidgen_bucketers() -> Iterable[Component]:
    """List the ways of batching this plugin offers; see `interfaces.Bucketer`."""


@hookspec
def vidgen_parallel() -> Iterable[Component]:
    """List the parallel engines this plugin offers; see `interfaces.Parallel`."""


@hookspec
def vidgen_attention() -> Iterable[Component]:
    """List the attention backends this plugin offers; see `vidgen.attention`."""


@hookspec
def vidgen_trackers() -> Iterable[Component]:
    """List the trackers this plugin offers; see `interfaces.Tracker`."""


@hookspec
def vidgen_metrics() -> Iterable[Component]:
    """List the measures of sampled clips this plugin offers; see `interfaces.Metric`."""


@hookspec
def vidgen_jobs() -> Iterable[Component]:
    """List the jobs this plugin offers; a job's options are the whole recipe. See `interfaces.Job`."""


@hookspec
def vidgen_commands() -> "Iterable[click.Command]":
    """List commands to add to `vidgen`. Asked only when the command line runs; a name in use is an error."""


@hookspec
def vidgen_run_started(run: "RunInfo") -> None:
    """A job begins; once per run, before the first step."""


@hookspec
def vidgen_step_done(step: int, metrics: Mapping[str, float]) -> None:
    """A logged training step is done; every `log.every` steps. `step` counts from 1."""


@hookspec
def vidgen_checkpoint_saved(step: int, path: Path) -> None:
    """A checkpoint is complete on disk under its final name."""


@hookspec
def vidgen_samples_written(step: int, samples: "Sequence[Media]") -> None:
    """Sampled clips are on disk; `step` is the training step they come from, 0 for a sample job."""


@hookspec
def vidgen_run_finished(run: "RunInfo") -> None:
    """A job ends, also after an error or a signal; once per run."""
