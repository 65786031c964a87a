"""Snapshots of a pack in training: what they hold, and what makes one usable."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hdsens.records import CellRecord, Snapshot, TracePoint
from hdsens.study import Study
from hdsens.study.cells import Cell
from hdsens.study.packs import Path

VERSION = 1
_NOT_KEPT = ("cell", "error", "initial_loss", "trace")
_log = logging.getLogger(__name__)


def complete_snapshot(
    snapshot: Snapshot, study: Study, ended: Sequence[CellRecord], seconds: float
) -> Snapshot:
    """Add to a snapshot of live cells what resuming needs: ended records, trace cadence, seconds.

    Args:
        snapshot: of the cells in training.
        study: of the pack.
        ended: records of cells that are done; failed ones are left out, they train anew.
        seconds: how long the pack has trained.
    """
    results = {r.cell.cell_id: _to_json(r) for r in ended if r.outcome != "failed"}
    trace = study.trace.model_dump(mode="json")
    common = {"version": VERSION, "trace": trace, "seconds": seconds, "ended": results}
    return replace(snapshot, details={**common, **snapshot.details})


class NotSerialisableError(Exception):
    """A state in training that is neither tensors nor JSON values."""


def is_usable(snapshot: Snapshot, study: Study, path: Path) -> bool:
    """Whether training resumed from the snapshot would equal training without interruption.

    A pack that is planned as fused may have gone over to the plain loop, never the other way.
    """
    kept = (snapshot.details.get("version"), snapshot.details.get("trace"))
    known = kept == (VERSION, study.trace.model_dump(mode="json"))
    return known and snapshot.details["path"] in ("plain", path)


def note_unusable(error: BaseException) -> None:
    """Log that the snapshot is not used and training starts anew."""
    _log.warning("a snapshot does not fit: %s: %s", type(error).__name__, error)


def ended_records(
    snapshot: Snapshot, cells: Sequence[Cell], initial_loss: Callable[[int], float]
) -> list[CellRecord]:
    """Return the records of cells that had ended; a seed's initial loss is measured again."""
    ended: Mapping[str, Any] = snapshot.details["ended"]
    return [
        _from_json(cell, ended[cell.cell_id], initial_loss(cell.seed))
        for cell in cells
        if cell.cell_id in ended
    ]


def rows_of(snapshot: Snapshot, cells: Sequence[Cell]) -> dict[str, np.ndarray]:
    """Return the arrays for these cells alone, in their order, axis 0 = cell."""
    at = {cell_id: row for row, cell_id in enumerate(snapshot.cell_ids)}
    rows = [at[cell.cell_id] for cell in cells]
    return {name: array[rows] for name, array in snapshot.arrays.items()}


def under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with `prefix/`, by the rest of the name."""
    start = f"{prefix}/"
    return {name[len(start) :]: a for name, a in arrays.items() if name.startswith(start)}


def to_array(tensor: Tensor) -> np.ndarray:
    """Copy a tensor into an array with memory of its own."""
    return tensor.detach().cpu().numpy().copy()


def to_tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """Copy into torch's memory, whose alignment decides the last bits of a matrix product."""
    return torch.tensor(array, device=device)


def trace_to_json(trace: Sequence[TracePoint]) -> list[list[float | None]]:
    """Turn trace points into lists of their fields."""
    return [list(dataclasses.astuple(point)) for point in trace]


def trace_from_json(rows: Sequence[Sequence[Any]]) -> list[TracePoint]:
    """Turn lists of fields back into trace points."""
    return [TracePoint(*row) for row in rows]


def _to_json(record: CellRecord) -> dict[str, Any]:
    fields = [f.name for f in dataclasses.fields(record) if f.name not in _NOT_KEPT]
    kept = {name: getattr(record, name) for name in fields}
    return {**kept, "steps_to": dict(record.steps_to), "trace": trace_to_json(record.trace)}


def _from_json(cell: Cell, kept: Mapping[str, Any], initial_loss: float) -> CellRecord:
    trace = tuple(trace_from_json(kept["trace"]))
    return CellRecord(cell, initial_loss=initial_loss, **{**kept, "trace": trace})
