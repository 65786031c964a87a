"""A short measurement of both paths on the first steps of real cells."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from hdsens.cells import Cell
from hdsens.training.fused import FusedRun
from hdsens.training.job import Job
from hdsens.training.plain import PlainRun

REPEATS = 3
_STATE_COPIES = 6  # parameters, gradients, up to three states, and one to work with
_log = logging.getLogger(__name__)


class Probe:
    """Times both paths on some cells, and checks that they agree.

    Args:
        job: with the examples on the device.
        cells: of one seed; a pack of n is measured on the first n.
        threads: of a pack; the memory of the machine is shared with others like it.
    """

    def __init__(self, job: Job, cells: Sequence[Cell], threads: int) -> None:
        self.job, self.cells, self.threads = job, cells, threads
        self._bytes_per_cell: float | None = None

    def plain_seconds(self) -> float:
        """Seconds a step of a cell alone."""
        run = PlainRun(self.job, self.cells[0], self.job.fresh_model(self.cells[0].seed))
        return self._best(run.update)

    def fused_seconds(self, n_cells: int) -> float | None:
        """Seconds a cell and step in a pack; None where it would not fit into memory.

        Raises:
            Exception: whatever the model raises under vmap, and RuntimeError where the first
                steps differ from the plain loop's.
        """
        if self._bytes_per_cell is None:
            self._bytes_per_cell = self._measure_bytes()
            self._compare()
        if n_cells * self._bytes_per_cell > memory_budget(self.job.device, self.threads):
            return None
        run = FusedRun(self.job, self.cells[:n_cells])
        return self._best(lambda step: run.update()) / n_cells

    def note(self, error: Exception) -> None:
        """Say why these cells take the plain loop."""
        _log.warning("the plain loop trains these cells: %s: %s", type(error).__name__, error)

    def _best(self, update: Callable[[int], object]) -> float:
        """The quickest of a few steps, after one that warms up."""
        update(1)
        seconds = []
        for step in range(2, 2 + REPEATS):
            self._wait()
            started = time.perf_counter()
            update(step)
            self._wait()
            seconds.append(time.perf_counter() - started)
        return min(seconds)

    def _wait(self) -> None:
        if self.job.device.type == "cuda":
            torch.cuda.synchronize(self.job.device)

    def _measure_bytes(self) -> float:
        """Memory that a cell adds to a pack: its state, and what a step keeps to go backward."""
        kept = 0

        def note(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += tensor.nbytes
            return tensor

        run = FusedRun(self.job, self._sample())
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            run.update()
        state = sum(p.nbytes for p in run.stack.parameters.values())
        return (_STATE_COPIES * state + 2 * kept) / len(run.cells)

    def _compare(self) -> None:
        sample = self._sample()
        fused = FusedRun(self.job, sample)
        plain = [PlainRun(self.job, c, self.job.fresh_model(c.seed)) for c in sample]
        for step in range(1, 1 + min(REPEATS, sample[0].steps)):
            losses = fused.update().tolist()
            for run, loss in zip(plain, losses, strict=True):
                expected = run.update(step)
                if expected is not None and not agree(loss, expected, self.job.study.task.dtype):
                    raise RuntimeError(
                        f"together, the loss of step {step} is {loss}, alone {expected}"
                    )

    def _sample(self) -> list[Cell]:
        """Two cells from the middle: the ends of a grid are 0 and what diverges."""
        n = len(self.cells)
        return [self.cells[n // 3], self.cells[2 * n // 3]]


def agree(a: float, b: float, dtype: str) -> bool:
    """Whether two losses are equal but for rounding, some of it enlarged by training."""
    return abs(a - b) <= {"float32": 1e-3, "float64": 1e-8}[dtype] * max(1.0, abs(b))


def memory_budget(device: torch.device, threads: int) -> float:
    """Bytes that a pack may take: most of a free GPU, half of a CPU worker's share."""
    if device.type == "cuda":
        return 0.8 * float(torch.cuda.mem_get_info(device)[0])
    workers = max(1, (os.cpu_count() or 1) // threads)
    return 0.5 * _free_memory() / workers


def _free_memory() -> float:
    """Bytes that this machine, or the control group that holds us, has left."""
    free = float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free = 1024.0 * int(line.split()[1])
    limit, used = (_lines(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if limit and used and limit[0] != "max":
        free = min(free, float(limit[0]) - float(used[0]))
    return free


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return []
