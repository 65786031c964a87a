from __future__ import annotations

import pytest
from markupsafe import Markup
from report_html import Page
from report_studies import paper_study, results

from hdsens.report import render
from hdsens.report.page import views
from hdsens.report.page.pictures import Picture
from hdsens.store import Results

REASON = "RuntimeError: <script>alert(1)</script> costs $x_1$"


BLANK = Picture(Markup("<svg></svg>"), "", "", None)


@pytest.fixture(autouse=True)
def figures_of_a_page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page draws figures only in tests marked `drawn`: they take nine tenths of its time.

    The pages that tests share are drawn.
    """
    if not request.node.get_closest_marker("drawn"):
        monkeypatch.setattr(views, "pictures", lambda drawings, key: (BLANK,))


@pytest.fixture(scope="session")
def partial() -> Results:
    """Six arms; sgd at lr 0.01, 0.1 and 1 failed for seed 0; two cells of seed 1 have not run."""
    return results(paper_study(), failed=[3, 4, 5], missing=[100, 101], error=REASON)


@pytest.fixture(scope="session")
def partial_html(partial: Results) -> str:
    return render([partial])


@pytest.fixture(scope="session")
def partial_page(partial_html: str) -> Page:
    return Page(partial_html)
