"""The fused path: all cells of a pack in one forward and backward pass a step."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from hdsens.errors import USER_ERRORS
from hdsens.records import CellRecord, Snapshot
from hdsens.study.cells import Cell, clip_grad_norm
from hdsens.training.examples import Batches
from hdsens.training.fused.fusable import rule_of, settings_of
from hdsens.training.fused.ledger import Ledger, Pair, Window
from hdsens.training.fused.stack import Stack, backward_cells, evaluate_cells
from hdsens.training.fused.update_rules import UpdateRule
from hdsens.training.job import EVALUATION_BATCH, Job, evaluation_steps, trace_steps
from hdsens.training.optimizers import inv_sqrt_factor
from hdsens.training.resuming.held_state import changes_in, held_state, put_back
from hdsens.training.resuming.snapshots import (
    NotSerialisableError,
    note_unusable,
    rows_of,
    to_array,
    to_tensor,
    under,
)

WINDOW = 64
"""Most steps between two looks at what the cells did: a look waits for the device."""

LARGEST_ARRAY = 32 << 20
"""Bytes. glibc keeps no freed block that is larger, and its pages would come anew in every step."""


def split_into_turns(job: Job, cells: Sequence[Cell]) -> list[Sequence[Cell]]:
    """Split a pack so that no array exceeds `LARGEST_ARRAY` on a CPU; on a GPU not at all.

    On a CPU neither the stacked weights of a layer nor the logits of an evaluation should be larger
    than `LARGEST_ARRAY`. It depends on the model alone, so that a pack is the same everywhere.
    """
    if not cells:
        return []
    if job.device.type == "cuda":
        return [cells]
    weights = job.fresh_model(cells[0].seed).parameters()
    item_size = getattr(torch, job.study.task.dtype).itemsize
    largest = max([EVALUATION_BATCH * job.examples.n_outputs, *(w.numel() for w in weights)])
    size = max(1, LARGEST_ARRAY // (largest * item_size))
    return [cells[start : start + size] for start in range(0, len(cells), size)]


def train_fused(job: Job, cells: Sequence[Cell]) -> list[CellRecord]:
    """Train the cells of a pack together. Records equal those of the plain loop to rounding.

    The cells have one seed, batch size and update rule. Cells that diverged or that need not go on
    leave the stack at the next look.
    """
    run = FusedRun(job, cells)
    while not run.is_over:
        run.advance()
    return run.ended()


def start_fused(job: Job, cells: Sequence[Cell], snapshot: Snapshot | None) -> FusedRun:
    """Begin a pack, or resume it from a snapshot that has all of its cells."""
    if snapshot is not None:
        try:
            run = FusedRun(job, cells)
            run.restore(snapshot)
        except USER_ERRORS as error:  # it may be damaged, or the model's code another
            note_unusable(error)
        else:
            return run
    return FusedRun(job, cells)


class FusedRun:
    """A pack in training, `step` updates into its budget."""

    def __init__(self, job: Job, cells: Sequence[Cell]) -> None:
        study, first = job.study, cells[0]
        self.job, self.cells, self.step = job, tuple(cells), 0
        self.initial_loss = job.initial_loss(first.seed)
        self.stack = Stack.of(job.fresh_model(first.seed), len(cells))
        self.batches = Batches(job.examples, first.seed, first.batch_size)
        self._parts = tuple(self.stack.module.parameters())
        self._frozen_at_first = {name: t._version for name, t in self.stack.frozen.items()}
        self._held_at_first = held_state(self.stack.module) if job.has_own_code else None
        self.ledger = Ledger(cells, job.target_losses, self.batches.per_epoch)
        self.may_stop = study.stop.when == "targets"
        self.evaluated = evaluation_steps(study.trace.evaluate, first.steps)
        self.traced = trace_steps(study.trace.points, first.steps) | self.evaluated
        self.every = 1 if self.may_stop else WINDOW
        arms = [study.arm(cell.arm) for cell in cells]
        self.schedules = torch.tensor(
            [arm.schedule == "inv_sqrt" for arm in arms], device=job.device
        )
        self.scheduled = any(arm.schedule != "none" for arm in arms)
        self.trained: tuple[str, ...] = ()
        self.rule: UpdateRule | None = None
        self._rows: list[tuple[Tensor, Tensor, Tensor]] = []

    @property
    def is_over(self) -> bool:
        """Whether no cell is live."""
        return not self.ledger.live.size

    def advance(self) -> None:
        """Make one step of every live cell."""
        self.update()
        if self.step % self.every == 0 or self.step in self.traced:
            self.look()

    def ended(self) -> list[CellRecord]:
        """Return the records of cells that ended since the last call, in the pack's order."""
        return self.ledger.ended(self.initial_loss)

    def snapshot(self) -> Snapshot:
        """Take a snapshot from which the live cells can go on.

        Raises:
            NotSerialisableError: no step has been made, the model holds something besides tensors
                and plain data, or it writes into frozen parameters.
        """
        if self.rule is None:
            raise NotSerialisableError("no step has been made")
        if {name: t._version for name, t in self.stack.frozen.items()} != self._frozen_at_first:
            raise NotSerialisableError("the model writes into parameters that are frozen")
        held = changes_in(self.stack.module, self._held_at_first)
        window = zip(("losses", "lrs", "checksums"), zip(*self._rows, strict=True), strict=False)
        tensors = {
            **{f"parameters/{name}": tensor for name, tensor in self.stack.parameters.items()},
            **{f"buffers/{name}": tensor for name, tensor in self.stack.buffers.items()},
            **{f"rule/{name}": tensor for name, tensor in self.rule.state().items()},
            **{f"window/{name}": torch.stack(steps, dim=1) for name, steps in window},
        }
        return Snapshot(
            step=self.step,
            cell_ids=tuple(self.cells[cell].cell_id for cell in self.ledger.live.tolist()),
            arrays={
                **{name: to_array(tensor) for name, tensor in tensors.items()},
                **{f"ledger/{name}": array for name, array in self.ledger.state().items()},
            },
            details={"path": "fused", "trained": list(self.trained), "held": held},
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Resume from a snapshot in which all of the cells are live."""
        arrays = rows_of(snapshot, self.cells)
        self.step, self.trained = snapshot.step, tuple(snapshot.details["trained"])
        self.stack = self.stack.with_weights(
            self._tensors("parameters", arrays), self._tensors("buffers", arrays)
        )
        self.rule = self._new_rule()
        self.rule.restore(self._tensors("rule", arrays), self.step)
        window = self._tensors("window", arrays)
        steps = [window[name].unbind(1) for name in ("losses", "lrs", "checksums") if window]
        self._rows = list(zip(*steps, strict=True))
        self.ledger.restore(under("ledger", arrays))
        put_back(self.stack.module, snapshot.details.get("held", {}))

    def _tensors(self, prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        found = under(prefix, arrays)
        return {name: to_tensor(array, self.job.device) for name, array in found.items()}

    def update(self) -> Tensor:
        """Update every cell once, and return the minibatch losses before it, `(n_live,)`."""
        self.step += 1
        if self.job.has_own_code or not self.stack.is_fixed:
            self.job.seed_step(self.cells[0].seed, self.step)
        losses, gradients = backward_cells(self.stack, self.batches.at(self.step), self.job.loss)
        if self.rule is None:
            self.trained = tuple(gradients)
            self.rule = self._new_rule()
        if tuple(gradients) != self.trained:
            raise RuntimeError("the parameters that get a gradient must not differ by step")
        self.rule.step(list(gradients.values()))
        self._rows.append((losses, self.rule.lr, self.rule.checksums()))
        if self.scheduled:
            self.rule.lr = torch.where(
                self.schedules, self.rule.lr * inv_sqrt_factor(self.step), self.rule.lr
            )
        return losses

    def look(self) -> None:
        """Read back the steps since the last look; trace, evaluate and drop cells.

        Raises:
            RuntimeError: the model has put other parameters in place of its own, which no cell has.
        """
        if any(map(operator.is_not, self._parts, self.stack.module.parameters())):
            raise RuntimeError("a model that replaces its parameters trains by itself")
        if any(tensor.requires_grad for tensor in self.stack.frozen.values()):
            raise RuntimeError("a model that thaws its parameters trains by itself")
        losses, lrs, sums = (torch.stack(x).cpu().numpy() for x in zip(*self._rows, strict=True))
        first = self.step - len(losses) + 1
        window = Window(first, losses.astype(float), lrs, np.isfinite(sums))
        self._rows.clear()
        self.ledger.add(window)
        latest = window.losses[-1][self._drop(self.ledger.diverged())]
        ends = np.full(len(latest), self.step == self.cells[0].steps)
        ends |= self.ledger.all_reached() & self.may_stop
        evaluated = ends | (self.step in self.evaluated)
        self._evaluate(np.flatnonzero(evaluated), latest, ends)
        if self.step in self.traced:
            self.ledger.point(self.step, np.flatnonzero(~evaluated), latest)
        self._drop(self.ledger.diverged() | ends)

    def _evaluate(self, rows: np.ndarray, losses: np.ndarray, ends: np.ndarray) -> None:
        if not rows.size:
            return
        whole = len(rows) == len(losses)
        stack = self.stack if whole else self.stack.keep(self._index(rows))
        examples = self.job.examples
        pairs: list[Pair] = list(
            zip(
                evaluate_cells(stack, examples.train, self.job.loss),
                evaluate_cells(stack, examples.valid, self.job.loss),
                strict=True,
            )
        )
        self.ledger.evaluated_point(self.step, rows, losses, pairs, ends)

    def _drop(self, gone: np.ndarray) -> np.ndarray:
        """Drop cells from the stack, and return the rows that stay."""
        kept = self.ledger.drop(gone)
        if gone.any() and kept.size and self.rule is not None:
            index = self._index(kept)
            self.stack = self.stack.keep(index)
            self.schedules = self.schedules[index]
            self.rule.keep(index, [self.stack.parameters[name] for name in self.trained])
        return kept

    def _new_rule(self) -> UpdateRule:
        study, cells = self.job.study, self.cells
        arms = [study.arm(cell.arm) for cell in cells]
        settings = [
            settings_of(arm, study.task, cell.factors)
            for arm, cell in zip(arms, cells, strict=True)
        ]
        rule = rule_of(arms[0], study.task, cells[0].factors)
        parameters = [self.stack.parameters[name] for name in self.trained]
        clips = [clip_grad_norm(arm, cell.factors) for arm, cell in zip(arms, cells, strict=True)]
        return rule(settings, clips, parameters)

    def _index(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(rows).to(self.job.device)
