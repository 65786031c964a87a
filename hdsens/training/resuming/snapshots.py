"""Snapshots of a pack in training: when they are offered, and what makes one usable."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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


Take = Callable[[], tuple[Snapshot, Sequence[CellRecord]]]


class Keeper:
    """Offers a snapshot at the first step boundary after every so many seconds, and at a last one.

    Args:
        study: of the pack.
        ready: records of cells that are done; it grows while the pack trains.
        keep: takes a snapshot; None for nobody. What it raises is told and does no harm.
        every_s: seconds between two snapshots.
        before_s: seconds that the pack trained before it was interrupted.
    """

    def __init__(
        self,
        study: Study,
        ready: Sequence[CellRecord],
        keep: Callable[[Snapshot], None] | None,
        every_s: float,
        before_s: float,
    ) -> None:
        self._study, self._ready, self._keep, self._every_s = study, ready, keep, every_s
        self._started = time.monotonic() - before_s
        self._last = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the pack has trained, also before it was interrupted."""
        return time.monotonic() - self._started

    def boundary(self, take: Take) -> Iterator[Sequence[CellRecord]]:
        """Between two steps: keep what `take` gives, with records ended meanwhile, if it is time.

        Yields once, no records: who iterates may give up there, and then it is kept in any case.
        `take` raises `CannotKeepError` for what has no snapshot.
        """
        if time.monotonic() - self._last >= self._every_s:
            self._offer(take)
        try:
            yield ()
        except GeneratorExit:
            self._offer(take)
            raise

    def _offer(self, take: Take) -> None:
        if self._keep is None:
            return
        try:
            snapshot, ended = take()
            self._keep(self._complete(snapshot, ended))
        except CannotKeepError as reason:
            _log.info("no snapshot: %s", reason)
        except Exception as error:  # a full disk, say: training is worth more than a snapshot
            _log.warning("a snapshot was not kept: %s: %s", type(error).__name__, error)
        self._last = time.monotonic()

    def _complete(self, snapshot: Snapshot, ended: Sequence[CellRecord]) -> Snapshot:
        results = [r for r in (*self._ready, *ended) if r.outcome != "failed"]
        common = {
            "version": VERSION,
            "trace": self._study.trace.model_dump(mode="json"),
            "seconds": self.seconds,
            "ended": {r.cell.cell_id: _to_json(r) for r in results},
        }
        return replace(snapshot, details={**common, **snapshot.details})


class CannotKeepError(Exception):
    """Something in training is neither tensors nor JSON values."""


def is_usable(snapshot: Snapshot, study: Study, path: Path) -> bool:
    """Whether training would go on from it as it would have without the interruption.

    A pack that is planned as fused may have gone over to the plain loop, never the other way.
    """
    kept = (snapshot.details.get("version"), snapshot.details.get("trace"))
    known = kept == (VERSION, study.trace.model_dump(mode="json"))
    return known and snapshot.details["path"] in ("plain", path)


def note_unusable(error: Exception) -> None:
    """Say that training starts anew."""
    _log.warning("a snapshot does not fit: %s: %s", type(error).__name__, error)


def ended_records(
    snapshot: Snapshot, cells: Sequence[Cell], initial_loss: Callable[[int], float]
) -> list[CellRecord]:
    """Records of those of the cells that had ended; a seed's initial loss is measured again."""
    ended: Mapping[str, Any] = snapshot.details["ended"]
    return [
        _from_json(cell, ended[cell.cell_id], initial_loss(cell.seed))
        for cell in cells
        if cell.cell_id in ended
    ]


def rows_of(snapshot: Snapshot, cells: Sequence[Cell]) -> dict[str, np.ndarray]:
    """The arrays for these cells alone, in their order."""
    at = {cell_id: row for row, cell_id in enumerate(snapshot.cell_ids)}
    rows = [at[cell.cell_id] for cell in cells]
    return {name: array[rows] for name, array in snapshot.arrays.items()}


def under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `prefix/`, by what follows."""
    start = f"{prefix}/"
    return {name[len(start) :]: a for name, a in arrays.items() if name.startswith(start)}


def to_array(tensor: Tensor) -> np.ndarray:
    """A copy in memory of its own."""
    return tensor.detach().cpu().numpy().copy()


def to_tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """A copy in torch's memory, whose alignment decides the last bits of a matrix product."""
    return torch.tensor(array, device=device)


def trace_to_json(trace: Sequence[TracePoint]) -> list[list[float | None]]:
    """The points as lists of their fields."""
    return [list(dataclasses.astuple(point)) for point in trace]


def trace_from_json(rows: Sequence[Sequence[Any]]) -> list[TracePoint]:
    """The points again."""
    return [TracePoint(*row) for row in rows]


def _to_json(record: CellRecord) -> dict[str, Any]:
    fields = [f.name for f in dataclasses.fields(record) if f.name not in _NOT_KEPT]
    kept = {name: getattr(record, name) for name in fields}
    return {**kept, "steps_to": dict(record.steps_to), "trace": trace_to_json(record.trace)}


def _from_json(cell: Cell, kept: Mapping[str, Any], initial_loss: float) -> CellRecord:
    trace = tuple(trace_from_json(kept["trace"]))
    return CellRecord(cell, initial_loss=initial_loss, **{**kept, "trace": trace})
