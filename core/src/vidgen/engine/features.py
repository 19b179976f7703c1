"""Latents and text features on disk, worked out once.

A store is a folder of safetensors shards, each written under another name and renamed, so that a killed run leaves
whole ones; an index in Parquet tells which entry is where, and shards that it does not know yet are asked themselves.
What produced the entries (encoders, their weights, the dataset's options) has a name, and every producer a folder of
its own: entries of another one cannot be taken by mistake.
"""

import json
import logging
import struct
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from secrets import token_hex
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from attrs import frozen
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vidgen.engine.padding import lengthened, trimmed
from vidgen.errors import RunError, UserError
from vidgen.runfolder import write_whole

LOG = logging.getLogger("vidgen")
INDEX, PRODUCER, PARTIAL, UNREADABLE = "index.parquet", "producer.json", ".part", "unreadable.jsonl"
OPEN_SHARDS = 64
ABANDONED = 3600
"""Seconds after which a half-written file is nobody's: other ranks may be at work in the same folder."""


@frozen
class Features:
    """What the encoders make of one sample.

    latents: (C, T, H, W). text: name -> the text encoder's output without the batch axis. caption, fps: of the sample.
    """

    latents: Tensor
    text: Mapping[str, Tensor]
    caption: str
    fps: float


def _read_reasons(path: Path) -> dict[int, str]:
    """Lines of JSON; one that was cut off by a kill is passed over."""
    reasons: dict[int, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        with suppress(ValueError, KeyError, TypeError):
            note = json.loads(line)
            reasons[int(note["key"])] = str(note["reason"])
    return reasons


class FeatureStore:
    """Entries by key, a number made of all that an entry depends on (`vidgen.rng.address`)."""

    def __init__(self, folder: Path, producer: Mapping[str, Any], *, shard_size: int = 256) -> None:
        """folder: of all producers. producer: plain data that name what makes entries. shard_size: entries a file.

        Raises: UserError, when `folder` is a file.
        """
        if folder.exists() and not folder.is_dir():
            raise UserError(f"features.cache: {folder} is a file; name a folder, which may be new")
        name = blake2b(json.dumps(producer, sort_keys=True).encode(), digest_size=6).hexdigest()
        self.folder, self.producer = folder / name, producer
        self._shard_size = shard_size
        self._waiting: dict[int, Features] = {}
        self._damaged: list[Path] = []
        self._places = self._find() if self.folder.is_dir() else {}
        self.unreadable = _read_reasons(self.folder / UNREADABLE)
        """Key -> why there is no entry, of samples that could not be read when they should have been encoded."""

    def __len__(self) -> int:
        return len(self._places) + len(self._waiting)

    def __contains__(self, key: int) -> bool:
        return key in self._places or key in self._waiting

    def __getstate__(self) -> dict[str, Any]:
        """For worker processes, which read: without what waits to be written."""
        return {**self.__dict__, "_waiting": {}}

    def read(self, key: int) -> Features:
        """Raises: KeyError, when there is no such entry; RunError, when its shard cannot be read any more."""
        if key in self._waiting:
            return self._waiting[key]
        path = self.folder / self._places[key]
        try:
            shard, entries = _open(path)
            about = entries[_name(key)]
            names = {name: f"{_name(key)}/{name}" for name in about["names"]}
            stored = {name: shard.get_tensor(place) for name, place in names.items()}
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            raise RunError(f"{path} cannot be read ({error}). Delete it and run `job=encode` again.") from error
        text = {name.removeprefix("text."): value for name, value in stored.items() if name != "latents"}
        return Features(stored["latents"], lengthened(text, _lengths(about, text)), *about["sample"])

    def write(self, key: int, features: Features) -> None:
        """Keep an entry; it is on disk after `flush`, or sooner. Raises: RunError, at once when nothing can be kept."""
        if not self._waiting:
            self._prepare()
        self._waiting[key] = features
        if len(self._waiting) >= self._shard_size:
            self.flush()

    def flush(self) -> None:
        """Write what waits as one shard. Raises: RunError, with all earlier shards intact."""
        if not self._waiting:
            return
        tensors, entries = dict[str, Tensor](), dict[str, Any]()
        for key, one in self._waiting.items():
            text, lengths = trimmed(one.text)
            parts = {"latents": one.latents, **{f"text.{name}": value for name, value in text.items()}}
            tensors |= {f"{_name(key)}/{name}": value.contiguous().clone() for name, value in parts.items()}
            entries[_name(key)] = {"names": list(parts), "lengths": lengths, "sample": [one.caption, one.fps]}
        path = self.folder / f"{_name(min(self._waiting))}.safetensors"
        partial = path.with_name(f"{path.name}{PARTIAL}")
        try:
            save_file(tensors, partial, metadata={"entries": json.dumps(entries)})
            partial.replace(path)
        except (OSError, SafetensorError) as error:
            partial.unlink(missing_ok=True)
            raise RunError(f"features could not be written to {path}: {error}. Everything before is intact.") from error
        self._places |= dict.fromkeys(self._waiting, path.name)
        self._waiting = {}

    def mark_unreadable(self, key: int, reason: str) -> None:
        """Note why there is no entry for `key`, for runs that read from here. Raises: RunError."""
        if key in self.unreadable:
            return
        self._prepare()
        self.unreadable[key] = reason
        with (self.folder / UNREADABLE).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "reason": reason}, ensure_ascii=False) + "\n")

    def clear_unreadable(self) -> None:
        """Forget such notes: everything is to be tried again."""
        (self.folder / UNREADABLE).unlink(missing_ok=True)
        self.unreadable = {}

    def write_index(self) -> None:
        """Note where every entry is, so that the next opening need not ask each shard. Shards that were found damaged
        go, unless they have been written anew: what they held stands elsewhere, or can be had from nowhere."""
        self.flush()
        for path in (one for one in self._damaged if not _is_whole(one)):
            path.unlink(missing_ok=True)
        if not self._places:
            return
        shards = pa.array(self._places.values()).dictionary_encode()
        table = pa.table({"key": pa.array(self._places, pa.uint64()), "shard": shards})
        partial = self._partial(INDEX)
        pq.write_table(table, partial)
        partial.replace(self.folder / INDEX)

    def clear_partial(self) -> None:
        """Remove what a killed run left half-written an hour ago or longer."""
        now = time.time()
        for path in self.folder.glob(f"*{PARTIAL}"):
            with suppress(FileNotFoundError):  # another rank was quicker
                if now - path.stat().st_mtime > ABANDONED:
                    path.unlink()

    def bytes_on_disk(self) -> int:
        """Of all shards."""
        return sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))

    def others(self) -> list[dict[str, Any]]:
        """What made the entries of the neighbouring folders; to tell why none are found here. Files that are damaged
        are told of and left out."""
        paths = [path for path in sorted(self.folder.parent.glob(f"*/{PRODUCER}")) if path.parent != self.folder]
        return [found for found in map(_read_producer, paths) if found is not None]

    def _prepare(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write_producer()
        except (OSError, RunError) as error:
            raise RunError(f"features.cache: nothing can be kept in {self.folder}: {error}") from error

    def _write_producer(self) -> None:
        """Unless it is there, whole: several ranks may write it at once, and an earlier run may have been killed."""
        path, text = self.folder / PRODUCER, json.dumps(self.producer, indent=1)
        if path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text:
            return
        write_whole(path, text, partial=self._partial(PRODUCER))

    def _partial(self, name: str) -> Path:
        """Where this process writes a file of which other ranks may write theirs at once."""
        return self.folder / f"{name}.{token_hex(4)}{PARTIAL}"

    def _find(self) -> dict[int, str]:
        """Every entry of every whole shard. A damaged one is told of and left out, as if it had never been."""
        places: dict[int, str] = {}
        known = _read_index(self.folder / INDEX)
        for path in sorted(self.folder.glob("*.safetensors")):
            keys = (known.get(path.name) or _keys_in(path)) if _is_whole(path) else None
            if keys is None:
                self._damaged.append(path)
                LOG.warning(
                    "%s is cut short or damaged. What it held counts as missing; job=encode and features.mode="
                    "write-through make it again.",
                    path,
                )
            else:
                places |= dict.fromkeys(keys, path.name)
        return places


def _read_producer(path: Path) -> dict[str, Any] | None:
    """What made the entries beside it; None where the file is damaged, which is told."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
        why = "it holds no mapping"
    except (OSError, ValueError) as error:
        why = str(error)
    LOG.warning(
        "%s is cut short or damaged (%s): nobody can tell what made the features in its folder. A run that makes such "
        "features writes it anew; or delete the folder.",
        *(path, why),
    )
    return None


def check_filled(store: FeatureStore) -> None:
    """Refuse to train from a store without entries. Raises: UserError, saying why none may be there."""
    if len(store):
        return
    raise UserError(
        f"features.cache: nothing is in {store.folder}.{_difference(store)} Run the same recipe with job=encode first, "
        "or set features.mode=write-through."
    )


def _difference(store: FeatureStore) -> str:
    """In what the nearest of the other producers differs."""
    differing: list[list[str]] = [
        sorted(key for key, value in store.producer.items() if other.get(key) != value) for other in store.others()
    ]
    if not differing:
        return ""
    nearest: list[str] = min(differing, key=len)
    composed = any(isinstance(store.producer[key], list | dict) for key in nearest)
    return (
        f" What is there was made with another {' and '.join(nearest)}{' (settings or weights)' if composed else ''}."
    )


def _name(key: int) -> str:
    return f"{key:016x}"


def _lengths(about: Mapping[str, Any], text: Mapping[str, Tensor]) -> dict[str, int]:
    """Those of an entry's tensors when they were whole; older stores note one for all, or none where all are whole."""
    if "lengths" in about:
        return dict(about["lengths"])
    return {} if about["length"] is None else dict.fromkeys(text, about["length"])


@lru_cache(maxsize=OPEN_SHARDS)
def _open(path: Path) -> tuple[Any, dict[str, Any]]:
    """The shard, mapped, so that reading an entry reads no other; and what it holds."""
    shard = safe_open(path, framework="pt")
    return shard, json.loads(shard.metadata()["entries"])


def _is_whole(path: Path) -> bool:
    """Whether a file is there and as long as its own header says."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length)) if length < size else {}
    except (OSError, ValueError, struct.error):
        return False
    ends = [about["data_offsets"][1] for name, about in header.items() if name != "__metadata__"]
    return bool(ends) and 8 + length + max(ends) == size


def _keys_in(path: Path) -> list[int] | None:
    try:
        with safe_open(path, framework="pt") as shard:
            return [int(name, 16) for name in json.loads(shard.metadata()["entries"])]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None


def _read_index(path: Path) -> dict[str, list[int]]:
    """Keys by shard; nothing when there is no index, or it is damaged: the shards themselves know."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid):
        return {}
    found: dict[str, list[int]] = {}
    for key, shard in _rows(table):
        found.setdefault(shard, []).append(key)
    return found


def _rows(table: pa.Table) -> Iterable[tuple[int, str]]:
    return zip(table.column("key").to_pylist(), table.column("shard").to_pylist(), strict=True)
