"""What training gives back: one record a cell, with its trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from hdsens.errors import describe
from hdsens.study.cells import Cell

Outcome = Literal["completed", "diverged", "failed"]


@dataclass(frozen=True, slots=True)
class TracePoint:
    """One recorded step. Losses in nats; None where the splits were not evaluated.

    `lr` is the one that the step's update used; `epoch` counts passes over the training set.
    """

    step: int
    epoch: float
    lr: float
    batch_loss: float
    train_loss: float | None = None
    valid_loss: float | None = None
    valid_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class CellRecord:
    """The result of one cell; the fields are columns of `hdsens.study.columns.CELLS`.

    `more` holds values of further columns by name.
    """

    cell: Cell
    outcome: Outcome
    error: str | None = None
    diverged_step: int | None = None
    steps_run: int = 0
    initial_loss: float | None = None
    train_loss: float | None = None
    valid_loss: float | None = None
    valid_accuracy: float | None = None
    best_valid_loss: float | None = None
    lr_final: float | None = None
    lr_max: float | None = None
    lr_min: float | None = None
    steps_to: Mapping[str, int] = field(default_factory=dict)
    more: Mapping[str, float | int | str | None] = field(default_factory=dict)
    trace: tuple[TracePoint, ...] = ()


@dataclass(frozen=True, slots=True)
class PackRecord:
    """The results of a pack with where and how long it ran (`seconds` for all its cells)."""

    cells: tuple[CellRecord, ...]
    seconds: float
    device: str
    dtype: str
    torch_version: str


@dataclass(frozen=True)
class Snapshot:
    """A pack in training between two steps: enough to go on elsewhere, with any of its cells.

    Attributes:
        step: updates made.
        cell_ids: the cells in training.
        arrays: their numbers by name, axis 0 = cell.
        details: JSON values: how they train, and the records of cells that have ended.
    """

    step: int
    cell_ids: tuple[str, ...]
    arrays: Mapping[str, np.ndarray]
    details: Mapping[str, Any]


def failure(cell: Cell, error: BaseException | str) -> CellRecord:
    """The record of a cell that raised: never a result, always with its reason."""
    reason = error if isinstance(error, str) else describe(error, MAX_ERROR_LENGTH)
    return CellRecord(cell, "failed", error=" ".join(reason.split())[:MAX_ERROR_LENGTH])


MAX_ERROR_LENGTH = 1000
