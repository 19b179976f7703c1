"""Features worked out once: the same losses from the cache, nothing taken by mistake, nothing lost."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
from safetensors.torch import save_file
from tiny_run import RECIPE, assert_same_state, merged
from vidgen import RunError, UserError
from vidgen.engine.features import Features, FeatureStore, check_filled

Train = Callable[..., Path]


@pytest.fixture
def encode(tmp_path: Path) -> Callable[..., Path]:
    """Encode for the tiny recipe; returns the cache."""

    def run(**changes: Any) -> Path:
        given = {"job": "encode", "features.cache": str(tmp_path / "cache"), **changes}
        vidgen.run(vidgen.load_recipe(merged({**RECIPE, "outputs": str(tmp_path / "encoding")}, given)))
        return tmp_path / "cache"

    return run


def shards(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.safetensors"))


def features(seed: int = 0, tokens: int = 5) -> Features:
    draw = torch.Generator().manual_seed(seed)
    mask = (torch.arange(5) < tokens).long()
    y = torch.randn(5, 3, generator=draw) * mask[:, None]
    return Features(torch.randn(2, 1, 2, 3, generator=draw), {"y": y, "mask": mask}, f"caption {seed}", 8.0)


def assert_equal(one: Features, other: Features) -> None:
    assert (one.caption, one.fps) == (other.caption, other.fps)
    assert torch.equal(one.latents, other.latents) and one.text.keys() == other.text.keys()
    assert all(torch.equal(one.text[name], other.text[name]) for name in one.text)


def test_what_was_written_is_read_by_another_process(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, {"vae": "a"}, shard_size=2)
    for key in (7, 3, 2**62):
        store.write(key, features(key % 5, tokens=key % 5 + 1))
    store.write_index()
    again = FeatureStore(tmp_path, {"vae": "a"})
    assert len(again) == 3 and 4 not in again
    for key in (7, 3, 2**62):
        assert_equal(again.read(key), features(key % 5, tokens=key % 5 + 1))


def test_rows_of_zeros_behind_the_last_token_take_no_room(tmp_path: Path) -> None:
    sizes = []
    for tokens in (1, 5):
        store = FeatureStore(tmp_path / str(tokens), {})
        store.write(1, features(tokens=tokens))
        store.flush()
        sizes.append(store.bytes_on_disk())
    assert sizes[0] + 4 * 3 * 4 <= sizes[1]


@pytest.mark.parametrize("length", [5, None])
def test_a_store_that_an_earlier_version_wrote_is_read(tmp_path: Path, length: int | None) -> None:
    """It noted one length for all tensors of a caption, or none where nothing was cut."""
    store, whole = FeatureStore(tmp_path, {}), features(tokens=2)
    store.write(1, whole)
    store.flush()
    (path,) = shards(tmp_path)
    parts = {
        "latents": whole.latents,
        **{f"text.{name}": one[:2] if length else one for name, one in whole.text.items()},
    }
    about = {"names": list(parts), "length": length, "sample": [whole.caption, whole.fps]}
    tensors = {f"{path.stem}/{name}": value.contiguous().clone() for name, value in parts.items()}
    save_file(tensors, path, metadata={"entries": json.dumps({path.stem: about})})
    assert_equal(FeatureStore(tmp_path, {}).read(1), whole)


def test_a_caption_of_which_nothing_counts_is_kept(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, {})
    store.write(1, features(tokens=0))
    store.flush()
    assert_equal(FeatureStore(tmp_path, {}).read(1), features(tokens=0))


def test_another_producer_finds_nothing(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, {"vae": "a"})
    store.write(1, features())
    store.flush()
    assert 1 not in FeatureStore(tmp_path, {"vae": "b"})


def test_without_an_index_the_shards_are_asked(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, {})
    store.write(1, features())
    store.write_index()
    (index,) = tmp_path.rglob("index.parquet")
    index.write_bytes(b"not parquet")
    assert 1 in FeatureStore(tmp_path, {})
    index.unlink()
    assert 1 in FeatureStore(tmp_path, {})


@pytest.mark.parametrize("left", [0, 5, 100, -1])
def test_a_shard_cut_short_is_left_out_and_told_of(tmp_path: Path, left: int, caplog: pytest.LogCaptureFixture) -> None:
    store = FeatureStore(tmp_path, {}, shard_size=1)
    store.write(1, features())
    store.write(2, features(2))
    store.write_index()
    path = shards(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:left])
    again = FeatureStore(tmp_path, {})
    assert 1 not in again and 2 in again
    assert "cut short or damaged" in caplog.text


def test_encoding_asks_for_every_sample_once_and_then_for_none(encode: Callable[..., Path]) -> None:
    cache = encode()
    before = {path: path.stat().st_mtime_ns for path in shards(cache)}
    assert before
    encode()
    assert {path: path.stat().st_mtime_ns for path in shards(cache)} == before


@pytest.mark.parametrize("workers", [0, 2])
def test_training_from_the_cache_is_training_bit_for_bit(
    train: Train, encode: Callable[..., Path], workers: int
) -> None:
    """Moving shapes are the same in every epoch, so keeping one window of each changes nothing."""
    cache = encode()
    plain, cached = train("plain"), train("cached", features__cache=str(cache), num_workers=workers)
    assert_same_state(plain, cached, step=6)


def test_the_encoders_rest_while_training_reads(train: Train, encode: Callable[..., Path]) -> None:
    cache = encode()
    outputs = train("cached", features__cache=str(cache))
    header, *rows = [line.split(",") for line in (outputs / "metrics.csv").read_text().splitlines()]
    assert "encode_share" in header and len(rows) == 6


def test_what_is_missing_is_worked_out_and_kept_on_the_way(train: Train, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    plain = train("plain", max_steps=4)
    filling = train("filling", max_steps=4, features__cache=str(cache), features__mode="write-through")
    assert_same_state(plain, filling, step=4)
    reading = train("reading", max_steps=4, features__cache=str(cache))
    assert_same_state(plain, reading, step=4)


def test_a_killed_encoding_goes_on(encode: Callable[..., Path], train: Train) -> None:
    """Two of its shards are there, one is half-written."""
    cache = encode(**{"features.shard_size": 2})
    first, *_, last = shards(cache)
    half = last.rename(last.with_name(f"{last.name}.part"))
    os.utime(half, (0, 0))
    (first.parent / "index.parquet").unlink()
    kept = first.stat().st_mtime_ns
    encode(**{"features.shard_size": 2})
    assert first.stat().st_mtime_ns == kept and not list(cache.rglob("*.part"))
    assert_same_state(train("plain"), train("cached", features__cache=str(cache)), step=6)


def test_a_damaged_shard_is_made_again(encode: Callable[..., Path], train: Train) -> None:
    cache = encode(**{"features.shard_size": 2})
    path = shards(cache)[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    encode(**{"features.shard_size": 2})
    assert path.read_bytes() == whole


def test_what_another_rank_is_writing_is_left_alone(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, {})
    store.write(1, features())
    store.flush()
    writing = shards(tmp_path)[0].with_suffix(".safetensors.part")
    writing.touch()
    store.clear_partial()
    assert writing.exists()


def test_a_damaged_shard_goes_when_its_entries_stand_elsewhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = FeatureStore(tmp_path, {}, shard_size=2)
    for key in (1, 2):
        store.write(key, features(key))
    (damaged,) = shards(tmp_path)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    again = FeatureStore(tmp_path, {}, shard_size=1)
    assert len(again) == 0 and "job=encode and features.mode=write-through make it again" in caplog.text
    again.write(2, features(2))
    again.write_index()
    assert damaged not in shards(tmp_path)
    assert_equal(FeatureStore(tmp_path, {}).read(2), features(2))


def test_a_damaged_shard_that_was_written_anew_stays(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, {})
    store.write(1, features())
    store.flush()
    (path,) = shards(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    again = FeatureStore(tmp_path, {})
    path.write_bytes(whole)  # by another rank
    again.write_index()
    assert path.exists()


def test_a_place_that_cannot_be_written_is_told_before_much_is_worked_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"features\.cache: .*/file is a file; name a folder"):
        FeatureStore(tmp_path / "file", {})
    store = FeatureStore(tmp_path / "file/within", {}, shard_size=100)
    with pytest.raises(RunError, match=r"features\.cache: nothing can be kept in .*/file/within/.*Not a directory"):
        store.write(1, features())


def test_the_nearest_of_other_producers_is_told(tmp_path: Path) -> None:
    for producer in ({"vae": "a", "seed": 2}, {"vae": "b", "seed": 1}, {"vae": "b", "seed": 2, "dtype": "bf16"}):
        store = FeatureStore(tmp_path, producer)
        store.write(1, features())
        store.flush()
    with pytest.raises(UserError, match=r"was made with another seed\. Run the same recipe"):
        check_filled(FeatureStore(tmp_path, {"vae": "a", "seed": 3}))


def test_windows_of_several_epochs_are_kept(encode: Callable[..., Path], tmp_path: Path) -> None:
    cache = encode(**{"features.epochs": 2})
    (index,) = cache.rglob("index.parquet")
    import pyarrow.parquet as pq

    assert 12 <= pq.read_table(index).num_rows <= 16  # three epochs, each of 6 of 8 rows; the third sees the first's


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"vae.patch": [1, 2, 4]}, "vae"), ({"text_encoder.width": 4}, "text_encoder"), ({"seed": 8}, "seed")],
)
def test_features_made_otherwise_are_not_taken(
    encode: Callable[..., Path], train: Train, changes: dict[str, Any], named: str
) -> None:
    cache = encode(**changes)
    with pytest.raises(UserError, match=rf"nothing is in .* made with another {named}.* job=encode first"):
        train("cached", features__cache=str(cache))


def test_a_row_that_changed_is_not_taken(train: Train, encode: Callable[..., Path], tmp_path: Path) -> None:
    from PIL import Image

    table = tmp_path / "clips.csv"
    for number in range(3):
        Image.new("RGB", (16, 8), (90 * number, 0, 0)).save(tmp_path / f"{number}.png")
    table.write_text("path,text\n" + "".join(f"{number}.png,a picture\n" for number in range(3)))
    data = {"dataset": {"type": "VideoText", "data_path": str(table)}, "num_frames": 1}
    cache = encode(**data)
    train("first", max_steps=1, features__cache=str(cache), **data)
    Image.new("RGB", (16, 8), (0, 255, 0)).save(tmp_path / "1.png")
    with pytest.raises(UserError, match=r"row 1 is not in .* or its media, caption or size changed since"):
        train("second", max_steps=1, features__cache=str(cache), **data)


def test_encoding_needs_a_place(encode: Callable[..., Path]) -> None:
    recipe = merged(RECIPE, {"job": "encode"})
    with pytest.raises(vidgen.RecipeError, match=r"features: {cache: FOLDER}"):
        vidgen.load_recipe(recipe)


def test_the_cache_tells_what_made_it(encode: Callable[..., Path]) -> None:
    (about,) = encode().rglob("producer.json")
    assert json.loads(about.read_text()).keys() >= {"vae", "text_encoder", "dataset", "seed", "dtype"}


def test_what_made_a_store_is_written_whole_whoever_writes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another rank is in the middle of it; this one is killed there, and begins anew."""
    store = FeatureStore(tmp_path, {"vae": "a"})
    store.folder.mkdir()
    theirs = store.folder / "producer.json.elsewhere-7.part"
    theirs.write_text('{"va')

    def kill(path: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "replace", kill)
        store.write(1, features())
    about = store.folder / "producer.json"
    assert not about.exists() and len(list(store.folder.glob("producer.json.*.part"))) == 2
    store.write(1, features())
    assert json.loads(about.read_text()) == {"vae": "a"} and theirs.read_text() == '{"va'


@pytest.mark.parametrize(
    ("content", "why"), [('{"vae": "b', "Unterminated string"), ("", "Expecting value"), ("[1]", "it holds no mapping")]
)
def test_what_made_a_store_is_told_to_be_damaged_and_written_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str, why: str
) -> None:
    for producer in ({"vae": "a", "seed": 1}, {"vae": "b", "seed": 2}):
        store = FeatureStore(tmp_path, producer)
        store.write(1, features())
        store.flush()
    about = store.folder / "producer.json"
    about.write_text(content)
    with pytest.raises(UserError, match=r"was made with another seed\. Run the same recipe"):
        check_filled(FeatureStore(tmp_path, {"vae": "a", "seed": 3}))
    (told,) = caplog.messages
    assert told.startswith(f"{about} is cut short or damaged ({why}")
    FeatureStore(tmp_path, store.producer).write(2, features())
    assert json.loads(about.read_text()) == {"vae": "b", "seed": 2}


def test_what_could_not_be_encoded_is_a_bad_sample_in_training_and_what_is_missing_stops_it(
    train: Train, encode: Callable[..., Path], tmp_path: Path
) -> None:
    """Row 5 is cut off: it is noted; row 6 is fine, and its entry is lost."""
    from vidgen.engine import media

    for row in range(8):
        clip = torch.full((3, 2, 16, 16), 30 * row, dtype=torch.uint8)
        media.write(tmp_path / f"clip{row}", clip, 8.0, {})
    (tmp_path / "clip5.mp4").write_bytes(b"no video")
    lines = [f"clip{row}.mp4,a clip,2,16,16,8" for row in range(8)]
    (tmp_path / "clips.csv").write_text("\n".join(["path,text,num_frames,height,width,fps", *lines]))
    changes: dict[str, Any] = {
        "dataset": {"type": "VideoText", "data_path": str(tmp_path / "clips.csv")},
        "batch_size": 2,
        "max_bad_fraction": 0.5,
    }
    cache = encode(**changes)
    (note,) = [json.loads(line) for line in next(cache.rglob("unreadable.jsonl")).read_text().splitlines()]
    assert "clip5.mp4" in note["reason"]
    run = train("from cache", **changes, features={"cache": str(cache)}, max_steps=4)
    assert [json.loads(line)["row"] for line in (run / "bad_samples.jsonl").read_text().splitlines()] == [5]
    next(cache.rglob("unreadable.jsonl")).unlink()
    with pytest.raises(UserError, match=r"row 5 is not in .*or its media, caption or size changed"):
        train("stops", **changes, features={"cache": str(cache)}, max_steps=4)
