"""The page over HTTP, for browsers of this machine alone.

    GET   /  /page.js  /page.css      the page
    GET   /start                      values of its fields, names to choose from
    GET   /clips                      every clip of this session
    GET   /clips/N                    the file of clip N, whole or in part
    POST  /clips                      ask for a clip: JSON, see `vidgen_ui.wish`
    POST  /clips/N/cancel
    POST  /references?name=a.png      a picture or video; its number comes back

Files are named by numbers that this session gave, never by paths. Requests that another site's page might send are
refused by their `Host` and `Origin`.
"""

import json
import re
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from vidgen.errors import RunError, UserError, VidgenError

from vidgen_ui.line import Entry, Line, told
from vidgen_ui.parts_of_files import part_of
from vidgen_ui.studio import Studio
from vidgen_ui.uploads import Uploads

HOST = "127.0.0.1"
FOLDER = Path(__file__).with_name("page")
PAGES = {"/": "page.html", "/page.js": "page.js", "/page.css": "page.css"}
TYPES = {
    **{".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8"},
    **{".css": "text/css; charset=utf-8", ".mp4": "video/mp4", ".png": "image/png", ".jpg": "image/jpeg"},
}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
LARGEST_WISH = 2**20  # bytes
LARGEST_DISCARDED = 2**26  # bytes
PATIENCE = 2  # seconds
AT_ONCE = 2**18


class Refused(Exception):
    """A request that is answered by `status` and a text."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class PageServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1. port: 0 takes a free one. Raises: UserError, when the port is taken."""

    daemon_threads = True

    def __init__(self, port: int, studio: Studio, line: Line, uploads: Uploads) -> None:
        self.studio, self.line, self.uploads = studio, line, uploads
        try:
            super().__init__((HOST, port), Handler)
        except OSError as error:
            raise UserError(f"--port: {port} cannot be used ({error.strerror}); choose another, or 0") from error
        self.hosts = {f"{host}:{self.server_port}" for host in (HOST, "localhost")}

    @property
    def address(self) -> str:
        """What to open."""
        return f"http://{HOST}:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: PageServer
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds that a connection may be silent

    def do_GET(self) -> None:
        """The page, what is known, a clip."""
        self._answered(self._get)

    def do_POST(self) -> None:
        """Ask for a clip, cancel one, send a reference."""
        self._answered(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the page asks twice a second."""

    def _answered(self, answer: Callable[[str], None]) -> None:
        try:
            self._answer(answer)
        except (ConnectionError, TimeoutError):  # nobody listens any more
            self.close_connection = True

    def _answer(self, answer: Callable[[str], None]) -> None:
        try:
            self._check_sender()
            answer(urlsplit(self.path).path)
        except Refused as error:
            self._refuse(error.status, str(error))
        except UserError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, told(error))
        except VidgenError as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, told(error))

    def _check_sender(self) -> None:
        """A name that leads here, but is not this machine's, and pages of other sites are turned away."""
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in self.server.hosts:
            raise Refused(HTTPStatus.FORBIDDEN, f"open {self.server.address}")
        if origin is not None and origin.removeprefix("http://") not in self.server.hosts:
            raise Refused(HTTPStatus.FORBIDDEN, "requests of other sites are refused")

    def _get(self, path: str) -> None:
        clip = re.fullmatch(r"/clips/([0-9]{1,9})", path)
        if path in PAGES:
            self._send_file(FOLDER / PAGES[path])
        elif path == "/start":
            self._send_json(self.server.studio.start())
        elif path == "/clips":
            self._send_json([_plain(entry) for entry in self.server.line.entries()])
        elif clip and (media := self._entry(int(clip[1])).media):
            self._send_file(media.path)
        else:
            raise Refused(HTTPStatus.NOT_FOUND, f"{path}: there is no such thing")

    def _post(self, path: str) -> None:
        clip = re.fullmatch(r"/clips/([0-9]{1,9})/cancel", path)
        if path == "/clips":
            order = self.server.studio.order(self._wish(), self.server.uploads.get)
            self._send_json(_plain(self.server.line.add(order)))
        elif clip:
            self._body(LARGEST_WISH)
            self.server.line.cancel(self._entry(int(clip[1])).number)
            self._send_json({})
        elif path == "/references":
            name = parse_qs(urlsplit(self.path).query).get("name", [""])[0]
            upload = self.server.uploads.take(name, self.rfile, self._length())
            self._send_json({"number": upload.number, "name": upload.name, "kind": upload.kind})
        else:
            raise Refused(HTTPStatus.NOT_FOUND, f"{path}: there is no such thing")

    def _entry(self, number: int) -> Entry:
        try:
            return self.server.line.entry(number)
        except KeyError:
            raise Refused(HTTPStatus.NOT_FOUND, f"there is no clip {number}") from None

    def _wish(self) -> dict[str, Any]:
        try:
            wish = json.loads(self._body(LARGEST_WISH))
        except (ValueError, RecursionError) as error:
            raise UserError(f"what was asked for is no JSON ({error})") from None
        if not isinstance(wish, dict):
            raise UserError(f"what was asked for is no mapping: {wish!r}")
        return wish

    def _body(self, largest: int) -> bytes:
        length = self._length()
        if length > largest:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{length} bytes; at most {largest} are read")
        return self.rfile.read(length)

    def _length(self) -> int:
        text = self.headers.get("Content-Length", "0")
        if not re.fullmatch("[0-9]{1,15}", text):
            raise Refused(HTTPStatus.BAD_REQUEST, f"Content-Length: {text!r} is no number")
        return int(text)

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        self.close_connection = True
        self._send_json({"error": text}, status)
        if self.command == "POST":
            self._discard_rest()

    def _discard_rest(self) -> None:
        """Of the request, so that its sender comes to read the answer."""
        self.connection.settimeout(PATIENCE)
        left = LARGEST_DISCARDED
        while left > 0 and (piece := self.rfile.read1(AT_ONCE)):
            left -= len(piece)

    def _send_json(self, data: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        body = json.dumps(data).encode()
        self._send_head(status, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _send_file(self, path: Path) -> None:
        """As much of it as `Range` asks for: browsers seek in videos so."""
        try:
            file = path.open("rb")
        except OSError as error:
            raise RunError(f"{path} cannot be read ({error.strerror})") from error
        with file:
            part = part_of(path.stat().st_size, self.headers.get("Range"))
            self._send_head(part.status, {"Content-Type": TYPES[path.suffix], **part.headers})
            file.seek(part.first)
            left = part.length
            while left and (piece := file.read(min(left, AT_ONCE))):
                self.wfile.write(piece)
                left -= len(piece)

    def _send_head(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, **headers}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()


def _plain(entry: Entry) -> dict[str, Any]:
    """An entry as the page reads it."""
    media = entry.media
    return {
        "number": entry.number,
        "state": entry.state,
        "done": entry.done,
        "total": entry.total,
        "text": entry.text,
        "notes": list(entry.notes),
        "settings": dict(entry.order.settings),
        "wish": dict(entry.order.wish),
        "file": None if media is None else str(media.path),
        "kind": None if media is None else "video" if media.path.suffix == ".mp4" else "image",
    }
