"""Numbers recorded from the projects that vidgen follows; see README.md."""

from pathlib import Path

import harness
import pytest

FOLDER = harness.case_folder()
CASES = harness.find_cases(FOLDER)


def test_there_are_cases() -> None:
    assert CASES, f"no case under {FOLDER}"


@pytest.mark.parametrize("path", CASES, ids=[str(path.relative_to(FOLDER).with_suffix("")) for path in CASES])
def test_agrees_with_the_record(path: Path) -> None:
    harness.run_case(path)
