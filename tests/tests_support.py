"""Helpers of several test files."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any


def change(data: dict[str, Any], path: Sequence[str | int], value: Any) -> dict[str, Any]:
    """A copy of nested dicts and lists with one place set."""
    changed = copy.deepcopy(data)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed
