"""Batches to latents and text features: through the encoders, or from where they were kept."""

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import UnionType
from typing import Any, Union, get_args, get_origin

import attrs
import torch
from attrs import evolve, frozen
from torch import Tensor

from vidgen import weights
from vidgen.component import InputPath, Selection
from vidgen.conditioning.frame_masks import blanked, video_mask
from vidgen.conditioning.latent_time import LatentTime
from vidgen.engine import media
from vidgen.engine.batch import Batch
from vidgen.engine.data import Lookup
from vidgen.engine.features import Features, FeatureStore, check_filled
from vidgen.engine.parts import Encoders
from vidgen.interfaces import Context, Dataset
from vidgen.recipe.schema import FeatureOptions, TrainRecipe
from vidgen.rng import Draws

WEIGHTS_BY_VALUE = ("from_pretrained",)  # the fingerprint says which weights, wherever they lie


@frozen(kw_only=True)
class Encoded:
    """What a model is trained on, on the device.

    x: latents (B, C, T, H, W) float32. text: the text encoder's output. valid: (B, T, H, W) bool on the CPU, true where
    a latent is no padding; None where there is none.
    """

    x: Tensor
    text: dict[str, Tensor]
    valid: Tensor | None


class Encoding:
    """The encoders of a run. lookup: where features are kept; None works everything out anew. dropped: texts in place
    of captions, for models without a null caption of their own."""

    def __init__(
        self,
        encoders: Encoders,
        seed: int,
        lookup: Lookup | None,
        *,
        writes: bool,
        dropped: Sequence[str] = ("",),
    ) -> None:
        self._encoders, self.seed, self._lookup, self._writes = encoders, seed, lookup, writes
        self._dropped = list(dropped)
        self._stopwatch = Stopwatch(encoders.device)

    def __call__(self, batch: Batch) -> Encoded:
        """Encode what is not known yet. The posterior's draws are addressed by (seed, epoch, row), with the epoch of
        the kept window where windows are kept."""
        with self._stopwatch:
            return self._joined(*self._worked_out(batch))

    def known(self, batch: Batch) -> Batch:
        """The same batch with the features of all its clips, on the device, in place of pixels."""
        with self._stopwatch:
            latents, texts = self._worked_out(batch)
        features = {
            place: Features(latents[place], texts[place], text, fps)
            for place, (text, fps) in enumerate(zip(batch.texts, batch.fps.tolist(), strict=True))
        }
        return evolve(batch, groups=(), features=features)

    def without_captions(self, text: Mapping[str, Tensor], dropped: Tensor, draws: Draws) -> dict[str, Tensor]:
        """Encodings of the texts for dropped captions in place of some captions'.

        text: of a batch, (B, ...) each. dropped: (B,) bool. draws: which text (purpose `dropped caption`).
        """
        which = draws.integers("dropped caption", len(self._dropped), device=dropped.device)
        return {
            name: torch.where(dropped.view(-1, *[1] * (value.ndim - 1)), self._null_texts[name][which].to(value), value)
            for name, value in text.items()
        }

    @cached_property
    def _null_texts(self) -> dict[str, Tensor]:
        """(texts, ...) each, on the device; worked out when first asked for."""
        with torch.no_grad(), self._encoders.parallel.autocast():
            found: dict[str, Tensor] = self._encoders.text_encoder.encode(self._dropped)
        return {name: value.to(self._encoders.device) for name, value in found.items()}

    @torch.no_grad()
    def shown(self, batch: Batch, masks: Sequence[Tensor]) -> dict[str, Tensor]:
        """`masked_video` and `video_mask` of a model that is shown frames beside the noise (see `interfaces.Model`), on
        the device, with zeros where clips are padded. masks: (F,) bool of each clip, true where a frame is to be made.
        """
        encoders, latents, told = self._encoders, dict[int, Tensor](), dict[int, Tensor]()
        with self._stopwatch, encoders.parallel.autocast():
            for group in batch.groups:
                mask = torch.stack([masks[place] for place in group.places]).to(encoders.device)
                video = media.to_unit(group.video.to(encoders.device, non_blocking=True))
                x = encoders.vae.encode(blanked(video, mask)).float()
                time = LatentTime.of(encoders.vae, batch.sizes[group.places[0]])
                latents |= zip(group.places, x, strict=True)
                told |= zip(group.places, video_mask(mask, time, (*x.shape[2:],)), strict=True)
        places = sorted(latents)
        return {
            "masked_video": padded([latents[place] for place in places])[0],
            "video_mask": padded([told[place] for place in places])[0],
        }

    def seconds(self) -> float:
        """Spent here since last asked."""
        return self._stopwatch.read()

    def close(self) -> None:
        """Write what is still to be kept."""
        if self._lookup is not None and self._writes:
            self._lookup.store.write_index()

    def _worked_out(self, batch: Batch) -> tuple[dict[int, Tensor], dict[int, Mapping[str, Tensor]]]:
        """Latents and text features by place, without the batch axis."""
        latents = {place: one.latents for place, one in batch.features.items()} | self._latents(batch)
        texts = {place: one.text for place, one in batch.features.items()} | self._texts(batch)
        if self._writes:
            self._keep(batch, latents, texts)
        return latents, texts

    @torch.no_grad()
    def _latents(self, batch: Batch) -> dict[int, Tensor]:
        """Of the clips in the batch, by place; each (C, T, H, W) float32."""
        encoders, latents = self._encoders, dict[int, Tensor]()
        epoch = batch.epoch % self._lookup.epochs if self._lookup else batch.epoch
        for group in batch.groups:
            draws = Draws(self.seed, [(epoch, batch.rows[place]) for place in group.places])
            with encoders.parallel.autocast():
                video = media.to_unit(group.video.to(encoders.device, non_blocking=True))
                x = encoders.vae.encode(video, draws).float()
            latents |= zip(group.places, x, strict=True)
        return latents

    @torch.no_grad()
    def _texts(self, batch: Batch) -> dict[int, dict[str, Tensor]]:
        """What the text encoder makes of the captions that are not known, by place, without the batch axis."""
        encoders = self._encoders
        places = [place for place in range(len(batch.texts)) if place not in batch.features]
        if not places:
            return {}
        with encoders.parallel.autocast():
            text = encoders.text_encoder.encode([batch.texts[place] for place in places])
        return {place: {name: value[i] for name, value in text.items()} for i, place in enumerate(places)}

    def _keep(self, batch: Batch, latents: Mapping[int, Tensor], texts: Mapping[int, Mapping[str, Tensor]]) -> None:
        assert self._lookup is not None
        for place in latents.keys() - batch.features.keys():
            text = {name: value.cpu() for name, value in texts[place].items()}
            features = Features(latents[place].cpu(), text, batch.texts[place], float(batch.fps[place]))
            self._lookup.store.write(batch.keys[place], features)

    def _joined(self, latents: Mapping[int, Tensor], texts: Mapping[int, Mapping[str, Tensor]]) -> Encoded:
        device, places = self._encoders.device, range(len(latents))
        x, valid = padded([latents[place].to(device, non_blocking=True) for place in places])
        names = texts[0]
        text = {name: torch.stack([texts[place][name].to(device) for place in places]) for name in names}
        return Encoded(x=x, text=text, valid=valid)


def padded(latents: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """latents: (C, T, H, W) each. Returns (B, C, T, H, W), with zeros behind what is smaller than the largest, and
    (B, T, H, W) bool on the CPU, true where nothing was put; None when all are of one size."""
    sizes = [one.shape[1:] for one in latents]
    if len(set(sizes)) == 1:
        return torch.stack(list(latents)), None
    largest = [max(size[axis] for size in sizes) for axis in range(3)]
    x = latents[0].new_zeros(len(latents), len(latents[0]), *largest)
    valid = torch.zeros(len(latents), *largest, dtype=torch.bool)
    for row, (one, (frames, rows, columns)) in enumerate(zip(latents, sizes, strict=True)):
        x[row, :, :frames, :rows, :columns] = one
        valid[row, :frames, :rows, :columns] = True
    return x, valid


class Stopwatch:
    """Seconds inside `with`; on a GPU those of its work, read without waiting until they are asked for."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._spans: list[tuple[Any, Any]] = []

    def __enter__(self) -> None:
        self._begun = self._now()

    def __exit__(self, *_: object) -> None:
        self._spans.append((self._begun, self._now()))

    def read(self) -> float:
        """Their sum since last asked."""
        spans, self._spans = self._spans, []
        if not self._cuda:
            return sum(end - begun for begun, end in spans)
        for _, end in spans[-1:]:
            end.synchronize()
        return sum(begun.elapsed_time(end) for begun, end in spans) / 1000

    def _now(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def make_lookup(recipe: TrainRecipe, context: Context, encoders: Encoders, dataset: Dataset) -> Lookup | None:
    """Where the recipe keeps features; None where it keeps none. Raises: UserError, when there are none to read."""
    options = recipe.features
    if options is None or options.mode == "off":
        return None
    store = open_store(recipe, options, context, encoders)
    if options.mode == "read":
        check_filled(store)
    return Lookup(dataset, store, epochs=options.epochs, needed=options.mode == "read")


def open_store(recipe: TrainRecipe, options: FeatureOptions, context: Context, encoders: Encoders) -> FeatureStore:
    """The store of exactly these encoders and settings."""
    plain = context.recipe
    producer = {
        "dataset": _settings(recipe.dataset, plain["dataset"]),
        "vae": _producer(recipe.vae, plain["vae"], encoders.vae),
        "text_encoder": _producer(recipe.text_encoder, plain["text_encoder"], encoders.text_encoder),
        "seed": recipe.seed,
        "dtype": recipe.dtype,
        "frame_interval": recipe.frame_interval,
    }
    return FeatureStore(options.cache, producer, shard_size=options.shard_size)


def _producer(selection: Selection, plain: Mapping[str, Any], encoder: Any) -> list[Any]:
    return [_settings(selection, plain), weights.fingerprint(encoder), weights.structure(encoder)]


def _settings(selection: Selection, plain: Mapping[str, Any]) -> dict[str, Any]:
    """A section without the places of files: what they hold is named otherwise."""
    fields = attrs.fields_dict(attrs.resolve_types(selection.component.options))
    places = {name for name, one in fields.items() if _is_place(one.type)} | set(WEIGHTS_BY_VALUE)
    return {key: value for key, value in plain.items() if key not in places}


def _is_place(kind: Any) -> bool:
    return kind is InputPath or (get_origin(kind) in (Union, UnionType) and InputPath in get_args(kind))
