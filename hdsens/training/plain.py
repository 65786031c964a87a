"""The plain loop: one cell after the other, exact and readable. It is the oracle."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from hdsens.errors import USER_ERRORS
from hdsens.records import CellRecord, Snapshot, failure
from hdsens.study.cells import Cell, clip_grad_norm
from hdsens.training.examples import Batches, Split
from hdsens.training.job import (
    Evaluation,
    Job,
    all_finite,
    evaluate,
    evaluation_steps,
    trace_steps,
)
from hdsens.training.optimizers import build_optimizer, build_schedule, set_mode
from hdsens.training.overflow import has_overflowed
from hdsens.training.recorder import Recorder
from hdsens.training.resuming.held_state import changes_in, held_state, put_back
from hdsens.training.resuming.optimizer_state import load_optimizer, save_optimizer
from hdsens.training.resuming.snapshots import (
    NotSerialisableError,
    note_unusable,
    rows_of,
    to_array,
    to_tensor,
    under,
)


def train_cells(job: Job, cells: Sequence[Cell]) -> Iterator[CellRecord]:
    """Train cells one by one; one that raises is `failed`, and the others go on."""
    for cell in cells:
        try:
            run = start_plain(job, cell)
            while not run.is_over:
                run.advance()
            yield from run.ended()
        except USER_ERRORS as error:  # whatever a user's model or optimizer raises is their result
            yield failure(cell, error)


def start_plain(job: Job, cell: Cell, snapshot: Snapshot | None = None) -> PlainRun:
    """Begin a cell, or resume it from a snapshot, and measure its initial loss."""
    run = _restored(job, cell, snapshot) if snapshot is not None else None
    run = run or PlainRun(job, cell, job.fresh_model(cell.seed))
    job.initial_loss(cell.seed)
    return run


def _restored(job: Job, cell: Cell, snapshot: Snapshot) -> PlainRun | None:
    try:
        run = PlainRun(job, cell, job.fresh_model(cell.seed))
        run.restore(snapshot)
    except USER_ERRORS as error:  # it may be damaged, or the model's code another
        note_unusable(error)
        return None
    return run


@dataclass(frozen=True)
class _End:
    """The step at which a cell ended; the trace's last point has its evaluation."""

    step: int
    diverged: bool


class PlainRun:
    """One cell in training."""

    def __init__(self, job: Job, cell: Cell, model: nn.Module) -> None:
        study, self.job, self.cell, self.model = job.study, job, cell, model
        arm = study.arm(cell.arm)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = build_optimizer(self.parameters, arm, study.task, cell.factors)
        self.schedule = build_schedule(self.optimizer, arm.schedule)
        self.clip = clip_grad_norm(arm, cell.factors)
        self.largest = torch.finfo(self.parameters[0].dtype).max
        self.batches = Batches(job.examples, cell.seed, cell.batch_size)
        self.recorder = Recorder(job.target_losses, self.batches.per_epoch)
        self.evaluated = evaluation_steps(study.trace.evaluate, cell.steps)
        self.traced = trace_steps(study.trace.points, cell.steps) | self.evaluated
        self.taken = 0
        self._end: _End | None = None
        self._held_at_first = held_state(model) if job.has_own_code else None
        self._trained_at_first = self._kinds_of_weights()
        set_mode(self.optimizer, "train")

    @property
    def is_over(self) -> bool:
        """Whether the budget is spent, all targets are reached (if asked), or it has diverged."""
        return self._end is not None

    def advance(self) -> None:
        """Make one step: measure the minibatch loss, update, trace and evaluate.

        Diverged = a non-finite minibatch loss, gradient, lr or parameter, a non-finite
        evaluation, or an error that such numbers have raised.
        """
        step = self.taken + 1
        try:
            self._end = self._step(step)
        except USER_ERRORS as error:
            if not self._has_overflowed(error, step):
                raise
            self._end = _End(step, diverged=True)
        self.taken = step

    def _step(self, step: int) -> _End | None:
        loss = self.update(step)
        if loss is None:
            return _End(step, diverged=True)
        stops = self.job.study.stop.when == "targets" and self.recorder.all_reached
        last = stops or step == self.cell.steps
        if last or step in self.traced:
            is_sound = self.record(step, loss, evaluated=last or step in self.evaluated)
            if last or not is_sound:
                return _End(step, diverged=not is_sound)
        return None

    def _has_overflowed(self, error: BaseException, step: int) -> bool:
        """Whether the error is divergence; it makes the step again, on weights that are lost."""

        def again() -> None:
            self.update(step)
            if step in self.evaluated or step == self.cell.steps:
                self.evaluate()

        def untrained() -> None:
            run = PlainRun(self.job, self.cell, self.job.fresh_model(self.cell.seed))
            for group in run.optimizer.param_groups:
                group["lr"] = 0.0
            run.evaluate()
            run.update(1)

        return has_overflowed(error, again, untrained, is_first=step == 1)

    def ended(self) -> list[CellRecord]:
        """Return the record of the cell once it is over; empty before."""
        if self._end is None:
            return []
        end, initial_loss = self._end, self.job.initial_loss(self.cell.seed)
        return [self.recorder.record(self.cell, end.step, initial_loss, diverged=end.diverged)]

    def snapshot(self) -> Snapshot:
        """Take a snapshot from which the cell can go on.

        Raises:
            NotSerialisableError: the optimizer's state has more than tensors and JSON values, or
                the model holds something besides tensors and plain data.
        """
        held = changes_in(self.model, self._held_at_first)
        if self._kinds_of_weights() != self._trained_at_first:
            raise NotSerialisableError("the model adds, freezes or thaws parameters or buffers")
        set_mode(self.optimizer, "eval")  # as its users do before they save
        arrays, optimizer = save_optimizer(self.optimizer)
        weights = {f"model/{name}": to_array(w)[None] for name, w in self._weights().items()}
        set_mode(self.optimizer, "train")
        return Snapshot(
            step=self.taken,
            cell_ids=(self.cell.cell_id,),
            arrays={**arrays, **weights},
            details={
                "path": "plain",
                "optimizer": optimizer,
                "held": held,
                "recorder": self.recorder.to_json(),
            },
        )

    @torch.no_grad()
    def restore(self, snapshot: Snapshot) -> None:
        """Resume from a snapshot of the cell."""
        arrays = rows_of(snapshot, [self.cell])
        # Before the weights, with which something that is put back may share memory.
        put_back(self.model, snapshot.details.get("held", {}))
        kept = under("model", arrays)
        for name, weight in self._weights().items():
            weight.copy_(to_tensor(kept[name][0], self.job.device))
        load_optimizer(self.optimizer, arrays, snapshot.details["optimizer"])
        set_mode(self.optimizer, "train")
        if self.schedule is not None:
            self.schedule.last_epoch = snapshot.step
        self.recorder.restore(snapshot.details["recorder"])
        self.taken = snapshot.step

    def _weights(self) -> dict[str, Tensor]:
        """Return all parameters and buffers by name, frozen and non-persistent ones too."""
        return {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}

    def _kinds_of_weights(self) -> dict[str, bool]:
        """Return whether each parameter and buffer is trained."""
        return {name: weight.requires_grad for name, weight in self._weights().items()}

    def update(self, step: int) -> float | None:
        """Make one update, and return the minibatch's loss; None where anything is non-finite."""
        self.job.seed_step(self.cell.seed, step)
        loss = self.backward(self.batches.at(step))
        self.recorder.loss(step, loss)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if not (math.isfinite(loss) and all_finite(gradients)):
            return None
        if self.clip > 0:
            clip_grad_norm_(self.parameters, self.clip)
        try:
            self.optimizer.step()
        except RuntimeError as error:  # torch refuses an lr or step size too large for the dtype
            if self._lr_is_finite() and "without overflow" not in str(error):
                raise
            return None
        if not (self._lr_is_finite() and all_finite([p.detach() for p in self.parameters])):
            return None
        lr = float(self.optimizer.param_groups[0]["lr"])
        self.recorder.lr(lr)
        if self.schedule is not None:
            self.schedule.step()
        return loss

    def _lr_is_finite(self) -> bool:
        return abs(float(self.optimizer.param_groups[0]["lr"])) <= self.largest

    def backward(self, batch: Split) -> float:
        """Put the gradients of the minibatch's mean loss in `p.grad`, and return the loss."""
        self.model.train()
        self.optimizer.zero_grad()
        loss = self.job.loss.mean(self.model(batch.inputs), batch.targets)
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        return loss.item()

    def record(self, step: int, batch_loss: float, *, evaluated: bool) -> bool:
        """Add a trace point, with an evaluation where asked; False where that is not finite."""
        self._check_parameters()
        train, valid = self.evaluate() if evaluated else (None, None)
        if train and valid and not (math.isfinite(train.loss) and math.isfinite(valid.loss)):
            return False
        self.recorder.point(step, batch_loss, train, valid)
        return True

    def evaluate(self) -> tuple[Evaluation, Evaluation]:
        """Evaluate the model on both splits, in the mode that its optimizer has for evaluation."""
        set_mode(self.optimizer, "eval")
        splits = self.job.examples.train, self.job.examples.valid
        train, valid = (evaluate(self.model, split, self.job.loss) for split in splits)
        set_mode(self.optimizer, "train")
        return train, valid

    def _check_parameters(self) -> None:
        """Refuse parameters that were added or thawed after the optimizer was made."""
        known = {id(parameter) for parameter in self.parameters}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad and id(parameter) not in known:
                raise RuntimeError(
                    f"parameter {name!r} came, or was thawed, after the optimizer was made, which "
                    "does not train it: make all in __init__, and freeze none of them at first"
                )
