"""The wandb tracker in offline mode, for real: what it writes is read back from wandb's own files."""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("wandb", reason="wandb is not installed")

from vidgen.errors import UserError
from vidgen.interfaces import Context, Media
from vidgen_wandb import WandbOptions
from vidgen_wandb.tracker import RUN_ID_FILE, build

RUN = """
import sys
from pathlib import Path
from vidgen.interfaces import Context, Media
from vidgen_wandb import WandbOptions
from vidgen_wandb.tracker import build

outputs, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
recipe = {"job": "train", "model": {"type": "DiT-S/2", "from_pretrained": None}}
tracker = build(WandbOptions(project="shapes", tags=["odd"]), Context(outputs=outputs, step=first, recipe=recipe))
for step in range(first + 1, last + 1):
    tracker.log(step, {"loss": 1 / step})
media = [Media(outputs / "clip.mp4", 'a "red" circle', (3, 2, 2)), Media(outputs / "still.png", "a wall", (1, 2, 2))]
tracker.media(last, media)
tracker.scores(last, {"colour": 0.75})
tracker.close()
"""


class Listener:
    """Counts connections to a port that stands in for the way out of this machine."""

    def __init__(self) -> None:
        self.count = 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            self.count += 1
            connection.close()


def run_offline(outputs: Path, *, first: int, last: int, listener: Listener) -> None:
    """Steps first + 1 to last in a process of its own, in which every way to a server leads to the listener."""
    address = f"http://127.0.0.1:{listener.port}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    environment |= {
        "WANDB_BASE_URL": address,
        "WANDB_MODE": "online",  # the recipe's mode must win
        "WANDB_API_KEY": "0" * 40,
        "HTTP_PROXY": address,
        "HTTPS_PROXY": address,
        "NO_PROXY": "",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-c", RUN, str(outputs), str(first), str(last)]
    done = subprocess.run(command, env=environment, cwd=outputs, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def records(path: Path) -> list[Any]:
    """The records of a .wandb file: a 7-byte head, then blocks of 32 KiB with chunks (checksum, length, type)."""
    from wandb.proto import wandb_internal_pb2

    data, at, found, parts = path.read_bytes(), 7, [], b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            found.append(wandb_internal_pb2.Record.FromString(parts))
            parts = b""
    return found


def history(folder: Path) -> list[dict[str, Any]]:
    """What was logged, step by step; media are mappings below their name."""
    rows = []
    for record in records(next(folder.glob("*.wandb"))):
        if record.WhichOneof("record_type") != "history":
            continue
        row: dict[str, Any] = {"_step": record.history.step.num}
        for item in record.history.item:
            *parents, name = item.nested_key or [item.key]
            place = row
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = json.loads(item.value_json)
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def resumed_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], list[str], int]:
    """Steps 1 to 5, then, after a checkpoint at step 3, steps 4 to 6: the run folder, the two folders that wandb
    made, the id kept after each start, and the number of connections tried."""
    outputs = tmp_path_factory.mktemp("shapes-run")
    (outputs / "clip.mp4").write_bytes(b"not decoded by anybody")
    (outputs / "still.png").write_bytes(
        bytes.fromhex(
            "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc00000030101"
            "00c9fe92ef0000000049454e44ae426082"
        )
    )
    listener, folders, ids = Listener(), [], []
    for first, last in ((0, 5), (3, 6)):
        run_offline(outputs, first=first, last=last, listener=listener)
        folders += [folder for folder in (outputs / "wandb").glob("offline-run-*") if folder not in folders]
        ids.append((outputs / RUN_ID_FILE).read_text().strip())
    listener.server.close()
    return outputs, folders, ids, listener.count


def test_offline_tries_no_connection(resumed_run: tuple[Path, list[Path], list[str], int]) -> None:
    assert resumed_run[3] == 0


def test_a_resumed_run_keeps_its_id(resumed_run: tuple[Path, list[Path], list[str], int]) -> None:
    _, folders, ids, _ = resumed_run
    assert ids[0] == ids[1]
    # offline-run-DATE_TIME-ID, and -1 behind it where another one began in the same second
    assert [folder.name.split("-")[3] for folder in folders] == ids


def test_metrics_scores_and_media_are_logged_at_their_step(
    resumed_run: tuple[Path, list[Path], list[str], int],
) -> None:
    _, folders, _, _ = resumed_run
    first, second = (history(folder) for folder in folders)
    assert [(row["_step"], row["train/loss"]) for row in first] == [(step, 1 / step) for step in range(1, 6)]
    assert [row["_step"] for row in second] == [4, 5, 6]
    assert first[-1]["scores/colour"] == 0.75
    clips = first[-1]["samples/clips"]
    assert (clips["_type"], clips["captions"], clips["count"]) == ("videos", ['a "red" circle'], 1)
    copied = folders[0] / "files" / clips["videos"][0]["path"]
    assert copied.read_bytes() == b"not decoded by anybody"
    assert first[-1]["samples/stills"]["captions"] == ["a wall"]


def test_recipe_project_name_and_tags_describe_the_run(resumed_run: tuple[Path, list[Path], list[str], int]) -> None:
    outputs, folders, _, _ = resumed_run
    (run,) = [r.run for r in records(next(folders[0].glob("*.wandb"))) if r.WhichOneof("record_type") == "run"][:1]
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["model"] == {"type": "DiT-S/2", "from_pretrained": None}
    assert (run.project, run.display_name, list(run.tags)) == ("shapes", outputs.name, ["odd"])


def test_disabled_writes_nothing(tmp_path: Path) -> None:
    tracker = build(WandbOptions(mode="disabled"), Context(outputs=tmp_path, recipe={"job": "train"}))
    tracker.log(1, {"loss": 1.0})
    tracker.scores(1, {"colour": 1.0})
    tracker.media(1, [Media(tmp_path / "gone.mp4", "", (1, 1, 1))])
    tracker.close()
    assert list(tmp_path.iterdir()) == []


def test_online_without_a_login_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"wandb login.*WANDB_API_KEY.*mode: offline"):
        build(WandbOptions(mode="online"), Context(outputs=tmp_path))
