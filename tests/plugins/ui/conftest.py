"""A run trained for one step, the page served in this process, and a browser without a window."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import vidgen
from tiny_run import RECIPE, merged
from vidgen_ui.command import sample_recipe
from vidgen_ui.line import Line
from vidgen_ui.server import PageServer
from vidgen_ui.studio import Studio
from vidgen_ui.uploads import Uploads

SMALL = {
    **{
        "max_steps": 1,
        "seed": 7,
        "model.type": "STDiT2",
        "model.hidden_size": 24,
        "num_frames": 5,
        "image_size": [8, 12],
    },
    **{"dataset.rows": 3, "trackers": []},
}


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    vidgen.run(vidgen.load_recipe(merged(RECIPE, {**SMALL, "outputs": str(folder)})))
    return folder


@pytest.fixture(scope="session")
def studio(run_folder: Path) -> Studio:
    return Studio(sample_recipe(run_folder, ("upscale=16",)))


class Client:
    """Asks a server as the page does."""

    def __init__(self, server: PageServer) -> None:
        self.port, self.address = server.server_port, server.address

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, Mapping[str, str]]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        found = answer.status, answer.read(), dict(answer.getheaders())
        connection.close()
        return found

    def get(self, path: str) -> Any:
        return json.loads(self.ask("GET", path)[1])

    def post(self, path: str, data: Any = None) -> tuple[int, Any]:
        status, body, _ = self.ask("POST", path, json.dumps(data).encode())
        return status, json.loads(body)

    def ended(self, number: int) -> dict[str, Any]:
        """A clip that is no longer waited for."""

        def found() -> dict[str, Any] | None:
            clip = self.get("/clips")[number - 1]
            return clip if clip["state"] not in ("waiting", "running") else None

        return until(found)


@pytest.fixture
def client(studio: Studio, tmp_path: Path) -> Iterator[Client]:
    outputs = tmp_path / "ui"
    with Line(studio, outputs) as line, PageServer(0, studio, line, Uploads(outputs)) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield Client(server)
        server.shutdown()
        thread.join()


def until(found: Callable[[], Any]) -> Any:
    """What `found` gives, as soon as it is something."""
    deadline = time.monotonic() + 60
    while not (value := found()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)
    return value


class Browser:
    """Chromium without a window, spoken to through two pipes (Chrome DevTools protocol): no further library."""

    def __init__(self, program: str, profile: Path) -> None:
        there, self._out = os.pipe()
        self._in, back = os.pipe()
        flags = f"--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir={profile}"
        flags += " --remote-debugging-pipe --no-first-run --disable-background-networking --window-size=1240,900"
        command = f'exec "$0" {flags} about:blank 3<&{there} 4>&{back}'
        self._log = (profile.parent / "browser.log").open("wb")
        self._process = subprocess.Popen(
            ["bash", "-c", command, program], pass_fds=(there, back), stdout=self._log, stderr=self._log
        )
        os.close(there)
        os.close(back)
        self._number, self._left = 0, b""
        target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._page = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]

    def open(self, address: str) -> None:
        self.call("Page.navigate", {"url": address})
        self.wait("document.body && document.body.dataset.ready === 'yes'")

    def call(self, method: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return self._call(method, arguments, self._page)

    def run(self, code: str) -> Any:
        """The value of JavaScript, waited for where it is a promise."""
        asked = {"expression": code, "awaitPromise": True, "returnByValue": True, "userGesture": True}
        answer = self.call("Runtime.evaluate", asked)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, code: str) -> Any:
        """The value of JavaScript, as soon as it is true."""
        return until(lambda: self.run(code))

    def type(self, place: str, text: str) -> None:
        """Into a field, in place of what is there, as a keyboard would."""
        self.run(f"document.querySelector({place!r}).focus(); document.querySelector({place!r}).select()")
        self.call("Input.insertText", {"text": text})

    def click(self, place: str) -> None:
        """Where it is on the screen, as a mouse would."""
        code = f"(() => {{const e = document.querySelector({place!r}); e.scrollIntoView({{block: 'center'}}); "
        code += "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]})()"
        x, y = self.run(code)
        for kind in ("mousePressed", "mouseReleased"):
            button = {"button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, **button})

    def choose_file(self, place: str, path: Path) -> None:
        root = self.call("DOM.getDocument", {})["root"]["nodeId"]
        node = self.call("DOM.querySelector", {"nodeId": root, "selector": place})["nodeId"]
        self.call("DOM.setFileInputFiles", {"nodeId": node, "files": [str(path)]})

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", {"format": "png"})["data"]))

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        os.close(self._in)
        os.close(self._out)
        self._log.close()

    def _call(self, method: str, arguments: Mapping[str, Any], session: str | None = None) -> dict[str, Any]:
        self._number += 1
        asked = {"id": self._number, "method": method, "params": arguments}
        os.write(self._out, json.dumps({**asked, **({"sessionId": session} if session else {})}).encode() + b"\0")
        while (answer := self._message()).get("id") != self._number:
            pass
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            piece = os.read(self._in, 1 << 16)
            assert piece, Path(self._log.name).read_text()
            self._left += piece
        text, self._left = self._left.split(b"\0", 1)
        return json.loads(text)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None or shutil.which("bash") is None:
        pytest.skip("no chromium: install Debian's package of that name")
    found = Browser(program, tmp_path_factory.mktemp("browser") / "profile")
    yield found
    found.close()
