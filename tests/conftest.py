"""What tests of every area share."""

from __future__ import annotations

import copy
from typing import Any

import pytest

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


@pytest.fixture
def small() -> dict[str, Any]:
    """The small study as nested dicts, to be changed at will."""
    return copy.deepcopy(SMALL)
