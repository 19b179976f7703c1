"""The page of results, from a report as pytest writes it."""

import re
import runpy
from pathlib import Path

RUNNER = Path(__file__).parent / "run.py"
REPORT = """<testsuites><testsuite>
<testcase classname="tests.gpu.test_runs" name="test_a[zero2]" time="3.21"/>
<testcase classname="tests.gpu.test_runs" name="test_b" time="0.04"><failure message="no"/></testcase>
<testcase classname="tests.gpu.test_memory" name="test_c" time="0"><skipped message="no CUDA device here"/></testcase>
</testsuite></testsuites>"""


def test_the_page_names_date_versions_and_every_outcome() -> None:
    page = runpy.run_path(str(RUNNER))["page_of"](REPORT)
    assert re.match(r"20\d\d-\d\d-\d\d, .*torch \d", page)
    assert "| test_runs::test_a[zero2] | passed | 3.2 s |" in page
    assert "| test_runs::test_b | failure | 0.0 s |" in page
    assert "| test_memory::test_c | skipped: no CUDA device here | 0.0 s |" in page
