"""`job: reconstruct`: clips there and back through an autoencoder, with figures and a picture."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from attrs import evolve
from torch import Tensor
from vidgen import weights
from vidgen.engine import media
from vidgen.engine.session import Session, logging_to, owned_folder, write_recipe
from vidgen.engine.source_clip import centre
from vidgen.errors import RunError, UserError, VidgenError
from vidgen.interfaces import Context, Media, Parallel, RunInfo
from vidgen.recipe.load import recipe_hash
from vidgen.recipe.source import dump_yaml
from vidgen_quality.psnr import psnr
from vidgen_quality.sheet import contact_sheet, spread
from vidgen_quality.ssim import ssim

from vidgen_train_autoencoder.clips import Clip, Cut, clips_of_dataset, clips_of_folder
from vidgen_train_autoencoder.evaluation import reconstruct
from vidgen_train_autoencoder.parts import build_dataset, shared_context
from vidgen_train_autoencoder.recipe import RECONSTRUCT, ReconstructRecipe
from vidgen_train_autoencoder.table import Row, summarise, write_summary, write_table

LOG = logging.getLogger("vidgen")
NO_PART_OF_A_CLIP = (
    "trackers", "max_clips", "sheet_clips", "sheet_frames", "input", "parallel", "checkpoint", "ema"
)  # fmt: skip
"""Keys that say which clips there are and what is told of them; weights and sources are named by what they hold."""


def build(options: ReconstructRecipe, context: Context) -> "ReconstructJob":
    """The job; nothing is loaded before it runs."""
    return ReconstructJob(options, context)


class ReconstructJob:
    """What is there already is left as it is, so that a run that was stopped goes on."""

    def __init__(self, recipe: ReconstructRecipe, context: Context) -> None:
        self.recipe, self.context = recipe, shared_context(recipe, context)

    def run(self) -> None:
        """Reconstruct, measure, sum up. Raises: RunError, when not a single clip could be reconstructed."""
        outputs = self.recipe.outputs
        with owned_folder(outputs), logging_to(outputs) as console:
            clips = self._clips()
            work = Reconstruction(self.recipe, self.context)
            write_recipe(outputs / "recipe.yaml", dump_yaml(dict(self.context.recipe)))
            with Session(RunInfo(RECONSTRUCT, outputs), self.recipe.trackers, self.context, console) as session:
                work.run(clips, session)

    def dry_run(self) -> Mapping[str, str]:
        """See `interfaces.Job`."""
        with torch.device("meta"):
            vae = self.context.components.build(self.recipe.vae, evolve(self.context, load_weights=False))
        parameters = f"{sum(p.numel() for p in vae.parameters()):,}"
        return {"parameters": parameters, "clips": str(len(self._clips())), "outputs": str(self.recipe.outputs)}

    def _clips(self) -> list[Clip]:
        recipe = self.recipe
        if recipe.dataset is not None:
            assert recipe.num_frames is not None and recipe.image_size is not None, "the recipe was checked"
            dataset = build_dataset(recipe.dataset, self.context)
            clips = clips_of_dataset(dataset, recipe.num_frames, recipe.image_size, recipe.seed)
        else:
            assert recipe.input is not None, "the recipe was checked"
            cut = Cut(num_frames=recipe.num_frames, interval=recipe.frame_interval, size=recipe.image_size)
            clips = clips_of_folder(recipe.input, recipe.outputs, cut)
        return clips[: recipe.max_clips]


class Reconstruction:
    """The autoencoder with its weights, and what is made with it. Raises: UserError, when a clip of the recipe's size
    does not fit it."""

    def __init__(self, recipe: ReconstructRecipe, context: Context) -> None:
        self.recipe, self.folder = recipe, recipe.outputs / "reconstructions"
        self.parallel: Parallel = context.components.build(recipe.parallel, context)
        found = recipe.checkpoint
        vae = context.components.build(recipe.vae, evolve(context, load_weights=found is None))
        if found is not None:
            weights.load_into(vae, found, ema=recipe.ema)
        self.vae: Any = vae.to(self.parallel.device).requires_grad_(False).eval()
        if recipe.num_frames is not None and recipe.image_size is not None:
            vae.latent_size((recipe.num_frames, *recipe.image_size))
        settings = {key: value for key, value in context.recipe.items() if key not in NO_PART_OF_A_CLIP}
        self.origin = {"recipe": recipe_hash(settings), "weights": weights.fingerprint(vae)}

    def run(self, clips: Sequence[Clip], session: Session) -> None:
        """All clips that are not there yet, then table, summary and sheet.

        Raises: UserError, when files that are there were made otherwise; RunError, when no clip could be reconstructed.
        """
        self._check_kept(clips)
        rows: list[Row] = []
        for number, clip in enumerate(clips, start=1):
            if session.stopped:
                LOG.warning("stopped by %s; the same command goes on", session.stopped)
                break
            rows.append(self._row(clip))
            session.progress.advance(RECONSTRUCT, number, len(clips))
        write_table(self.recipe.outputs / "reconstructions.csv", rows)
        made = [(clip, row) for clip, row in zip(clips, rows, strict=False) if row.path is not None]
        if not made and rows:
            raise RunError(f"none of {len(rows)} clips could be reconstructed; the first one: {rows[0].problem}")
        scores = summarise([row for _, row in made])
        write_summary(self.recipe.outputs / "summary.json", scores, rows)
        sheet = list(self._sheet(made))
        session.hooks.vidgen_samples_written(step=0, samples=[*sheet, *(_media(row) for _, row in made)])
        session.scores(0, scores)

    def _row(self, clip: Clip) -> Row:
        """One clip, made now or before; what is wrong with it is noted, and the rest goes on."""
        path = self._kept(clip)
        try:
            return _row_of(clip, path, media.provenance(path)) if path else self._made(clip)
        except (VidgenError, OSError) as error:
            LOG.warning("%s is left out: %s", clip.source, error)
            return Row(source=clip.source, problem=str(error))

    def _made(self, clip: Clip) -> Row:
        real, fps = self._whole(clip)
        rebuilt = reconstruct(self.vae, self.parallel, real)
        about = {"size": list(real.shape[1:]), "psnr": psnr(rebuilt, real), "ssim": ssim(rebuilt, real)}
        about |= {**self.origin, "source": clip.identity()}
        path = media.write(self.folder / clip.name, rebuilt, fps, about, self.recipe.upscale)
        return _row_of(clip, path, about)

    def _kept(self, clip: Clip) -> Path | None:
        """What an earlier run made of it."""
        path = self.folder / clip.name
        return next((one for one in (media.final_path(path, frames) for frames in (1, 2)) if one.exists()), None)

    def _check_kept(self, clips: Sequence[Clip]) -> None:
        there = [(clip, path) for clip in clips if (path := self._kept(clip)) is not None]
        for clip, path in there:
            found, wanted = media.provenance(path), {**self.origin, "source": clip.identity()}
            if any(found.get(key) != value for key, value in wanted.items()):
                raise UserError(
                    f"{path} comes from other settings, weights or another clip: choose another outputs folder, or "
                    "delete what is there."
                )
        if there:
            LOG.info("%d clips are there already and are left as they are", len(there))

    def _whole(self, clip: Clip) -> tuple[Tensor, float]:
        """The clip, less the edge rows and columns that fill no latent. Raises: UserError, RunError."""
        video, fps = clip.load()
        rows, columns = (old // step * step for old, step in zip(video.shape[2:], self.vae.stride[1:], strict=True))
        # a side of which nothing is left is refused as it was given
        self.vae.latent_size((video.shape[1], rows or video.shape[2], columns or video.shape[3]))
        return centre(video, (rows, columns)), fps

    def _sheet(self, made: Sequence[tuple[Clip, Row]]) -> Iterator[Media]:
        """Some of the clips, real beside reconstructed, as the written files have them."""
        shown = [made[number] for number in spread(len(made), self.recipe.sheet_clips)]
        pairs = [(self._whole(clip)[0], self._read(row)) for clip, row in shown]
        if not pairs:
            return
        sheet = contact_sheet(pairs, self.recipe.sheet_frames, "beside", self.recipe.upscale)
        path = media.write(self.recipe.outputs / "contact_sheet", sheet, 1.0, dict(self.origin))
        yield Media(path, "real | reconstructed", (1, sheet.shape[2], sheet.shape[3]))

    def _read(self, row: Row) -> Tensor:
        assert row.path is not None
        return media.read(row.path, self.recipe.upscale, row.size[1:])


def _row_of(clip: Clip, path: Path, about: Mapping[str, Any]) -> Row:
    """From what the written file says of itself."""
    frames, rows, columns = about["size"]
    return Row(source=clip.source, path=path, size=(frames, rows, columns), psnr=about["psnr"], ssim=about["ssim"])


def _media(row: Row) -> Media:
    assert row.path is not None
    return Media(row.path, row.source, row.size)
