"""Other people's models, data and optimizers, named by studies as "strange:…"."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from hdsens.study import Study
from hdsens.study.cells import Cell, expand
from hdsens.tasks import Data
from hdsens.training.check import examples_to_train


def declare(
    model: str = "mlp",
    data: str = "blobs",
    optimizer: str = "SGD",
    *,
    task: dict[str, Any] | None = None,
    **arm: Any,
) -> Study:
    """A study of one arm over what this module has."""
    named = {"model": _path(model), "data": _path(data), "steps": 6, "batch_size": 32}
    arm = {"name": "a", "optimizer": optimizer, "lr": [0.0, 0.1], **arm}
    whole = {"name": "s", "seeds": 1, "task": named | (task or {}), "arms": [arm]}
    return Study.from_dict({**whole, "trace": {"points": 4, "evaluate": [0.5, 1.0]}})


def cells_of(study: Study) -> tuple[Cell, ...]:
    return expand(study, examples_to_train(study.task))


def _path(name: str) -> str:
    return name if name in ("logreg", "digits") or ":" in name else f"strange:{name}"


def blobs(n_train: int = 96, n_test: int = 16) -> Data:
    """Examples of 12 numbers, 4 classes."""
    random = np.random.default_rng(1)
    x = random.normal(size=(n_train + n_test, 12)).astype(np.float32)
    y = (x @ random.normal(size=(12, 4))).argmax(1).astype(np.int64)
    return Data(x[:n_train], y[:n_train], x[n_train:], y[n_train:], n_classes=4)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 4))


class Spectral(nn.Module):
    """Weights and a buffer in the frequency domain are complex numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(7, dtype=torch.complex64))
        self.register_buffer("phase", torch.full((7,), 1j))
        self.last = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.fft.irfft(torch.fft.rfft(x) * self.w * self.phase, n=12))


class Every(torch.optim.SGD):
    """Keeps `k` slots: a whole number."""

    def __init__(self, params, lr=0.1, k=2, sizes=(1, 2), weight_decay=0.0):
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        self.slots = [[None] * k, *([None] * size for size in sizes)]


class OtherName(torch.optim.Optimizer):
    """Keeps its learning rate under another name than `lr`."""

    def __init__(self, params, lr=0.1, weight_decay=0.0):
        super().__init__(params, {"eta": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            p.sub_(p.grad, alpha=self.param_groups[0]["eta"])


class RatePerNumber(torch.optim.SGD):
    """Makes its learning rate a vector at its first step."""

    def step(self, closure=None):
        self.param_groups[0]["lr"] = torch.ones(2)


class TakesAll(torch.optim.SGD):
    """Takes any further argument, and uses none."""

    def __init__(self, params, lr=0.1, weight_decay=0.0, **more):
        super().__init__(params, lr=lr, weight_decay=weight_decay)
