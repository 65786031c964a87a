"""The ledger of a pack: what its cells have recorded so far, as arrays over cells."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hdsens.records import CellRecord, TracePoint
from hdsens.study.cells import Cell
from hdsens.training.job import Evaluation
from hdsens.training.recorder import Recorder
from hdsens.training.resuming.snapshots import trace_from_json, trace_to_json

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Pair = tuple[Evaluation, Evaluation]
"""On the training and on the validation split."""
TRACE_FIELDS = dataclasses.fields(TracePoint)
_LR_RANGE = ("lr_final", "lr_max", "lr_min")


@dataclass(frozen=True)
class Window:
    """Successive steps of the live cells.

    Attributes:
        first_step: of the window.
        losses: minibatch losses `(n_steps, n_live)`.
        lrs: of the updates, likewise.
        finite: whether the parameters were finite after the update, likewise.
    """

    first_step: int
    losses: Floats
    lrs: Floats
    finite: npt.NDArray[np.bool_]

    def sound_steps(self) -> Ints:
        """Count the steps of each cell before its first non-finite number, `(n_live,)`."""
        sound = np.isfinite(self.losses) & np.isfinite(self.lrs) & self.finite
        return np.where(sound.all(axis=0), len(sound), (~sound).argmax(axis=0))


class Ledger:
    """Collects first passages, lr range, trace and ends of a pack's cells.

    Args:
        cells: of the pack.
        targets: minibatch loss of each target.
        steps_per_epoch: to count epochs in traces.
    """

    def __init__(
        self, cells: Sequence[Cell], targets: Mapping[str, float], steps_per_epoch: int
    ) -> None:
        n = len(cells)
        self.cells, self.targets = cells, targets
        self.live: Ints = np.arange(n)
        self._running = self.live  # whose records have not been given
        self.steps_to = {name: np.zeros(n, dtype=np.int64) for name in targets}
        self.lr_final, self.lr_max, self.lr_min = (np.full(n, np.nan) for _ in range(3))
        self.diverged_step = np.zeros(n, dtype=np.int64)
        self.ends: dict[int, int] = {}
        self._recorders = [Recorder(targets, steps_per_epoch) for _ in cells]

    def add(self, window: Window) -> None:
        """Record a window of steps. `drop` removes the cells that diverged in it."""
        sound = window.sound_steps()
        n_steps = len(window.losses)
        step = np.arange(n_steps)[:, None]
        for name, target in self.targets.items():
            reached = (window.losses <= target) & (step <= sound)
            new = reached.any(axis=0) & (self.steps_to[name][self.live] == 0)
            self.steps_to[name][self.live[new]] = window.first_step + reached.argmax(axis=0)[new]
        self._add_lrs(np.where(step < sound, window.lrs, np.nan), sound)
        ended = sound < n_steps
        self.diverged_step[self.live[ended]] = window.first_step + sound[ended]

    def _add_lrs(self, lrs: Floats, sound: Ints) -> None:
        live, some = self.live, sound > 0
        self.lr_max[live] = np.fmax(self.lr_max[live], np.fmax.reduce(lrs))
        self.lr_min[live] = np.fmin(self.lr_min[live], np.fmin.reduce(lrs))
        self.lr_final[live[some]] = lrs[sound[some] - 1, np.flatnonzero(some)]

    def drop(self, gone: npt.NDArray[np.bool_]) -> Ints:
        """Remove cells, a mask `(n_live,)`, from the live ones, and return the rows that stay."""
        kept = np.flatnonzero(~gone)
        self.live = self.live[kept]
        return kept

    def diverged(self) -> npt.NDArray[np.bool_]:
        """Return a mask `(n_live,)` of the cells that have diverged."""
        return self.diverged_step[self.live] > 0

    def all_reached(self) -> npt.NDArray[np.bool_]:
        """Return a mask `(n_live,)` of the cells that have reached every target."""
        reached = [steps[self.live] > 0 for steps in self.steps_to.values()]
        return np.logical_and.reduce(reached, axis=0) if reached else self.live < 0

    def point(self, step: int, rows: Ints, losses: Floats) -> None:
        """Add a point without evaluation to the traces of live cells, by their `rows`."""
        for cell, loss in zip(self.live[rows].tolist(), losses[rows].tolist(), strict=True):
            self._recorder(cell).point(step, loss, None, None)

    def evaluated_point(
        self,
        step: int,
        rows: Ints,
        losses: Floats,
        evaluations: Sequence[Pair],
        ends: npt.NDArray[np.bool_],
    ) -> None:
        """Add an evaluated point to the traces of live cells; where `ends` is true it is the last.

        A cell whose evaluation is not finite has diverged.
        """
        for row, (train, valid) in zip(rows.tolist(), evaluations, strict=True):
            cell = int(self.live[row])
            if not (math.isfinite(train.loss) and math.isfinite(valid.loss)):
                self.diverged_step[cell] = step
                continue
            self._recorder(cell).point(step, float(losses[row]), train, valid)
            if ends[row]:
                self.ends[cell] = step

    def ended(self, initial_loss: float) -> list[CellRecord]:
        """Return the records of the cells that have ended since the last call."""
        if len(self.live) == len(self._running):
            return []
        ended = np.setdiff1d(self._running, self.live)
        self._running = self.live
        return [self._record(cell, initial_loss) for cell in ended.tolist()]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return the live cells' numbers by name, axis 0 = cell; NaN stands for null."""
        live, recorders = self.live, [self._recorders[cell] for cell in self.live.tolist()]
        best = [math.nan if r.best_valid_loss is None else r.best_valid_loss for r in recorders]
        traces = [trace_to_json(recorder.trace) for recorder in recorders]
        return {
            **{f"steps_to/{name}": steps[live] for name, steps in self.steps_to.items()},
            **{name: getattr(self, name)[live] for name in _LR_RANGE},
            "best_valid_loss": np.array(best),
            "trace": np.array(traces, dtype=np.float64).reshape(len(live), -1, len(TRACE_FIELDS)),
        }

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Restore what `state` returned for these cells."""
        for name, steps in self.steps_to.items():
            steps[:] = state[f"steps_to/{name}"]
        for name in _LR_RANGE:
            getattr(self, name)[:] = state[name]
        of_cells = zip(self._recorders, state["best_valid_loss"], state["trace"], strict=True)
        for recorder, best, points in of_cells:
            recorder.best_valid_loss = _number(best)
            recorder.trace = trace_from_json(_with_nulls(points))

    def _recorder(self, cell: int) -> Recorder:
        """Return a cell's recorder, brought up to date with the arrays."""
        recorder = self._recorders[cell]
        for name in _LR_RANGE:
            setattr(recorder, name, _number(getattr(self, name)[cell]))
        recorder.steps_to = {
            n: int(steps[cell]) for n, steps in self.steps_to.items() if steps[cell]
        }
        return recorder

    def _record(self, cell: int, initial_loss: float) -> CellRecord:
        diverged_step = int(self.diverged_step[cell])
        last_step = diverged_step or self.ends[cell]
        return self._recorder(cell).record(
            self.cells[cell], last_step, initial_loss, diverged=diverged_step > 0
        )


def _with_nulls(points: npt.NDArray[np.float64]) -> list[list[Any]]:
    rows = [[None if math.isnan(x) else x for x in point] for point in points.tolist()]
    return [[int(row[0] or 0), *row[1:]] for row in rows]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
