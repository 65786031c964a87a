"""Train a pack where it lands: in this process or in a worker."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch

from hdsens.cells import Cell
from hdsens.records import CellRecord, PackRecord, failure
from hdsens.study import Study
from hdsens.training.environment import resolve_device, training_environment
from hdsens.training.examples import load_examples
from hdsens.training.job import Job
from hdsens.training.plain import train_cells


class PackTraining:
    """The cells of a pack in training; iterate to train them, one record as each is ready.

    What stops all of them, such as data that cannot be read, makes the rest of the pack `failed`.

    Args:
        study: the study that the cells are of.
        cells: the members, all of one seed and batch size.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads; part of what makes two runs equal bit for bit.

    Raises:
        InputError: the device is not there.
    """

    def __init__(
        self, study: Study, cells: Sequence[Cell], device: str = "auto", threads: int = 1
    ) -> None:
        self._study = study
        self._cells = tuple(cells)
        self._device = resolve_device(device)
        self._threads = threads
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
            for record in train_cells(job, self._cells):
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


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
