"""Train a pack where it lands: in this process or in a worker."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from hdsens.errors import USER_ERRORS, describe, is_signal
from hdsens.records import CellRecord, PackRecord, Snapshot, failure
from hdsens.study import Study
from hdsens.study.cells import Cell
from hdsens.study.packs import Path
from hdsens.study.task_factors import study_of
from hdsens.training.choosing.memory import out_of_memory
from hdsens.training.environment import resolve_device, training_environment
from hdsens.training.examples import load_examples
from hdsens.training.fused.run import FusedRun, split_into_turns, start_fused
from hdsens.training.job import Job
from hdsens.training.plain import PlainRun, start_plain
from hdsens.training.resuming.snapshots import (
    NotSerialisableError,
    complete_snapshot,
    ended_records,
    is_usable,
)

SLICE_S = 0.5
"""Seconds of training between two looks, for who only wants the records."""

_log = logging.getLogger(__name__)


class PackTraining:
    """The cells of a pack in training; it trains while somebody calls `advance`, and only then.

    What stops all of them, such as data that cannot be read, makes the rest of the pack `failed`.
    Iterating trains to the end and gives the records as cells end.

    Args:
        study: the study that the cells are of.
        cells: the members, all of one task, seed and batch size.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads; part of what makes two runs equal bit for bit.
        path: `fused` trains them together (in turns where they are many), `plain` one by one.
        snapshot: of these cells, or of more or fewer, to go on from; the rest start anew.
        job: of an earlier pack of the study on the device, so that nothing is measured twice.

    Attributes:
        job: what the pack trains on, for a later one; None before the first step.

    Raises:
        InputError: the device is not there.
    """

    def __init__(
        self,
        study: Study,
        cells: Sequence[Cell],
        device: str = "auto",
        threads: int = 1,
        path: Path = "plain",
        snapshot: Snapshot | None = None,
        job: Job | None = None,
    ) -> None:
        self._study = study_of(study, cells[0].factors) if cells else study
        self.job = job if job and job.study.task == self._study.task else None
        self._cells = tuple(cells)
        self._device = resolve_device(device)
        self._threads = threads
        self._path = path
        self._snapshot = snapshot if snapshot and is_usable(snapshot, study, path) else None
        self._seconds = self._snapshot.details["seconds"] if self._snapshot else 0.0
        self._ready: list[CellRecord] = []
        self._initial_valid_loss: float | None = None
        self._turns: deque[_Turn] | None = None
        self._run: FusedRun | PlainRun | None = None
        self._is_serialisable = True

    @property
    def live(self) -> tuple[Cell, ...]:
        """The cells that have not ended, in the order of the pack."""
        return _without(self._cells, self._ready)

    def advance(self, seconds: float = 0.0) -> Sequence[CellRecord]:
        """Train for so many seconds, at least one step, and return the records of ended cells.

        It returns between two steps. After an exception the cells that had ended are in `record`,
        and the training must not be advanced any more.
        """
        started, before = time.monotonic(), len(self._ready)
        try:
            with training_environment(getattr(torch, self._study.task.dtype), self._threads):
                while len(self._ready) < len(self._cells):
                    self._step()
                    if time.monotonic() - started >= seconds:
                        break
        finally:
            self._seconds += time.monotonic() - started
        return self._ready[before:]

    def __iter__(self) -> Iterator[CellRecord]:
        while self.live:
            yield from self.advance(SLICE_S)

    def snapshot(self) -> Snapshot | None:
        """Take a snapshot from which the live cells can go on elsewhere, with the ended records.

        It holds parameters, buffers, the optimizer's state, and plain data that the model keeps
        elsewhere. None between two turns, where nothing is half done, and where anything of these
        is more than tensors and plain data, which is said once.
        """
        if self._run is None or not self._is_serialisable:
            return None
        try:
            taken = self._run.snapshot()
        except NotSerialisableError as reason:
            _log.warning("cannot be checkpointed: %s; interrupted, it starts anew", reason)
            self._is_serialisable = False
            return None
        return complete_snapshot(taken, self._study, self._ready, self._seconds)

    def record(self) -> PackRecord:
        """Return the records of ended cells, in the order of the pack, with device and seconds.

        The seconds before an interruption count too.
        """
        order = {cell.cell_id: i for i, cell in enumerate(self._cells)}
        cells = sorted(self._ready, key=lambda record: order[record.cell.cell_id])
        return PackRecord(
            cells=tuple(self._with_beginning(record) for record in cells),
            seconds=self._seconds,
            device=_device_name(self._device),
            dtype=self._study.task.dtype,
            torch_version=torch.__version__,
        )

    def _with_beginning(self, record: CellRecord) -> CellRecord:
        """Add what is known of the untrained model besides its training loss."""
        if record.outcome == "failed":
            return record
        return replace(record, more={**record.more, "initial_valid_loss": self._initial_valid_loss})

    def _step(self) -> None:
        # What a cell sets for its process reaches no other step, of whichever cell.
        torch.set_default_dtype(getattr(torch, self._study.task.dtype))
        torch.set_grad_enabled(True)
        try:
            job = self.job = self.job or self._new_job()
            if self._turns is None:
                self._turns = self._first_turns(job)
            if self._turns:
                self._step_of(job, self._turns)
        except USER_ERRORS as error:  # a pack that cannot go on must not stop the others
            if is_signal(error):
                raise
            self._ready += [failure(cell, error) for cell in self.live]

    def _new_job(self) -> Job:
        return Job(self._study, load_examples(self._study.task, self._device), self._device)

    def _first_turns(self, job: Job) -> deque[_Turn]:
        """Return the turns of the cells that have not ended in the snapshot."""
        snapshot, self._snapshot = self._snapshot, None
        self._initial_valid_loss = job.initial_valid_loss(self._cells[0].seed)
        if snapshot is not None:
            self._ready += ended_records(snapshot, self._cells, job.initial_loss)
        return deque(_turns(job, self.live, self._path, snapshot))

    def _step_of(self, job: Job, turns: deque[_Turn]) -> None:
        """Make one step of the first turn; where it ends or fails, others follow."""
        turn = turns[0]
        following: list[_Turn] | None
        try:
            run = self._run = self._run or turn.start(job)
            try:
                run.advance()
            finally:  # an interrupt leaves what had ended too
                self._ready += run.ended()
            following = [] if run.is_over else None
        except USER_ERRORS as error:  # whatever a user's model or optimizer raises
            if is_signal(error):
                raise
            rest = _without(turn.cells, self._ready)
            following = _turns_after(error, rest, turn)
            if turn.path == "plain":
                self._ready += [failure(cell, error) for cell in rest]
        if following is not None:
            self._run = None
            turns.popleft()
            turns.extendleft(reversed(following))


@dataclass(frozen=True)
class _Turn:
    """Cells that train at the same time: several in a program, or one by itself."""

    cells: Sequence[Cell]
    path: Path
    snapshot: Snapshot | None = None

    def start(self, job: Job) -> FusedRun | PlainRun:
        """Begin the cells, or resume them from the snapshot."""
        if self.path == "fused":
            return start_fused(job, self.cells, self.snapshot)
        (cell,) = self.cells
        return start_plain(job, cell, self.snapshot)


def _turns(job: Job, cells: Sequence[Cell], path: Path, snapshot: Snapshot | None) -> list[_Turn]:
    """Return the turns of a pack: cells of the snapshot resume, the others start anew."""
    if path == "plain" or (snapshot and snapshot.details["path"] == "plain"):
        return _one_by_one(cells, snapshot)
    kept = frozenset(snapshot.cell_ids if snapshot else ())
    held = [cell for cell in cells if cell.cell_id in kept]
    fresh = [cell for cell in cells if cell.cell_id not in kept]
    first = [_Turn(held, "fused", snapshot)] if held else []
    return [*first, *(_Turn(turn, "fused") for turn in split_into_turns(job, fresh))]


def _one_by_one(cells: Sequence[Cell], snapshot: Snapshot | None) -> list[_Turn]:
    kept = frozenset(snapshot.cell_ids if snapshot else ())
    return [_Turn((c,), "plain", snapshot if c.cell_id in kept else None) for c in cells]


def _turns_after(error: BaseException, rest: Sequence[Cell], turn: _Turn) -> list[_Turn]:
    """Return the turns after an error: halves where memory ran out, else one cell at a time.

    A plain turn ends with its cell.
    """
    if turn.path == "plain":
        return []
    if out_of_memory(error) and len(rest) > 1:
        half = len(rest) // 2
        _log.warning("out of memory: %d cells go on in two packs", len(rest))
        return [_Turn(part, "fused", turn.snapshot) for part in (rest[:half], rest[half:])]
    _log.warning("%d cells go on one by one: %s", len(rest), describe(error))
    return _one_by_one(rest, None)


def _without(cells: Sequence[Cell], ended: Sequence[CellRecord]) -> tuple[Cell, ...]:
    gone = {record.cell.cell_id for record in ended}
    return tuple(cell for cell in cells if cell.cell_id not in gone)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
