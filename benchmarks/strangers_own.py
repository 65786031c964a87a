"""Models, data and optimizers of the grammar of `benchmarks.strangers`, made of named features."""

from __future__ import annotations

import itertools
import random
import sys
from collections import deque
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from hdsens.tasks import Data

FEATURES, CLASSES = 8, 3
CALLS = 0
BACKBONE = nn.Linear(FEATURES, 6)
GENERATOR = np.random.default_rng(7)


def data(n: int, kind: str = "plain", augment: str = "none") -> Data:
    """`n` training and 11 test examples of 8 numbers."""
    rng = np.random.default_rng(None if kind == "other_each_time" else 1)
    x = rng.normal(size=(n + 11, FEATURES)).astype(np.float32)
    y = (x @ np.random.default_rng(2).normal(size=(FEATURES, CLASSES))).argmax(1)
    if kind in ("nan", "inf"):
        x[-3 if kind == "inf" else 2, 4] = float(kind)
    if kind == "doubles":
        x = x.astype(np.float64)  # type: ignore[assignment]
    found = Data(x[:n], y[:n], x[n:], y[n:], CLASSES)
    own = torch.Generator()

    def shift(inputs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        source = own if augment == "own_generator" else generator
        return inputs + 0.1 * torch.randn(inputs.shape, generator=source).to(inputs.dtype)

    return found if augment == "none" else replace(found, augment=shift)


class Stranger(nn.Module):
    """A small network with one thing of each kind of feature; `none` is nothing."""

    def __init__(self, body: str, memory: str, noise: str, hook: str, mistake: str) -> None:
        super().__init__()
        self.memory, self.noise, self.mistake = memory, noise, mistake
        self.first = BACKBONE if mistake == "backbone" else nn.Linear(FEATURES, 6)
        self.body = BODIES[body]()
        self.last = nn.Linear(6, CLASSES)
        self.passes = 0
        self._remember(memory)
        self._err(mistake)
        if hook == "forward":
            self.first.register_forward_hook(lambda module, inputs, output: output * 1.5)
        if hook == "forward_count":
            self.first.register_forward_hook(_counting())
        if hook == "backward":
            self.first.register_full_backward_hook(lambda module, to, of: (to[0],))
        if hook == "parameter":
            self.last.weight.register_hook(lambda gradient: gradient * 0.5)

    def _remember(self, memory: str) -> None:
        if memory in ("buffer_count", "buffer_replaced"):
            self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        if memory == "buffer_mean":
            self.register_buffer("mean", torch.zeros(6), persistent=False)
        if memory == "frozen_written":
            self.pace = nn.Parameter(torch.ones(()), requires_grad=False)
        made = {
            "history": lambda: deque([1.0], maxlen=4),
            "torch_generator": lambda: torch.Generator().manual_seed(3),
            "numpy_generator": lambda: np.random.default_rng(3),
            "python_generator": lambda: random.Random(3),
            "object": Counter,
            "tensor": lambda: torch.ones(6),
            "iterator": lambda: (1 / i for i in itertools.count(1)),
        }
        if memory in made:
            self.kept = made[memory]()

    def _err(self, mistake: str) -> None:
        if mistake == "other_init":
            nn.init.constant_(self.last.bias, float(GENERATOR.normal()))
        if mistake == "in_list":
            self.rest = [nn.Linear(6, 6)]
        if mistake == "thaws":
            self.first.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += self.training
        x = self.body(torch.tanh(self._blunder(self.first(self._noisy(x)))))
        return self.last(self._recall(x))

    def _noisy(self, x: torch.Tensor) -> torch.Tensor:
        if self.noise == "torch":
            return x + 0.1 * torch.randn_like(x)
        if self.noise == "numpy":
            return x + 0.1 * float(np.random.randn())  # noqa: NPY002 # the case that is tested
        return x + 0.1 * random.random() if self.noise == "python" else x

    def _blunder(self, x: torch.Tensor) -> torch.Tensor:
        global CALLS
        if self.mistake == "global_count":
            CALLS += 1
            x = x / (1 + 0.1 * CALLS)
        if self.mistake == "late" and not hasattr(self, "late"):
            self.late = nn.Linear(6, 6, dtype=x.dtype)
        if self.mistake == "late":
            x = self.late(x)
        if self.mistake == "in_list":
            x = self.rest[0].to(x.dtype)(x)
        if self.mistake == "quits" and self.passes == 3:
            sys.exit(3)
        if self.mistake == "raises" and self.passes == 3:
            raise ValueError("I do not like it")
        if self.mistake == "thaws":
            self.first.requires_grad_(self.passes > 3)
        if self.mistake == "replaces" and self.passes == 4 and self.training:
            self.last = nn.Linear(6, CLASSES, dtype=x.dtype)
        if self.mistake == "decomposes":
            size = self.last.weight.detach().square().max()
            torch.linalg.cholesky(torch.eye(2, dtype=x.dtype) * ((1 + size) / (1 + size)))
        return x

    def _recall(self, x: torch.Tensor) -> torch.Tensor:
        memory, kept = self.memory, getattr(self, "kept", None)
        if memory == "buffer_count":
            self.count.add_(1)
            return x / (1 + 0.1 * self.count)
        if memory == "buffer_replaced":
            self.count = self.count + 1
            return x / (1 + 0.1 * self.count)
        if memory == "buffer_mean" and self.training:
            self.mean.mul_(0.9).add_(0.1 * x.detach().mean(0))
        if memory == "buffer_mean":
            return x - self.mean
        if memory == "frozen_written":
            with torch.no_grad():
                self.pace.mul_(0.95)
            return x * self.pace
        if memory == "python_count":
            return x / (1 + 0.1 * self.passes)
        if memory == "late_attribute":
            self.seen = getattr(self, "seen", 1.0) * 1.05
            return x * self.seen
        if memory == "history":
            kept.append(kept[-1] * 1.1)
            return x * kept[0]
        if memory == "torch_generator":
            return x + 0.1 * torch.randn(6, generator=kept).to(x.dtype)
        if memory == "numpy_generator":
            return x + 0.1 * float(kept.normal())
        if memory == "python_generator":
            return x + 0.1 * kept.random()
        if memory == "object":
            return x / (1 + 0.1 * kept.next())
        if memory == "tensor":
            self.kept = kept.to(x.dtype) * 0.95
            return x * self.kept
        return x * (1 + 0.1 * next(kept)) if memory == "iterator" else x


class Counter:
    """An object of one's own that counts."""

    def __init__(self) -> None:
        self.state = {"calls": 0}

    def next(self) -> int:
        self.state["calls"] += 1
        return self.state["calls"]


def _counting() -> Any:
    calls = 0

    def hook(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return output / (1 + 0.1 * calls)

    return hook


class Embeds(nn.Module):
    def __init__(self, sparse: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 6, sparse=sparse)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.table((x[:, 0].detach().clamp(-1, 1) * 1.9 + 2).long().clamp(0, 3))


class Turns(nn.Module):
    """Multiplies by complex numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, dtype=torch.complex64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft(torch.fft.rfft(x) * self.w, n=6)


class Recurs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.GRU(2, 6, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x.reshape(-1, 3, 2))[0][:, -1]


def _tied() -> nn.Module:
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.Tanh(), layer)


def _frozen() -> nn.Module:
    return nn.Linear(6, 6).requires_grad_(False)


def _convolved() -> nn.Module:
    return nn.Sequential(nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 2, 3, padding=1), nn.ReLU(),
                         nn.Flatten(), nn.Linear(12, 6))  # fmt: skip


BODIES = {
    "none": nn.Identity,
    "linear": lambda: nn.Sequential(nn.Linear(6, 6), nn.GELU()),
    "batch_norm": lambda: nn.BatchNorm1d(6),
    "layer_norm": lambda: nn.LayerNorm(6),
    "dropout": lambda: nn.Dropout(0.2),
    "convolution": _convolved,
    "embedding": lambda: Embeds(sparse=False),
    "sparse_embedding": lambda: Embeds(sparse=True),
    "complex": Turns,
    "recurrent": Recurs,
    "tied": _tied,
    "frozen": _frozen,
    "weight_norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 6)),
}


def model(**features: str) -> nn.Module:
    return Stranger(**features)


class Counts(torch.optim.SGD):
    """Halves its step at every third."""

    def __init__(self, params, lr=0.1, weight_decay=0.0, every=3):
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        self.taken, self.slots = 0, [0] * every

    def step(self, closure=None):
        self.taken += 1
        if self.taken % len(self.slots) == 0:
            for group in self.param_groups:
                group["lr"] *= 0.5
        return super().step(closure)


class Averages(torch.optim.SGD):
    """Is evaluated at the average of its points."""

    def __init__(self, params, lr=0.1, weight_decay=0.0):
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        self.taken, self.averaged = 0, False

    @torch.no_grad()
    def step(self, closure=None):
        super().step()
        self.taken += 1
        for p in self.param_groups[0]["params"]:
            self.state[p].setdefault("average", p.clone()).lerp_(p, 1 / self.taken)

    @torch.no_grad()
    def _swap(self, averaged):
        for p in self.param_groups[0]["params"] if averaged != self.averaged else ():
            if "average" in self.state[p]:
                held = p.clone()
                p.copy_(self.state[p]["average"])
                self.state[p]["average"] = held
        self.averaged = averaged

    def eval(self):
        self._swap(True)

    def train(self):
        self._swap(False)


class Draws(torch.optim.SGD):
    """Adds noise from a generator of its own, which no checkpoint holds."""

    def __init__(self, params, lr=0.1, weight_decay=0.0):
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        self.source = random.Random(5)

    @torch.no_grad()
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            if p.grad is not None:
                p.grad.mul_(1 + 0.1 * self.source.random())
        return super().step()


class Shares(torch.optim.SGD):
    """Has a momentum that all of its class share."""

    moments: ClassVar[dict[int, torch.Tensor]] = {}

    @torch.no_grad()
    def step(self, closure=None):
        for i, p in enumerate(self.param_groups[0]["params"]):
            held = Shares.moments.setdefault(i, torch.zeros_like(p))
            p.sub_(held.mul_(0.9).add_(p.grad), alpha=self.param_groups[0]["lr"])


class OtherName(torch.optim.Optimizer):
    """Keeps its learning rate as `eta`."""

    def __init__(self, params, lr=0.1, weight_decay=0.0):
        super().__init__(params, {"eta": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            p.sub_(p.grad, alpha=self.param_groups[0]["eta"])
