"""What tests of every area share."""

from __future__ import annotations

import copy
import sys
from typing import Any

import pytest
from tests_support import SMALL, short_page


@pytest.fixture
def small() -> dict[str, Any]:
    """The small study as nested dicts, to be changed at will."""
    return copy.deepcopy(SMALL)


@pytest.fixture(autouse=True)
def page_of_a_run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run draws its page only in tests marked `page`: it takes ten times as long as training."""
    if "hdsens.launch" in sys.modules and not request.node.get_closest_marker("page"):
        monkeypatch.setattr("hdsens.report.render", short_page)


SERVICES = ("ray", "system", "service")
"""Markers of tests that start what takes the whole machine, such as Ray or a browser."""
TOGETHER = ("tests/report/",)
"""Folders whose files share what a fixture of the session makes: a page takes half a minute."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests that start services into one group; others go with those of their file or folder.

    With ``--dist loadgroup`` a group stays on one worker: no two services ever run at once, and
    fixtures of a module or session are made once. The longest groups begin first.
    """
    long = [SERVICES[-1], *TOGETHER]
    groups = {id(item): _group(item) for item in items}
    items.sort(key=lambda item: [groups[id(item)] != group for group in long])
    for item in items:
        item.add_marker(pytest.mark.xdist_group(groups[id(item)]))


def _group(item: pytest.Item) -> str:
    if any(item.get_closest_marker(name) for name in SERVICES):
        return SERVICES[-1]
    file = item.nodeid.partition("::")[0]
    return next((folder for folder in TOGETHER if file.startswith(folder)), file)
