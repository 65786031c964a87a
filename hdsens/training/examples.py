"""A task's data as tensors on the training device, and the minibatch of each step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from hdsens.study import Task
from hdsens.study.cells import canonical_json
from hdsens.tasks.data import Data, forget_data, load_data, split_indices
from hdsens.training.randomness import Purpose, epoch_order, seed_for


@dataclass(frozen=True)
class Split:
    """Inputs `(n, *input_shape)` and targets on the training device.

    Targets are classes, `(n,)` whole numbers, or real numbers, `(n, n_outputs)`.
    """

    inputs: Tensor
    targets: Tensor

    @property
    def has_classes(self) -> bool:
        """Whether the targets are classes."""
        return not self.targets.is_floating_point()


@dataclass(frozen=True)
class Examples:
    """A task's training and validation splits."""

    train: Split
    valid: Split
    input_shape: tuple[int, ...]
    n_outputs: int
    augment: Callable[[Tensor, torch.Generator], Tensor] | None

    @property
    def n_train(self) -> int:
        """Number of training examples after the validation split."""
        return len(self.train.targets)


_cache: dict[str, Examples] = {}


def load_examples(task: Task, device: torch.device) -> Examples:
    """Load the splits of a task. The latest stay loaded: a worker trains many packs of one task."""
    key = canonical_json([task.data, task.data_settings, task.validation, task.dtype, str(device)])
    if key not in _cache:
        _cache.clear()
        _cache[key] = _load(task, device)
    return _cache[key]


def forget_examples() -> None:
    """Forget the loaded splits, so that the next task's data are loaded anew."""
    forget_data()
    _cache.clear()


def _load(task: Task, device: torch.device) -> Examples:
    data = load_data(task.data, task.data_settings)
    train, valid = _splits(data, task)
    return Examples(
        train=_to_device(*train, task, device),
        valid=_to_device(*valid, task, device),
        input_shape=data.input_shape,
        n_outputs=data.n_outputs,
        augment=data.augment,
    )


_Arrays = tuple[np.ndarray, np.ndarray]


def _splits(data: Data, task: Task) -> tuple[_Arrays, _Arrays]:
    if task.validation == "test":
        return (data.train_inputs, data.train_targets), (data.test_inputs, data.test_targets)
    kept, held = split_indices(len(data.train_targets), task.validation)
    return (
        (data.train_inputs[kept], data.train_targets[kept]),
        (data.train_inputs[held], data.train_targets[held]),
    )


def _to_device(inputs: np.ndarray, targets: np.ndarray, task: Task, device: torch.device) -> Split:
    dtype = getattr(torch, task.dtype)
    found = torch.as_tensor(targets)
    if found.is_floating_point():
        found = found.reshape(len(found), -1).to(dtype)
    return Split(torch.as_tensor(inputs).to(device=device, dtype=dtype), found.to(device))


@dataclass(frozen=True)
class Batches:
    """The minibatches of one seed: step 1 is the first, and an epoch's last may be short."""

    examples: Examples
    seed: int
    batch_size: int

    @property
    def per_epoch(self) -> int:
        """The number of steps in an epoch."""
        return math.ceil(self.examples.n_train / self.batch_size)

    def at(self, step: int) -> Split:
        """Return the minibatch of a step, a function of (seed, step) alone."""
        epoch, index = divmod(step - 1, self.per_epoch)
        order = _order(self.seed, epoch, self.examples.n_train, self.examples.train.targets.device)
        rows = order[index * self.batch_size : (index + 1) * self.batch_size]
        inputs = self.examples.train.inputs.index_select(0, rows)
        if self.examples.augment is not None:
            generator = torch.Generator(inputs.device)
            generator.manual_seed(seed_for(self.seed, step, Purpose.AUGMENT))
            inputs = self.examples.augment(inputs, generator)
        return Split(inputs, self.examples.train.targets.index_select(0, rows))


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, n_examples: int, device: torch.device) -> Tensor:
    return torch.from_numpy(epoch_order(seed, epoch, n_examples)).to(device)
