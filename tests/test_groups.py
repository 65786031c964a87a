"""That services run one after the other is seen by the scheduler, not only by the tests."""

from __future__ import annotations

import pytest


@pytest.mark.service
def test_what_starts_a_service_is_in_one_group(request: pytest.FixtureRequest):
    if not request.config.getoption("loadgroup", False):
        pytest.skip("needs --dist loadgroup, as tox has it")
    assert request.node.nodeid.endswith("@service")


def test_others_are_in_the_group_of_their_file(request: pytest.FixtureRequest):
    if not request.config.getoption("loadgroup", False):
        pytest.skip("needs --dist loadgroup, as tox has it")
    assert request.node.nodeid.endswith("@tests/test_groups.py")
