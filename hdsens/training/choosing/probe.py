"""A short measurement of both paths on the first steps of real cells."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from hdsens.study.cells import Cell
from hdsens.training.choosing.agreement import (
    check_buffers,
    check_number,
    compare_evaluations,
    compare_first_pass,
    norm,
)
from hdsens.training.choosing.memory import memory_budget, out_of_memory
from hdsens.training.examples import Batches, Split
from hdsens.training.fused.run import FusedRun, split_into_turns
from hdsens.training.job import EVALUATION_BATCH, Job
from hdsens.training.plain import PlainRun

REPEATS = 3
_STATE_COPIES = 6  # parameters, gradients, up to three states, and one to work with
_SHARE = {"cpu": 1e-3, "cuda": 0.05}  # of the update; measured: docs/decisions/agreement.md
_NORMALISED_SHARE = 0.25  # its steps are full where a gradient is 0 but for rounding
_ROUNDINGS = 8  # of each parameter: an update may be smaller than they are


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
        """Measure the seconds that a step of a cell alone takes."""
        run = PlainRun(self.job, self.cells[0], self.job.fresh_model(self.cells[0].seed))
        return self._best(run.update)

    def fused_seconds(self, n_cells: int) -> float | None:
        """Measure the seconds a cell and step in a pack; None where it would not fit into memory.

        Raises:
            Exception: whatever the model raises under vmap, and RuntimeError where the first
                steps differ from the plain loop's.
        """
        if self._bytes_per_cell is None:
            self._bytes_per_cell = self._measure_bytes()
            self._compare()
        turn = split_into_turns(self.job, self.cells[:n_cells])[0]
        if len(turn) * self._bytes_per_cell > memory_budget(self.job.device, self.threads):
            return None
        try:
            run = FusedRun(self.job, turn)
            return self._best(lambda step: run.update()) / len(turn)
        except Exception as error:
            if out_of_memory(error):
                return None
            raise

    def _best(self, update: Callable[[int], object]) -> float:
        """Time a few steps after one that warms up, and return the quickest in seconds."""
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
        """Return the bytes that a cell adds to a pack: its state, and what backward needs."""
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
        """Train a few steps on both paths; check that losses, weights and an evaluation agree."""
        dtype = self.job.study.task.dtype
        sample = self._sample()
        first = Batches(self.job.examples, sample[0].seed, sample[0].batch_size).at(1)
        compare_first_pass(self.job, sample[0].seed, first)
        fused = FusedRun(self.job, sample)
        plain = [PlainRun(self.job, c, self.job.fresh_model(c.seed)) for c in sample]
        start = {name: p.detach().clone() for name, p in plain[0].model.named_parameters()}
        sound = [True] * len(sample)
        for step in range(1, 1 + min(REPEATS, sample[0].steps)):
            losses = fused.update().tolist()
            for row, (run, loss) in enumerate(zip(plain, losses, strict=True)):
                expected = run.update(step)
                sound[row] = sound[row] and expected is not None
                if expected is not None and sound[row]:
                    check_number(f"the loss of step {step}", loss, expected, dtype)
        alone = [run.model if ok else None for run, ok in zip(plain, sound, strict=True)]
        for row, model in enumerate(alone):
            if model is not None:
                self._compare_updates(fused, row, model, start)
                buffers = {name: b[row] for name, b in fused.stack.buffers.items()}
                check_buffers(buffers, model, dtype)
        compare_evaluations(self.job, sample[0].seed, fused.stack, alone, self._some_examples())

    def _compare_updates(
        self, fused: FusedRun, row: int, alone: nn.Module, start: Mapping[str, Tensor]
    ) -> None:
        """Compare all parameters as one vector, relative to what training has changed."""
        pairs = [
            (fused.stack.parameters[name][row].detach(), p.detach(), start[name])
            for name, p in alone.named_parameters()
            if name in fused.stack.parameters
        ]
        apart = norm([together - alone for together, alone, _ in pairs])
        update = norm([alone - before for _, alone, before in pairs])
        rounding = _ROUNDINGS * torch.finfo(pairs[0][0].dtype).eps * norm([p for _, p, _ in pairs])
        full_steps = fused.rule is not None and fused.rule.normalises
        share = _NORMALISED_SHARE if full_steps else _SHARE[self.job.device.type]
        if not apart <= share * update + rounding:
            raise RuntimeError(
                f"together, parameters differ by {apart}, an update alone is {update}"
            )

    def _some_examples(self) -> Split:
        """Return as many examples as the plain loop evaluates at once."""
        train, rows = self.job.examples.train, slice(EVALUATION_BATCH)
        return Split(train.inputs[rows], train.targets[rows])

    def _sample(self) -> list[Cell]:
        """Return two cells from the middle of the grid: at its ends lr is 0, or cells diverge."""
        n = len(self.cells)
        return [self.cells[n // 3], self.cells[2 * n // 3]]
