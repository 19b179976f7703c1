"""Batches to latents and text features: through the encoders, or from where they were kept."""

import time
from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

import attrs
import torch
from torch import Tensor

from vidgen import weights
from vidgen.component import InputPath, Selection
from vidgen.engine import media
from vidgen.engine.data import Batch, Lookup
from vidgen.engine.features import Features, FeatureStore, check_filled
from vidgen.engine.parts import Encoders
from vidgen.interfaces import Context, Dataset
from vidgen.recipe.schema import FeatureOptions, TrainRecipe
from vidgen.rng import Draws

WEIGHTS_BY_VALUE = ("from_pretrained",)  # the fingerprint says which weights, wherever they lie


class Encoding:
    """The encoders of a run. lookup: where features are kept; None works everything out anew."""

    def __init__(self, encoders: Encoders, seed: int, lookup: Lookup | None, *, writes: bool) -> None:
        self._encoders, self._seed, self._lookup, self._writes = encoders, seed, lookup, writes
        self._stopwatch = Stopwatch(encoders.device)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Latents (B, C, T, H, W) float32 and the text encoder's output, on the device. The posterior's draws are
        addressed by (seed, epoch, row), with the epoch of the kept window where windows are kept."""
        with self._stopwatch:
            fresh = [place for place in range(len(batch.texts)) if place not in batch.features]
            made = self._encode(batch, fresh) if fresh else None
            if self._writes and made is not None:
                self._keep(batch, fresh, *made)
            return made if made is not None and not batch.features else self._join(batch, fresh, made)

    def seconds(self) -> float:
        """Spent here since last asked."""
        return self._stopwatch.read()

    def close(self) -> None:
        """Write what is still to be kept."""
        if self._lookup is not None and self._writes:
            self._lookup.store.write_index()

    @torch.no_grad()
    def _encode(self, batch: Batch, fresh: list[int]) -> tuple[Tensor, dict[str, Tensor]]:
        encoders, device = self._encoders, self._encoders.device
        assert batch.video is not None
        epoch = batch.epoch % self._lookup.epochs if self._lookup else batch.epoch
        draws = Draws(self._seed, [(epoch, batch.rows[place]) for place in fresh])
        with encoders.parallel.autocast():
            x = encoders.vae.encode(media.to_unit(batch.video.to(device)), draws).float()
            text = encoders.text_encoder.encode([batch.texts[place] for place in fresh])
        return x, {name: value.to(device) for name, value in text.items()}

    def _keep(self, batch: Batch, fresh: list[int], x: Tensor, text: Mapping[str, Tensor]) -> None:
        assert self._lookup is not None
        on_host = {name: value.cpu() for name, value in text.items()}
        for row, (place, latents) in enumerate(zip(fresh, x.cpu(), strict=True)):
            parts = {name: value[row] for name, value in on_host.items()}
            features = Features(latents, parts, batch.texts[place], float(batch.fps[place]))
            self._lookup.store.write(batch.keys[place], features)

    def _join(
        self, batch: Batch, fresh: list[int], made: tuple[Tensor, dict[str, Tensor]] | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        device = self._encoders.device
        latents = {place: one.latents.to(device, non_blocking=True) for place, one in batch.features.items()}
        texts = {place: one.text for place, one in batch.features.items()}
        if made is not None:
            x, text = made
            latents |= dict(zip(fresh, x, strict=True))
            texts |= {place: {name: value[row] for name, value in text.items()} for row, place in enumerate(fresh)}
        order = range(len(batch.texts))
        names = next(iter(texts.values()))
        joined = {name: torch.stack([texts[place][name].to(device) for place in order]) for name in names}
        return torch.stack([latents[place] for place in order]), joined


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
    plain, text_encoder = context.recipe, encoders.text_encoder
    producer = {
        "dataset": _settings(recipe.dataset, plain["dataset"]),
        "vae": [_settings(recipe.vae, plain["vae"]), weights.fingerprint(encoders.vae)],
        "text_encoder": [
            _settings(recipe.text_encoder, plain["text_encoder"]),
            weights.fingerprint(text_encoder),
        ],
        "seed": recipe.seed,
        "dtype": recipe.dtype,
        "frame_interval": recipe.frame_interval,
    }
    return FeatureStore(options.cache, producer, shard_size=options.shard_size)


def _settings(selection: Selection, plain: Mapping[str, Any]) -> dict[str, Any]:
    """A section without the places of files: what they hold is named otherwise."""
    fields = attrs.fields_dict(attrs.resolve_types(selection.component.options))
    places = {name for name, one in fields.items() if _is_place(one.type)} | set(WEIGHTS_BY_VALUE)
    return {key: value for key, value in plain.items() if key not in places}


def _is_place(kind: Any) -> bool:
    return kind is InputPath or (get_origin(kind) in (Union, UnionType) and InputPath in get_args(kind))
