"""References fetched by address: from public hosts, of the right kind, within limits."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from attrs import evolve
from vidgen import RunError, UserError
from vidgen.engine.download import Limits, downloaded, is_address

HERE = Limits(private=True, seconds=5.0)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        kind, _, rest = self.path[1:].partition("/")
        if kind == "to":
            self.send_response(302)
            self.send_header("Location", f"/{rest}")
            self.end_headers()
            return
        self.send_response(404 if kind == "missing" else 200)
        self.send_header("Content-Type", {"picture": "image/png", "video": "video/mp4"}.get(kind, "text/html"))
        self.end_headers()
        self.wfile.write(b"x" * 3000)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def host() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("place", "name"), [("picture/a", ".png"), ("video/b.mov", ".mp4"), ("to/picture/a", ".png")])
def test_a_file_is_there_as_long_as_it_is_needed(host: str, place: str, name: str) -> None:
    with downloaded(f"{host}/{place}", HERE) as path:
        assert (path.suffix, path.read_bytes()) == (name, b"x" * 3000)
    assert not path.exists()


def test_what_is_no_picture_or_video_is_refused(host: str) -> None:
    with pytest.raises(UserError, match="is of type text/html; a reference is a picture"), downloaded(host, HERE):
        pass


def test_larger_files_are_refused(host: str) -> None:
    with pytest.raises(RunError, match="larger"), downloaded(f"{host}/video/a", evolve(HERE, max_bytes=2999)):
        pass


def test_slow_files_are_refused(host: str) -> None:
    with pytest.raises(RunError, match=r"longer|timed out"), downloaded(f"{host}/video/a", evolve(HERE, seconds=1e-9)):
        pass


def test_a_file_that_is_not_there_says_so(host: str) -> None:
    with pytest.raises(RunError, match="/missing cannot be fetched: Not Found"), downloaded(f"{host}/missing", HERE):
        pass


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_this_machine_and_private_networks_are_not_asked(host: str, name: str, scheme: str) -> None:
    """The server is there, and would answer."""
    port = host.rpartition(":")[2]
    url, limits = f"{scheme}://{name}:{port}/picture/a", Limits(seconds=5.0)
    with pytest.raises(UserError, match="no public address"), downloaded(url, limits):
        pass


def test_a_private_host_where_nothing_listens_is_refused_all_the_same() -> None:
    with pytest.raises(UserError, match="no public address"), downloaded("http://127.0.0.1:9/a.png", Limits()):
        pass


def test_what_is_an_address() -> None:
    assert is_address("https://a.example/b.png") and is_address("HTTP://a")
    assert not any(map(is_address, ("a.png", "/a/http:/b.png", "file:///etc/passwd", "ftp://a/b", "c:\\a.png")))


def test_what_only_looks_like_an_address_is_refused() -> None:
    with pytest.raises(UserError, match=r"reference http://\[b/a.png: this is no address and no file"):
        is_address("http://[b/a.png")
