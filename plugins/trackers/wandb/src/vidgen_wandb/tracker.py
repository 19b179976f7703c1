"""The tracker: one Weights & Biases run per run folder, found again through an id kept in that folder.

`wandb` is imported when the tracker starts, so that `mode: disabled` runs none of it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidgen.errors import RunError, UserError
from vidgen.interfaces import Context, Media

from vidgen_wandb import WandbOptions

if TYPE_CHECKING:
    import wandb

RUN_ID_FILE = "wandb_run_id"
VIDEOS = frozenset({".mp4", ".webm", ".gif", ".ogg"})


class WandbTracker:
    """Logs `train/<metric>`, `scores/<name>`, `samples/clips` and `samples/stills` at the training step."""

    def __init__(self, run: "wandb.Run") -> None:
        self.run = run

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Numbers of one step, as `train/<name>`."""
        self.run.log({f"train/{name}": value for name, value in metrics.items()}, step=step)

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Results of metrics, as `scores/<name>`."""
        self.run.log({f"scores/{name}": value for name, value in scores.items()}, step=step)

    def media(self, step: int, samples: Sequence[Media]) -> None:
        """Clips from their files as they are; nothing is encoded again."""
        import wandb

        clips = [s for s in samples if s.path.suffix.lower() in VIDEOS]
        stills = [s for s in samples if s.path.suffix.lower() not in VIDEOS]
        media: dict[str, Any] = {}
        if clips:
            media["samples/clips"] = [wandb.Video(str(s.path), caption=s.prompt) for s in clips]
        if stills:
            media["samples/stills"] = [wandb.Image(str(s.path), caption=s.prompt) for s in stills]
        if media:
            self.run.log(media, step=step)

    def close(self) -> None:
        """Write what is left; online, wait until it is sent."""
        self.run.finish()


class DisabledTracker:
    """Does nothing, for `mode: disabled`."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Nothing."""

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Nothing."""

    def media(self, step: int, samples: Sequence[Media]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def build(options: WandbOptions, context: Context) -> WandbTracker | DisabledTracker:
    """Start a run below `context.outputs` (the current folder when there is none), or go on with the one whose id is
    kept there.

    Raises: UserError, online without a login; RunError, when the server does not answer.
    """
    if options.mode == "disabled":
        return DisabledTracker()
    outputs = context.outputs or Path()
    outputs.mkdir(parents=True, exist_ok=True)
    run = _start(options, outputs=outputs, run_id=_known_id(outputs, context.step), recipe=context.recipe)
    _keep_id(outputs, run.id)
    return WandbTracker(run)


def _start(options: WandbOptions, *, outputs: Path, run_id: str | None, recipe: Mapping[str, Any]) -> "wandb.Run":
    import wandb

    if options.mode == "offline":
        # Without this wandb 0.31 looks its server up for usage statistics, also offline: they follow the process-wide
        # settings, not those of the run.
        wandb.setup(wandb.Settings(mode="offline"))
    try:
        return wandb.init(
            project=options.project,
            name=options.name or outputs.absolute().name,
            entity=options.entity,
            mode=options.mode,
            tags=list(options.tags),
            dir=str(outputs),
            id=run_id,
            resume="allow",
            config=dict(recipe),
            settings=wandb.Settings(console="off", quiet=True),  # the terminal belongs to vidgen
        )
    except (wandb.errors.UsageError, wandb.errors.AuthenticationError) as error:
        raise UserError(
            f"the tracker wandb cannot start: {error} Log in with `wandb login` (or set WANDB_API_KEY), or write "
            "`mode: offline` and upload later with `wandb sync`."
        ) from error
    except wandb.errors.CommError as error:
        raise RunError(
            f"the tracker wandb cannot reach its server: {error} Check the network, or write `mode: offline` and "
            "upload later with `wandb sync`."
        ) from error


def _known_id(outputs: Path, step: int) -> str | None:
    """The id kept in the run folder; none for a run that starts from the beginning."""
    kept = outputs / RUN_ID_FILE
    if step == 0 or not kept.is_file():
        return None
    return kept.read_text(encoding="utf-8").strip() or None


def _keep_id(outputs: Path, run_id: str) -> None:
    part = outputs / f"{RUN_ID_FILE}.part"
    part.write_text(f"{run_id}\n", encoding="utf-8")
    part.replace(outputs / RUN_ID_FILE)
