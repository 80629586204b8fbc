"""axe-core finds no violation, in any part of the pages, light and dark.

axe-core is no part of this project: `npm install axe-core` anywhere, and let AXE be the
path of its axe.min.js.
"""

import os
from pathlib import Path

import pytest

from allconv.reports import gallery
from tests.reports import browser as browsers
from tests.reports.test_gallery import READY, network, record

AXE = os.environ.get("AXE")
pytestmark = [
    pytest.mark.skipif(not AXE, reason="AXE does not name an axe.min.js"),
    pytest.mark.skipif(
        not (browsers.CHROMIUM and browsers.DRIVER), reason=browsers.MISSING
    ),
]


@pytest.mark.parametrize("width, dark", [(1280, False), (390, True)])
def test_no_part_of_a_page_violates_a_rule(tmp_path, width, dark):
    path = tmp_path / "index.html"
    gallery.write(path, network(), [record()], progress=False)
    with browsers.Browser(tmp_path / "profile", width, 844, dark) as window:
        window.open(path.as_uri())
        window.wait("answer")
        check(window)
        window.click("#keep")
        window.wait("kept.answer && !asking")
        check(window)
        for part in ("tables", "runs", "reading", "units"):
            window.click(f"#parts [data-part={part}]")
            check(window)
        window.wait(READY)
        window.click("#u-pin")
        check(window)
        window.click("#u-project")
        check(window)


def check(window):
    window.devtools("Runtime.evaluate", expression=Path(AXE).read_text("utf-8"))
    found = window.run(
        """const { violations } = await axe.run();
        return violations.map(({ id, nodes }) => [id, nodes[0].html]);"""
    )
    assert found == []
