"""What tests of every area share."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tests_support import SMALL


@pytest.fixture
def small() -> dict[str, Any]:
    """The small study as nested dicts, to be changed at will."""
    return copy.deepcopy(SMALL)
