"""Train a pack where it lands: in this process or in a worker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

import torch

from hdsens.errors import describe
from hdsens.records import CellRecord, PackRecord, Snapshot, failure
from hdsens.study import Study
from hdsens.study.cells import Cell
from hdsens.study.packs import Path
from hdsens.training.choosing.memory import out_of_memory
from hdsens.training.environment import resolve_device, training_environment
from hdsens.training.examples import load_examples
from hdsens.training.fused.run import in_turns, start_fused
from hdsens.training.job import Job
from hdsens.training.plain import train_by_steps
from hdsens.training.resuming.snapshots import Keeper, ended_records, is_usable

_log = logging.getLogger(__name__)


class PackTraining:
    """The cells of a pack in training; iterate to train them, one record as each is ready.

    What stops all of them, such as data that cannot be read, makes the rest of the pack `failed`.

    Args:
        study: the study that the cells are of.
        cells: the members, all of one seed and batch size.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads; part of what makes two runs equal bit for bit.
        path: `fused` trains them together (in turns where they are many), `plain` one by one.
        snapshot: of these cells, or of more or fewer, to go on from; the rest start anew.
        keep: called between two steps with a snapshot, before the next step is made.
        keep_every_s: seconds between two such calls.

    A snapshot holds parameters, buffers and the optimizer's state, so a cell whose optimizer's
    state is more than tensors and JSON values has none. What a model keeps elsewhere is lost.

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
        keep: Callable[[Snapshot], None] | None = None,
        keep_every_s: float = 300.0,
    ) -> None:
        self._study = study
        self._cells = tuple(cells)
        self._device = resolve_device(device)
        self._threads = threads
        self._path = path
        self._snapshot = snapshot if snapshot and is_usable(snapshot, study, path) else None
        self._ready: list[CellRecord] = []
        before_s = self._snapshot.details["seconds"] if self._snapshot else 0.0
        self._keeper = Keeper(study, self._ready, keep, keep_every_s, before_s)

    def __iter__(self) -> Iterator[CellRecord]:
        for records in self.by_steps():
            yield from records

    def by_steps(self) -> Generator[Sequence[CellRecord], None, None]:
        """Train; between two steps it yields the records that are ready, mostly none.

        Closed there, it calls `keep` once more.
        """
        try:
            yield from self._train()
        except Exception as error:  # a pack that cannot go on must not stop the others
            ready = {record.cell.cell_id for record in self._ready}
            failed = [failure(cell, error) for cell in self._cells if cell.cell_id not in ready]
            self._ready += failed
            yield failed

    def _train(self) -> Iterator[Sequence[CellRecord]]:
        task = self._study.task
        with training_environment(getattr(torch, task.dtype), self._threads):
            job = Job(self._study, load_examples(task, self._device), self._device)
            for records in self._records(job):
                self._ready += records  # before they are passed on: an interrupt may come then
                yield records

    def _records(self, job: Job) -> Iterator[Sequence[CellRecord]]:
        snapshot, rest = self._snapshot, self._cells
        if snapshot is not None:
            ended = ended_records(snapshot, rest, job.initial_loss)
            yield ended
            rest = _without(rest, ended)
        if self._path == "plain" or (snapshot and snapshot.details["path"] == "plain"):
            yield from train_by_steps(job, rest, self._keeper, snapshot)
            return
        kept = frozenset(snapshot.cell_ids if snapshot else ())
        held = [cell for cell in rest if cell.cell_id in kept]
        if held:
            yield from _train_together(job, held, self._keeper, snapshot)
        for turn in in_turns(job, [cell for cell in rest if cell.cell_id not in kept]):
            yield from _train_together(job, turn, self._keeper, None)

    def record(self) -> PackRecord:
        """The records that are ready, in the order of the cells, with where and how long they ran.

        The seconds before an interruption count too.
        """
        order = {cell.cell_id: i for i, cell in enumerate(self._cells)}
        return PackRecord(
            cells=tuple(sorted(self._ready, key=lambda record: order[record.cell.cell_id])),
            seconds=self._keeper.seconds,
            device=_device_name(self._device),
            dtype=self._study.task.dtype,
            torch_version=torch.__version__,
        )


def _train_together(
    job: Job, cells: Sequence[Cell], keeper: Keeper, snapshot: Snapshot | None
) -> Iterator[Sequence[CellRecord]]:
    """Fused; what stops it leaves the cells that had ended, and the others go on by themselves."""
    ended, stop = yield from _attempt(job, cells, keeper, snapshot)
    yield ended
    rest = _without(cells, ended)
    if stop is None:
        return
    if stop.asked:
        raise KeyboardInterrupt
    if stop.of_memory and len(rest) > 1:
        half = len(rest) // 2
        _log.warning("out of memory: %d cells go on in two packs", len(rest))
        yield from _train_together(job, rest[:half], keeper, snapshot)
        yield from _train_together(job, rest[half:], keeper, snapshot)
    else:
        _log.warning("%d cells go on one by one: %s", len(rest), stop.reason)
        yield from train_by_steps(job, rest, keeper, None)


@dataclass(frozen=True)
class _Stop:
    """Why a pack did not reach its end, without the exception, which would hold its memory."""

    reason: str
    of_memory: bool
    asked: bool


def _attempt(
    job: Job, cells: Sequence[Cell], keeper: Keeper, snapshot: Snapshot | None
) -> Generator[Sequence[CellRecord], None, tuple[list[CellRecord], _Stop | None]]:
    """Records of the cells that ended, and what stopped the others; its memory is free again."""
    ended: list[CellRecord] = []
    try:
        run = start_fused(job, cells, snapshot)
        try:
            yield from run.to_the_end(keeper)
        finally:
            ended = run.ended()
    except (Exception, KeyboardInterrupt) as error:  # whatever a user's model raises under vmap
        asked = isinstance(error, KeyboardInterrupt)
        return ended, _Stop(describe(error), out_of_memory(error), asked)
    return ended, None


def _without(cells: Sequence[Cell], ended: Sequence[CellRecord]) -> tuple[Cell, ...]:
    gone = {record.cell.cell_id for record in ended}
    return tuple(cell for cell in cells if cell.cell_id not in gone)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
