"""Fetching a reference by its address, when a recipe allows it: bounded, and from public hosts alone."""

import http.client
import ipaddress
import socket
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

from vidgen.errors import RunError, UserError

KINDS = ("image/", "video/")
SUFFIXES = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
}
CHUNK = 1 << 16


@frozen(kw_only=True)
class Limits:
    """max_bytes: of the file. seconds: for all of it. private: whether hosts that are not public may be asked; for
    tests alone."""

    max_bytes: int = 500 << 20
    seconds: float = 60.0
    private: bool = False


def is_address(name: str) -> bool:
    """Whether a reference is to be fetched. Raises: UserError, for an address that is none."""
    try:
        return urlsplit(name).scheme.lower() in ("http", "https")
    except ValueError as error:
        raise UserError(f"reference {name}: this is no address and no file ({error})") from error


@contextmanager
def downloaded(url: str, limits: Limits) -> Iterator[Path]:
    """The file behind `url`, which goes when the context ends.

    Raises: UserError, when the host is not public or what it gives is no picture or video; RunError, when it cannot be
    had within the limits.
    """
    with tempfile.TemporaryDirectory(prefix="vidgen-reference-") as folder:
        try:
            yield _fetch(url, Path(folder), limits)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, _NotPublic):
                raise UserError(f"{url}: {reason}. References are fetched from public hosts alone.") from error
            raise RunError(f"{url} cannot be fetched: {reason}") from error


def _fetch(url: str, folder: Path, limits: Limits) -> Path:
    deadline = time.monotonic() + limits.seconds
    opener = urllib.request.OpenerDirector()  # without proxies, files, and whatever else `build_opener` adds
    for handler in (
        _Http(limits.private),
        _Https(limits.private),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(url, headers={"User-Agent": "vidgen"})
    with opener.open(request, timeout=limits.seconds) as answer:
        kind = answer.headers.get_content_type()
        if not kind.startswith(KINDS):
            raise UserError(f"{url} is of type {kind}; a reference is a picture or a video")
        path = folder / f"reference{SUFFIXES.get(kind) or Path(urlsplit(url).path).suffix}"
        with path.open("wb") as file:
            size = 0
            while chunk := answer.read1(CHUNK):
                size += len(chunk)
                if size > limits.max_bytes:
                    raise RunError(f"{url} is larger than {limits.max_bytes >> 20} MiB")
                if time.monotonic() > deadline:
                    raise RunError(f"{url} takes longer than {limits.seconds:g} s")
                file.write(chunk)
    return path


class _NotPublic(OSError):
    pass


def _check_public(connection: http.client.HTTPConnection) -> None:
    """Looks at the address that was really connected to: a name may be answered otherwise a second time."""
    try:
        _check_address(connection.host, connection.sock.getpeername()[0])
    except _NotPublic:
        connection.close()
        raise


def _check_host(host: str, port: int) -> None:
    """Before anything is connected to: not even a closed port of a private host can be told from an open one."""
    for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        _check_address(host, str(address[0]))


def _check_address(host: str, address: str) -> None:
    found = ipaddress.ip_address(address.partition("%")[0])
    if not found.is_global or found.is_multicast:
        raise _NotPublic(f"{host} is at {found}, which is no public address")


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        _check_host(self.host, self.port)
        super().connect()
        _check_public(self)


class _SafeConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        # Checked before anything is said, TLS included.
        plain = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        _check_host(self.host, self.port)
        plain.connect()
        _check_public(plain)
        self.sock = self._context.wrap_socket(plain.sock, server_hostname=self.host)  # type: ignore[attr-defined]


class _Http(urllib.request.HTTPHandler):
    def __init__(self, private: bool) -> None:
        super().__init__()
        self._connection = http.client.HTTPConnection if private else _Connection

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._connection, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, private: bool) -> None:
        super().__init__()
        self._connection = http.client.HTTPSConnection if private else _SafeConnection

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._connection, req)
