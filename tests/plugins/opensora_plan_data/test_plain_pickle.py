"""Pickles of plain data, and what else pickles may be."""

import collections
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from vidgen_opensora_plan_data.plain_pickle import NotPlain, load_plain

PLAIN = [{"a": 1, "b": [2.5, None, True], "c": ("t", {"s"}), "d": b"x", "e": "ü\U0001f600", "f": 1 << 80}]


class Evil:
    """What a malicious pickle does: at loading it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_of_every_protocol_is_read(tmp_path, protocol):
    data = PLAIN if protocol > 3 else [{"a": 1, "b": [2.5, None, True], "c": "t"}]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(data, protocol=protocol))
    assert load_plain(tmp_path / "a.pkl") == data


def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path):
    target = tmp_path / "ran"
    evil = pickle.dumps([{"path": "a.mp4", "cap": Evil(target)}])
    pickle.loads(evil)
    assert target.exists(), "the pickle does what it is made for"
    target.unlink()
    (tmp_path / "a.pkl").write_bytes(evil)
    with pytest.raises(NotPlain, match="which is no plain data: nothing was run"):
        load_plain(tmp_path / "a.pkl")
    assert not target.exists()


@pytest.mark.parametrize(
    "code",
    [
        b"cposix\nsystem\n(S'touch ran'\ntR.",
        b'cbuiltins\neval\n(S\'open("ran", "w")\'\ntR.',
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x09touch ran\x85R.",
        b"(S'touch ran'\niposix\nsystem\n.",
    ],
)
def test_handwritten_programs_are_refused(tmp_path, monkeypatch, code):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pkl").write_bytes(code)
    with pytest.raises(NotPlain):
        load_plain(tmp_path / "a.pkl")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("value", [np.float64(24.0), np.array([1, 2]), np.int64(3)])
def test_numpy_is_refused_with_what_to_do(tmp_path, value):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([{"fps": value}]))
    with pytest.raises(
        NotPlain, match=r"it holds numpy\..*turn its values into Python's own first \(`value\.item\(\)`"
    ):
        load_plain(tmp_path / "a.pkl")


def test_other_classes_are_refused_by_name(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([collections.OrderedDict(a=1)]))
    with pytest.raises(NotPlain, match=r"it holds collections\.OrderedDict"):
        load_plain(tmp_path / "a.pkl")


def test_references_to_things_elsewhere_are_refused(tmp_path):
    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return "tensor 0" if value == "kept elsewhere" else None

    file = io.BytesIO()
    Pickler(file).dump(["kept elsewhere"])
    (tmp_path / "a.pkl").write_bytes(file.getvalue())
    with pytest.raises(NotPlain, match="it refers to 'tensor 0', kept elsewhere"):
        load_plain(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    "content", [b"", b"[1, 2]", pickle.dumps(PLAIN)[:-9], b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff"]
)
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(ValueError, match="no pickle, or a damaged one"):
        load_plain(tmp_path / "a.pkl")
