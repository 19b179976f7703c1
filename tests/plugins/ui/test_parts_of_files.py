from http import HTTPStatus

import pytest
from vidgen_ui.parts_of_files import part_of


@pytest.mark.parametrize(
    ("asked", "first", "length", "where"),
    [
        ("bytes=0-", 0, 11, "bytes 0-10/11"),
        ("bytes=3-5", 3, 3, "bytes 3-5/11"),
        ("bytes=3-500", 3, 8, "bytes 3-10/11"),
        ("bytes=-4", 7, 4, "bytes 7-10/11"),
        ("bytes=-40", 0, 11, "bytes 0-10/11"),
    ],
)
def test_a_range_is_answered_with_its_bytes(asked: str, first: int, length: int, where: str) -> None:
    part = part_of(11, asked)
    assert (part.status, part.first, part.length) == (HTTPStatus.PARTIAL_CONTENT, first, length)
    assert part.headers["Content-Range"] == where and part.headers["Content-Length"] == str(length)


@pytest.mark.parametrize("asked", [None, "", "bytes=-", "bytes=1-2,4-5", "lines=1-2", "bytes=a-b"])
def test_what_is_no_single_range_of_bytes_gives_the_whole(asked: str | None) -> None:
    part = part_of(11, asked)
    assert (part.status, part.first, part.length) == (HTTPStatus.OK, 0, 11)


@pytest.mark.parametrize("asked", ["bytes=11-", "bytes=5-3", "bytes=-0"])
def test_a_range_that_holds_nothing_is_refused(asked: str) -> None:
    part = part_of(11, asked)
    assert part.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and part.length == 0
    assert part.headers["Content-Range"] == "bytes */11"
