"""How sensitive is training to its hyperparameters? See README.md for a tour.

Names load on first use, so that a reader of results needs neither torch nor ray nor optuna.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hdsens.version import __version__

if TYPE_CHECKING:
    from hdsens.errors import InputError
    from hdsens.launch import run
    from hdsens.store import read_cells, read_traces
    from hdsens.study import Arm, Protocol, Study, Target, Task, Trace

_HOMES = {
    "Arm": "study",
    "InputError": "errors",
    "Protocol": "study",
    "Study": "study",
    "Target": "study",
    "Task": "study",
    "Trace": "study",
    "read_cells": "store",
    "read_traces": "store",
    "run": "launch",
}

__all__ = [
    "Arm",
    "InputError",
    "Protocol",
    "Study",
    "Target",
    "Task",
    "Trace",
    "__version__",
    "read_cells",
    "read_traces",
    "run",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"hdsens.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'hdsens' has no attribute {name!r}")
