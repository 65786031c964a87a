"""The oracle of `benchmarks.strangers`: a loop as anybody writes it, with our seeds alone."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

import hdsens.optim
from benchmarks import strangers_own as own
from hdsens.study import Study
from hdsens.study.cells import Cell, arm_arguments
from hdsens.tasks.data import split_indices
from hdsens.training.environment import training_environment
from hdsens.training.randomness import Purpose, epoch_order, seed_all, seed_for

_CPU = torch.device("cpu")
_BATCH = 128  # of evaluations


class MustRefuseError(Exception):
    """No way of training this is right."""


class Oracle:
    """A cell trained by a loop as anybody writes it, with nothing of the toolkit's training."""

    def __init__(self, study: Study, cell: Cell) -> None:
        self.task, self.cell, self.arm = study.task, cell, study.arm(cell.arm)
        self.dtype = getattr(torch, study.task.dtype)
        self._load()
        self.model = self._model()
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        arguments = arm_arguments(self.arm, study.task, cell.factors)
        self.optimizer = _class(self.arm.optimizer)(self.parameters, **arguments)
        self._mode("train")

    def _load(self) -> None:
        random_state = torch.random.get_rng_state()
        data = own.data(**self.task.data_settings)
        torch.random.set_rng_state(random_state)
        self.augment = data.augment
        splits = [(data.train_inputs, data.train_targets), (data.test_inputs, data.test_targets)]
        if self.task.validation != "test":
            kept = split_indices(len(data.train_targets), self.task.validation)
            splits = [(data.train_inputs[rows], data.train_targets[rows]) for rows in kept]
        self.train, self.valid = [
            (torch.tensor(x, dtype=self.dtype), torch.tensor(y)) for x, y in splits
        ]
        if not all(x.isfinite().all() for x, _ in (self.train, self.valid)):
            raise MustRefuseError("data that are not finite")

    def _model(self) -> nn.Module:
        seed_all(seed_for(self.cell.seed, 0, Purpose.WEIGHTS), _CPU)
        model = own.model(**self.task.model_settings)
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_complex():
                tensor.data = tensor.data.to(self.dtype.to_complex())
            elif tensor.is_floating_point():
                tensor.data = tensor.data.to(self.dtype)
        return model

    def _mode(self, name: str) -> None:
        if hasattr(self.optimizer, "eval"):
            getattr(self.optimizer, name)()

    def outcome(self) -> dict[str, Any]:
        """Fields of the record that any way of training must give."""
        initial = self._evaluate(self._model(), self.train)[0]
        lrs: list[float] = []
        middle = math.ceil(0.5 * self.cell.steps)
        for step in range(1, self.cell.steps + 1):
            if not self._update(step, lrs):
                return {"outcome": "diverged", "diverged_step": step, "initial_loss": initial}
            if step in (middle, self.cell.steps):
                self._mode("eval")
                (train, _), (valid, right) = (
                    self._evaluate(self.model, split) for split in (self.train, self.valid)
                )
                self._mode("train")
                if not (math.isfinite(train) and math.isfinite(valid)):
                    return {"outcome": "diverged", "diverged_step": step, "initial_loss": initial}
        return {
            "outcome": "completed", "diverged_step": None, "initial_loss": initial,
            "train_loss": train, "valid_loss": valid, "valid_accuracy": right,
            "lr_final": lrs[-1], "lr_max": max(lrs),
        }  # fmt: skip

    def _update(self, step: int, lrs: list[float]) -> bool:
        seed_all(seed_for(self.cell.seed, step, Purpose.FORWARD), _CPU)
        inputs, targets = self._batch(step)
        self.model.train()
        self.optimizer.zero_grad()
        loss = functional.cross_entropy(self.model(inputs), targets)
        loss.backward()
        self._check_untrained()
        if self.arm.clip_grad_norm and loss.isfinite():
            nn.utils.clip_grad_norm_(self.parameters, self.arm.clip_grad_norm)
        gradients = [p.grad.to_dense() for p in self.parameters if p.grad is not None]
        if not all(x.isfinite().all() for x in (loss, *gradients)):
            return False
        try:
            self.optimizer.step()
        except RuntimeError as error:
            if "overflow" in str(error):
                return False
            raise
        if not all(p.isfinite().all() for p in self.parameters):
            return False
        lrs.append(float(self.optimizer.param_groups[0]["lr"]))
        if self.arm.schedule == "inv_sqrt":
            self.optimizer.param_groups[0]["lr"] *= math.sqrt(step / (step + 1))
        return math.isfinite(lrs[-1])

    def _batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        n, size = len(self.train[1]), self.cell.batch_size
        epoch, index = divmod(step - 1, math.ceil(n / size))
        rows = epoch_order(self.cell.seed, epoch, n)[index * size : (index + 1) * size]
        inputs, targets = (x[torch.from_numpy(rows)] for x in self.train)
        if self.augment is not None:
            generator = torch.Generator()
            generator.manual_seed(seed_for(self.cell.seed, step, Purpose.AUGMENT))
            inputs = self.augment(inputs, generator)
        return inputs, targets

    def _check_untrained(self) -> None:
        known = {id(p) for p in self.parameters}
        lost = [p for p in self.model.parameters() if p.requires_grad and id(p) not in known]
        lost += [p for m in getattr(self.model, "rest", ()) for p in m.parameters()]
        if lost:
            raise MustRefuseError("parameters that nothing trains")

    @torch.no_grad()
    def _evaluate(self, model: nn.Module, split: tuple[torch.Tensor, torch.Tensor]) -> Any:
        model.eval()
        loss, right = 0.0, 0
        for x, y in zip(split[0].split(_BATCH), split[1].split(_BATCH), strict=True):
            logits = model(x.clone())
            loss += functional.cross_entropy(logits, y, reduction="none").double().sum().item()
            right += int((logits.argmax(1) == y).sum())
        return loss / len(split[1]), right / len(split[1])


def _class(path: str) -> Any:
    if ":" in path:
        return getattr(own, path.partition(":")[2])
    return getattr(hdsens.optim, path, None) or getattr(torch.optim, path)


def expected(study: Study, cell: Cell) -> dict[str, Any]:
    """Fields of the record that every way of training must give."""
    with training_environment(getattr(torch, study.task.dtype), 1):
        try:
            return Oracle(study, cell).outcome()
        except MustRefuseError as error:
            return {"outcome": "failed", "must": str(error)}
        except (Exception, SystemExit) as error:
            wild = isinstance(error, torch.linalg.LinAlgError)
            return {"outcome": "diverged" if wild else "failed"}
