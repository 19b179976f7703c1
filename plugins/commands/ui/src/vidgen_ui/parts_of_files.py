"""Which bytes of a file a request asks for (RFC 9110, section 14)."""

import re
from collections.abc import Mapping
from http import HTTPStatus

from attrs import frozen


@frozen(kw_only=True)
class Part:
    """`length` bytes from `first` on, and how to answer with them."""

    status: HTTPStatus
    first: int
    length: int
    headers: Mapping[str, str]


def part_of(size: int, asked: str | None) -> Part:
    """size: of the file in bytes. asked: the `Range` header. What is not one range of bytes is ignored, as the RFC
    allows; one that lies behind the end is answered by status 416 and nothing."""
    match = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", asked or "")
    if match is None or not (match[1] or match[2]):
        return _part(HTTPStatus.OK, 0, size, {})
    first = int(match[1]) if match[1] else max(0, size - int(match[2]))
    last = min(int(match[2]), size - 1) if match[1] and match[2] else size - 1
    if first > last:
        return _part(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, 0, {"Content-Range": f"bytes */{size}"})
    where = {"Content-Range": f"bytes {first}-{last}/{size}"}
    return _part(HTTPStatus.PARTIAL_CONTENT, first, last - first + 1, where)


def _part(status: HTTPStatus, first: int, length: int, headers: Mapping[str, str]) -> Part:
    common = {"Accept-Ranges": "bytes", "Content-Length": str(length)}
    return Part(status=status, first=first, length=length, headers={**common, **headers})
