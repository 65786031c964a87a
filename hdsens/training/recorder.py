"""What a cell remembers while it trains, and the record that it ends with, on both paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hdsens.records import CellRecord, TracePoint
from hdsens.study.cells import Cell
from hdsens.training.job import Evaluation
from hdsens.training.resuming.snapshots import trace_from_json, trace_to_json

_NUMBERS = ("lr_final", "lr_max", "lr_min", "best_valid_loss")


@dataclass
class Recorder:
    """Collects a cell's first passages, lr range, trace and evaluations, step by step."""

    targets: Mapping[str, float]
    steps_per_epoch: int
    steps_to: dict[str, int] = field(default_factory=dict)
    lr_final: float | None = None
    lr_max: float | None = None
    lr_min: float | None = None
    best_valid_loss: float | None = None
    trace: list[TracePoint] = field(default_factory=list)

    def loss(self, step: int, batch_loss: float) -> None:
        """Record the targets that this minibatch's loss reaches for the first time."""
        for name, target in self.targets.items():
            if batch_loss <= target:
                self.steps_to.setdefault(name, step)

    def lr(self, lr: float) -> None:
        """Record the lr that an update used."""
        self.lr_final = lr
        self.lr_max = lr if self.lr_max is None else max(lr, self.lr_max)
        self.lr_min = lr if self.lr_min is None else min(lr, self.lr_min)

    def point(
        self, step: int, batch_loss: float, train: Evaluation | None, valid: Evaluation | None
    ) -> None:
        """Add a point to the trace, evaluated or not."""
        if valid is not None:
            best = self.best_valid_loss
            self.best_valid_loss = valid.loss if best is None else min(best, valid.loss)
        self.trace.append(
            TracePoint(
                step=step,
                epoch=step / self.steps_per_epoch,
                lr=self.lr_final if self.lr_final is not None else float("nan"),
                batch_loss=batch_loss,
                train_loss=train.loss if train else None,
                valid_loss=valid.loss if valid else None,
                valid_accuracy=valid.accuracy if valid else None,
            )
        )

    def record(
        self, cell: Cell, last_step: int, initial_loss: float, *, diverged: bool
    ) -> CellRecord:
        """The record of a cell that has ended: here its columns get their values.

        Args:
            cell: that ended.
            last_step: the last one that it made; the diverging one is included.
            initial_loss: full training loss before step 1, in nats.
            diverged: whether it diverged, so that its last evaluation is not its end.
        """
        end = None if diverged else self.trace[-1]
        return CellRecord(
            cell=cell,
            outcome="diverged" if diverged else "completed",
            diverged_step=last_step if diverged else None,
            steps_run=last_step,
            initial_loss=initial_loss,
            train_loss=end.train_loss if end else None,
            valid_loss=end.valid_loss if end else None,
            valid_accuracy=end.valid_accuracy if end else None,
            best_valid_loss=self.best_valid_loss,
            lr_final=self.lr_final,
            lr_max=self.lr_max,
            lr_min=self.lr_min,
            steps_to=self.steps_to,
            more={},
            trace=tuple(self.trace),
        )

    def to_json(self) -> dict[str, Any]:
        """Return what was recorded as JSON values."""
        kept = {name: getattr(self, name) for name in _NUMBERS}
        return {**kept, "steps_to": dict(self.steps_to), "trace": trace_to_json(self.trace)}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Restore what `to_json` returned."""
        for name in _NUMBERS:
            setattr(self, name, kept[name])
        self.steps_to = dict(kept["steps_to"])
        self.trace = trace_from_json(kept["trace"])

    @property
    def all_reached(self) -> bool:
        """Whether every target has been reached."""
        return len(self.steps_to) == len(self.targets)
