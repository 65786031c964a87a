"""What all cells of a pack have in common while they train."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from hdsens.study import Study
from hdsens.tasks.importing import is_import_path
from hdsens.tasks.losses import Loss, build_loss
from hdsens.tasks.models import build_model
from hdsens.training.examples import Examples, Split
from hdsens.training.randomness import Purpose, seed_all, seed_for, seed_torch

EVALUATION_BATCH = 128
"""Examples at once: the same on both paths, for models with batch statistics or noise in eval.

With 512 a small CNN's activations are blocks that glibc returns to the system whenever they are
free: with one evaluation an epoch a cell then takes 1.7 times as long (docs/speed.md).
"""


@dataclass(frozen=True)
class Job:
    """A study with its examples on a device; one seed's cells share model and initial loss."""

    study: Study
    examples: Examples
    device: torch.device
    _initial_losses: dict[int, float] = field(default_factory=dict, init=False, repr=False)
    _initial_valid_losses: dict[int, float] = field(default_factory=dict, init=False, repr=False)

    def fresh_model(self, seed: int) -> nn.Module:
        """Build the model with the seed's initial weights, on the CPU so that devices agree."""
        seed_all(seed_for(seed, 0, Purpose.WEIGHTS), self.device)
        task = self.study.task
        model = build_model(
            task.model, task.model_settings, self.examples.input_shape, self.examples.n_outputs
        )
        return _cast(model, getattr(torch, task.dtype)).to(self.device)

    def seed_step(self, seed: int, step: int) -> None:
        """Seed all generators that a step may draw from, by (seed, step).

        Only a person's own code draws from NumPy's and Python's generators, whose seeding takes 1%
        of a small step.
        """
        number = seed_for(seed, step, Purpose.FORWARD)
        (seed_all if self.has_own_code else seed_torch)(number, self.device)

    @cached_property
    def has_own_code(self) -> bool:
        """Whether any of a person's own code trains, which may draw from anything."""
        return any(map(is_import_path, self.code_names))

    @property
    def code_names(self) -> tuple[str, ...]:
        """Names of model, data, loss and optimizers, in which a person's own code may hide."""
        task, arms = self.study.task, self.study.arms
        return (task.model, task.data, task.loss, *(arm.optimizer for arm in arms))

    @cached_property
    def loss(self) -> Loss:
        """What the study's cells minimise."""
        task = self.study.task
        return build_loss(task.loss, task.loss_settings, getattr(torch, task.dtype), self.device)

    def initial_loss(self, seed: int) -> float:
        """Return the full training loss of the seed's fresh model, computed once for all cells."""
        if seed not in self._initial_losses:
            model = self.fresh_model(seed)
            self._initial_losses[seed] = evaluate(model, self.examples.train, self.loss).loss
        return self._initial_losses[seed]

    def initial_valid_loss(self, seed: int) -> float:
        """Return the validation loss of the seed's fresh model, computed once for all cells."""
        if seed not in self._initial_valid_losses:
            model = self.fresh_model(seed)
            self._initial_valid_losses[seed] = evaluate(model, self.examples.valid, self.loss).loss
        return self._initial_valid_losses[seed]

    @property
    def target_losses(self) -> dict[str, float]:
        """Minibatch loss at or below which each target counts as reached."""
        return {name: target.batch_loss for name, target in self.study.targets.items()}


def _cast(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Cast a model to the dtype; complex tensors stay complex, which `Module.to` would cut."""
    model = model.double() if dtype == torch.float64 else model.float()
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_complex():
            tensor.data = tensor.data.to(dtype.to_complex())
    return model


@dataclass(frozen=True)
class Evaluation:
    """Mean loss over a whole split, in eval mode, and share of right answers (None: no classes)."""

    loss: float
    accuracy: float | None


@torch.no_grad()
def evaluate(model: nn.Module, split: Split, loss: Loss) -> Evaluation:
    """Evaluate a model on a split; sums are taken in float64."""
    model.eval()
    total = torch.zeros((), dtype=torch.float64, device=split.targets.device)
    right = torch.zeros((), dtype=torch.int64, device=split.targets.device)
    for start in range(0, len(split.targets), EVALUATION_BATCH):
        rows = slice(start, start + EVALUATION_BATCH)
        inputs, targets = split.inputs[rows].clone(), split.targets[rows]  # a model may write
        outputs = model(inputs)
        total += loss.total(outputs, targets)
        if split.has_classes:
            right += (outputs.argmax(dim=1) == targets).sum()
    accuracy = right.item() / len(split.targets) if split.has_classes else None
    return Evaluation(total.item() / loss.weight(split.targets), accuracy)


def trace_steps(points: int, steps: int) -> frozenset[int]:
    """Return at most `points` steps, even in log(step), from the first to the last."""
    return frozenset(np.geomspace(1, steps, points).round().astype(int).tolist())


def evaluation_steps(shares: Sequence[float], steps: int) -> frozenset[int]:
    """Return the steps of an evaluation: the shares of the budget, rounded up, and its end."""
    return frozenset(max(1, math.ceil(share * steps - 1e-9)) for share in shares) | {steps}


def all_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether every number is finite; the largest magnitude cannot overflow as a sum could."""
    tensors = [t.coalesce().values() if t.is_sparse else t for t in tensors]
    tensors = [tensor for tensor in tensors if tensor.numel()]  # an empty one has no largest
    if not tensors:
        return True
    norm = torch.nn.utils.get_total_norm(tensors, norm_type=float("inf"))
    return bool(torch.isfinite(norm))
