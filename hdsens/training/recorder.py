"""What a cell remembers while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hdsens.records import TracePoint
from hdsens.training.job import Evaluation


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
        """Note the targets that this minibatch's loss reaches for the first time."""
        for name, target in self.targets.items():
            if batch_loss <= target:
                self.steps_to.setdefault(name, step)

    def lr(self, lr: float) -> None:
        """Note the lr that an update used."""
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

    @property
    def all_reached(self) -> bool:
        """Whether every target has been reached."""
        return len(self.steps_to) == len(self.targets)
