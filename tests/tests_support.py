"""Helpers of several test files."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

SMALL: dict[str, Any] = {
    "name": "small",
    "seeds": 2,
    "task": {"model": "logreg", "data": "digits", "steps": 12, "weight_decay": 1e-4},
    "trace": {"points": 5, "evaluate": [0.5, 1.0]},
    "targets": {"low": {"batch_loss": 1.0}},
    "arms": [
        {"name": "sgd", "optimizer": "SGD", "lr": [0.0, 0.1, 1.0]},
        {
            "name": "sgd_hd",
            "optimizer": "SGDHD",
            "baseline": "sgd",
            "lr": [0.0, 0.1, 1.0],
            "hypergrad_lr": [0.0, 1e-2],
        },
    ],
}
"""A study of 18 cells that trains in a second."""


def short_page(results: Sequence[Any], *, against: Any = None) -> str:
    """What stands in for a page where none is looked at: drawing one takes seconds."""
    return "<!doctype html>" + "".join(f"{one.study.name}: {len(one.cells)}" for one in results)


def change(data: dict[str, Any], path: Sequence[str | int], value: Any) -> dict[str, Any]:
    """A copy of nested dicts and lists with one place set."""
    changed = copy.deepcopy(data)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed
