"""Ray Tune with a trial per cell, as its documentation advises for many short trials.

Actors are reused, so that neither a process nor the data is made anew; data go through
``with_parameters``; loggers, checkpoints and synchronisation are off; a trial reports once.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "600")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

import ray
import torch
from ray import tune
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from hdsens.study import Study
from hdsens.study.cells import Cell
from hdsens.training.environment import training_environment
from hdsens.training.examples import Split, load_examples
from hdsens.training.job import EVALUATION_BATCH, Job
from hdsens.training.optimizers import build_optimizer
from hdsens.training.plain import train_cells

_WARM_UP = 3  # trials that pay for the actor, its imports and its data


class CellTrial(tune.Trainable):
    """One trial trains one cell by a plain torch loop over tensors in memory."""

    def setup(  # type: ignore[override]
        self, config: dict[str, Any], study: Study, cells: Sequence[Cell], device: str
    ) -> None:
        where = torch.device(device)
        self.job = Job(study, load_examples(study.task, where), where)
        self.cells = cells
        self.number = config["cell"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.number = new_config["cell"]
        return True

    def step(self) -> dict[str, Any]:
        with training_environment(torch.float32, 1):
            (record,) = train_cells(self.job, [self.cells[self.number]])
        return {"train_loss": record.train_loss, "done": True}


class LoaderTrial(CellTrial):
    """The same, its examples through a `DataLoader`, as in the guides of torch and Ray."""

    def step(self) -> dict[str, Any]:
        with training_environment(torch.float32, 1):
            cell, study, examples = self.cells[self.number], self.job.study, self.job.examples
            model = self.job.fresh_model(cell.seed)
            weights = list(model.parameters())
            optimizer = build_optimizer(weights, study.arm(cell.arm), study.task, cell.factors)
            model.train()
            for _, (inputs, targets) in zip(
                range(cell.steps),
                _loader(examples.train, cell.batch_size, shuffle=True),
                strict=False,
            ):
                optimizer.zero_grad()
                functional.cross_entropy(model(inputs), targets).backward()
                optimizer.step()
            losses = [_loss(model, split) for split in (examples.train, examples.valid)]
        return {"train_loss": losses[0], "done": True}


def _loader(
    split: Split, batch_size: int, *, shuffle: bool
) -> DataLoader[tuple[torch.Tensor, ...]]:
    return DataLoader(TensorDataset(split.inputs, split.targets), batch_size, shuffle=shuffle)


@torch.no_grad()
def _loss(model: nn.Module, split: Split) -> float:
    model.eval()
    total = 0.0
    for inputs, targets in _loader(split, EVALUATION_BATCH, shuffle=False):
        total += functional.cross_entropy(model(inputs), targets, reduction="sum").item()
    return total / len(split.targets)


class _Clock(tune.Callback):
    def __init__(self) -> None:
        self.ends: list[float] = []

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_complete(self, *args: Any, **info: Any) -> None:
        self.ends.append(time.perf_counter())


def seconds_per_cell(
    study: Study, cells: Sequence[Cell], device: torch.device, trial: type[CellTrial] = CellTrial
) -> float:
    """Median time between two trials' ends on one CPU, the first ones left out."""
    if not ray.is_initialized():
        ray.init("local", num_cpus=1, log_to_driver=False, logging_level="ERROR")
    clock = _Clock()
    trainable = tune.with_parameters(trial, study=study, cells=cells, device=str(device))
    gpus = 1.0 if device.type == "cuda" else 0.0
    with tempfile.TemporaryDirectory() as scratch:
        tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1, "gpu": gpus}),
            param_space={"cell": tune.grid_search(list(range(len(cells))))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(
                storage_path=scratch,
                callbacks=[clock],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()
    gaps = [b - a for a, b in zip(clock.ends, clock.ends[1:], strict=False)]
    return statistics.median(gaps[_WARM_UP - 1 :])
