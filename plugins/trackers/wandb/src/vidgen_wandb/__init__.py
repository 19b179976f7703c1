"""Weights & Biases: metrics, sampled clips, scores and the recipe of a run; offline unless the recipe says otherwise.

Offers the tracker `wandb`. Read whenever vidgen starts, so it holds only names and options; the client is used in
`vidgen_wandb.tracker`.
"""

from collections.abc import Iterable
from typing import Literal

from attrs import frozen, validators
from vidgen import Component, hookimpl, option


@frozen(kw_only=True)
class WandbOptions:
    """Keys allowed beside `type: wandb`."""

    project: str = option("vidgen", "Project the run belongs to.", validator=validators.min_len(1))
    name: str | None = option(None, "Name of the run; null takes the name of the run folder.")
    entity: str | None = option(None, "User or team that owns the project; null takes the account's default.")
    mode: Literal["offline", "online", "disabled"] = option(
        "offline",
        "offline writes into the run folder and uses no network, online sends while running, disabled does nothing.",
    )
    tags: list[str] = option([], "Words to find the run by.")


@hookimpl
def vidgen_trackers() -> Iterable[Component]:
    """The tracker of this plugin."""
    yield Component(
        name="wandb",
        summary="metrics, clips and scores to Weights & Biases; offline unless asked",
        options=WandbOptions,
        factory="vidgen_wandb.tracker:build",
    )
