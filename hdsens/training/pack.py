"""Train a pack where it lands: in this process or in a worker."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence

import torch

from hdsens.cells import Cell
from hdsens.packs import Path
from hdsens.records import CellRecord, PackRecord, failure
from hdsens.study import Study
from hdsens.training.environment import resolve_device, training_environment
from hdsens.training.examples import load_examples
from hdsens.training.fused import train_fused
from hdsens.training.job import Job
from hdsens.training.memory import out_of_memory
from hdsens.training.plain import train_cells

_log = logging.getLogger(__name__)


class PackTraining:
    """The cells of a pack in training; iterate to train them, one record as each is ready.

    What stops all of them, such as data that cannot be read, makes the rest of the pack `failed`.

    Args:
        study: the study that the cells are of.
        cells: the members, all of one seed and batch size.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        path: `fused` trains them together, `plain` one after the other.
        threads: CPU threads; part of what makes two runs equal bit for bit.

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
    ) -> None:
        self._study = study
        self._cells = tuple(cells)
        self._device = resolve_device(device)
        self._threads = threads
        self._path = path
        self._started = time.perf_counter()
        self._ready: list[CellRecord] = []

    def __iter__(self) -> Iterator[CellRecord]:
        try:
            yield from self._train()
        except Exception as error:  # a pack that cannot go on must not stop the others
            for cell in self._cells[len(self._ready) :]:
                self._ready.append(failure(cell, error))
                yield self._ready[-1]

    def _train(self) -> Iterator[CellRecord]:
        task = self._study.task
        with training_environment(getattr(torch, task.dtype), self._threads):
            job = Job(self._study, load_examples(task, self._device), self._device)
            for record in _train(job, self._cells, self._path):
                self._ready.append(record)
                yield record

    def record(self) -> PackRecord:
        """The records that are ready, with where and how long they ran."""
        return PackRecord(
            cells=tuple(self._ready),
            seconds=time.perf_counter() - self._started,
            device=_device_name(self._device),
            dtype=self._study.task.dtype,
            torch_version=torch.__version__,
        )


def _train(job: Job, cells: Sequence[Cell], path: Path) -> Iterator[CellRecord]:
    if path == "plain":
        yield from train_cells(job, cells)
        return
    records, error = _attempt(job, cells)
    if error is None:
        yield from records
    elif out_of_memory(error) and len(cells) > 1:
        half = len(cells) // 2
        _log.warning("out of memory: %d cells go on in two packs", len(cells))
        yield from _train(job, cells[:half], path)
        yield from _train(job, cells[half:], path)
    else:
        _log.warning("%d cells go on one by one: %s: %s", len(cells), type(error).__name__, error)
        yield from train_cells(job, cells)


def _attempt(job: Job, cells: Sequence[Cell]) -> tuple[list[CellRecord], Exception | None]:
    """The records of cells trained together, or what stopped them; its memory is free again."""
    try:
        return train_fused(job, cells), None
    except Exception as error:  # whatever a user's model raises under vmap
        return [], error.with_traceback(None)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
