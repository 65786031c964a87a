"""Other people's models, data and optimizers, named by studies as "strange:…"."""

from __future__ import annotations

import copy
import itertools
import math
import sys
from dataclasses import replace
from typing import Any, ClassVar

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


def many() -> Data:
    """So many that with validation = 0.1 one example is left for the last evaluation."""
    return blobs(143)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 4))


class Sine(nn.Module):
    """Its outputs are bounded in the first layer's weights, and their gradients are not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, 8), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x).sin())


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


BACKBONE = nn.Linear(12, 8)  # as a pretrained one, loaded once
WEIGHTS = torch.zeros(4, 8)  # likewise
GENERATOR = np.random.default_rng(5)
CALLS = 0


def on_backbone() -> nn.Module:
    return nn.Sequential(BACKBONE, nn.Tanh(), nn.Linear(8, 4))


def on_frozen_backbone_with_batch_norm() -> nn.Module:
    model = on_backbone()
    model[1] = KEPT_NORM.requires_grad_(False)
    model[0] = nn.Linear(12, 8)
    return model


KEPT_NORM = nn.BatchNorm1d(8)


def on_kept_weights() -> nn.Module:
    model = mlp()
    model[2].weight = nn.Parameter(WEIGHTS)
    return model


def draws_from_a_generator_of_its_own() -> nn.Module:
    model = mlp()
    with torch.no_grad():
        model[0].bias.add_(float(GENERATOR.normal()))
    return model


def leaves_some_numbers_as_they_were() -> nn.Module:
    model = mlp()
    model.register_buffer("scale", torch.tensor(float(next(UNSET))))
    return model


UNSET = iter(range(10**6))  # as memory that nobody has written to


class Updates(nn.Module):
    """Copies a module that it goes on to change: an average, for models made later."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(copy.deepcopy(BACKBONE), nn.Tanh(), nn.Linear(8, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            with torch.no_grad():
                BACKBONE.bias.mul_(0.9)
        return self.net(x)


def alike() -> nn.Module:
    """Starts from one and the same point for each seed."""
    model = mlp()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)
    return model


class Late(nn.Module):
    """Makes its last layer when it first sees how many features there are."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, 8), None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.first(x))
        if self.last is None:
            self.last = nn.Linear(x.shape[1], 4)
        return self.last(x)


class InAList(nn.Module):
    """Keeps layers where no module finds them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.rest = nn.Linear(12, 8), [nn.Linear(8, 4, bias=False)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rest[0](torch.tanh(self.first(x)))


class Unregistered(nn.Module):
    """Has a weight that is a tensor and no parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.scale = mlp(), torch.ones(4, requires_grad=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x) * self.scale


class Unfreezes(nn.Module):
    """Thaws a layer after some steps, when the optimizer has its parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.passes = mlp(), 0
        self.net[0].requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += self.training
        self.net[0].requires_grad_(self.passes > 3)
        return self.net(x)


class CountsForAll(nn.Module):
    """Counts its passes in the module that it is written in."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        global CALLS
        CALLS += self.training
        return self.net(x) / (1 + 0.1 * CALLS)


class CountsInItsClass(CountsForAll):
    passes = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        CountsInItsClass.passes += self.training
        return self.net(x)


class Shares(torch.optim.SGD):
    """Keeps a momentum that all optimizers of the class have in common."""

    moments: ClassVar[dict[int, torch.Tensor]] = {}

    @torch.no_grad()
    def step(self, closure=None):
        for i, p in enumerate(self.param_groups[0]["params"]):
            held = Shares.moments.setdefault(i, torch.zeros_like(p))
            p.sub_(held.mul_(0.9).add_(p.grad), alpha=self.param_groups[0]["lr"])


def with_batch_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))


class Squeezes(nn.Module):
    """Drops every axis of length 1, that of the examples too."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.net(x)
        return x if self.training else x[:, :, None].squeeze()


class Words(nn.Module):
    """An embedding with sparse gradients, which torch.optim.SGD takes."""

    def __init__(self, sparse: bool = True) -> None:
        super().__init__()
        self.table, self.last = nn.Embedding(5, 6, sparse=sparse), nn.Linear(72, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.table((x.clamp(-2, 2).round() + 2).long()).flatten(1))


def shaken_by_itself() -> Data:
    """An augmentation with a generator of its own."""
    own = torch.Generator()

    def shake(inputs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return inputs + 0.1 * torch.randn(inputs.shape, generator=own)

    return replace(blobs(), augment=shake)


class NeedsMatrices(torch.optim.SGD):
    """Takes vectors in a test of one number, and no vector of a model."""

    def step(self, closure=None):
        if any(p.ndim == 1 and p.numel() > 1 for p in self.param_groups[0]["params"]):
            raise ValueError("only matrices")
        return super().step(closure)


def other_each_time() -> Data:
    """Noise from a generator that nobody seeds."""
    data = blobs()
    noise = np.random.default_rng().normal(size=data.train_inputs.shape).astype(np.float32)
    return replace(data, train_inputs=data.train_inputs + noise)


def quits(**settings) -> Any:
    sys.exit("no licence")


class QuitsWhenBuilt(torch.optim.SGD):
    def __init__(self, params, lr=0.1, weight_decay=0.0):
        raise SystemExit(4)


class QuitsWhenStepped(torch.optim.SGD):
    def step(self, closure=None):
        raise SystemExit(4)


class Quits(nn.Module):
    """Ends the program at its third training pass, as code with sys.exit() does."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.passes = mlp(), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += self.training
        if self.passes == 3:
            raise SystemExit(3)
        return self.net(x)


class Averaged(torch.optim.SGD):
    """Evaluated at the average of its points, as Schedule-Free: `eval()` and `train()` swap."""

    def __init__(self, params, lr=0.1, weight_decay=0.0):
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        self.taken, self.averaged, self.calls = 0, True, ""

    @torch.no_grad()
    def step(self, closure=None):
        if self.averaged:
            raise RuntimeError("call train() first")
        super().step()
        self.taken += 1
        for p in self.param_groups[0]["params"]:
            self.state[p].setdefault("average", p.clone()).lerp_(p, 1 / self.taken)

    @torch.no_grad()
    def _swap(self):
        for p in self.param_groups[0]["params"] if self.state else ():
            p.data, self.state[p]["average"] = self.state[p]["average"], p.data.clone()

    def eval(self):
        self.calls += "e"
        if not self.averaged:
            self._swap()
        self.averaged = True

    def train(self):
        self.calls += "t"
        if self.averaged:
            self._swap()
        self.averaged = False


class NeedsFinite(nn.Module):
    """Raises, in one of many ways, on numbers that are not finite."""

    def __init__(self, how: str, only_in_eval: bool = False, blank: bool = False) -> None:
        super().__init__()
        self.net, self.how, self.only_in_eval, self.blank = mlp(), how, only_in_eval, blank

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.net(x)
        if self.training and self.only_in_eval:
            return out.clamp(-1, 1).nan_to_num()
        if (
            self.blank and self.net[0].weight.abs().max() > 1
        ):  # any bits may stand in memory that is new; here some that are no number
            blank = torch.empty(2)
            blank.numpy()[:] = math.nan
            blank[:1].copy_(out.detach()[0, :1])
        largest = (out.abs().max() ** 2 * 1e30).detach()
        if self.how == "masked":
            out = out + torch.full((4,), -math.inf).masked_fill(torch.ones(4, dtype=torch.bool), 0)
        if self.how in ("linalg", "masked"):
            torch.linalg.cholesky(torch.eye(2) * (largest / largest))
        elif self.how == "int":
            int(largest)
        elif self.how == "math":
            math.exp(min(float(out.detach().abs().max()), 1000.0))
        elif self.how == "distribution":
            torch.distributions.Normal(largest / largest, 1.0)
        elif self.how == "sample":
            torch.multinomial(torch.stack([largest, largest / largest]), 1)
        elif self.how == "check":
            assert torch.isfinite(largest), "not finite"
        elif self.how == "bug" and self.net[0].weight.abs().max() > 1:
            raise RuntimeError("a mistake of mine")
        return out


class Decomposes(torch.optim.SGD):
    """Decomposes a matrix of its weights' size, which is no number once they are too large."""

    @torch.no_grad()
    def step(self, closure=None):
        super().step()
        for p in self.param_groups[0]["params"]:
            size = p.square().max().square()
            torch.linalg.cholesky(torch.eye(2) * ((1 + size) / (1 + size)))


class ReplacesLate(nn.Module):
    """Puts a new layer in the place of one, at a step that no first look sees."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.passes = mlp(), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += self.training
        if self.passes == 5 and self.training:
            self.net[0] = nn.Linear(12, 8, dtype=x.dtype)
        return self.net(x)


class Keeps(nn.Module):
    """Computes with something that is no parameter and no buffer."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.net, self.what = mlp(), what
        if what == "hooked":
            self.net[1].register_forward_hook(_counting_hook())
        if what == "draws":
            self.generator = torch.Generator().manual_seed(3)
        if what == "iterates":
            self.source = (1 / n for n in itertools.count(1))
        if what == "kept_frozen":
            self.pace = nn.Parameter(torch.ones(()), requires_grad=False)
        if what == "complex":
            self.turn = nn.Parameter(torch.ones(8, dtype=torch.complex64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.what == "counts" and self.training:
            self.passes = getattr(self, "passes", 0) + 1
        if self.what == "counts":
            return self.net(x) / (1 + 0.1 * getattr(self, "passes", 0))
        if self.what == "draws":
            return self.net(x + 0.1 * torch.randn(12, generator=self.generator))
        if self.what == "iterates":
            return self.net(x) * next(self.source)
        if self.what == "kept_frozen":
            with torch.no_grad():
                self.pace.mul_(0.99)
            return self.net(x) * self.pace
        if self.what == "complex":
            return self.net[2](torch.tanh((self.net[0](x) * self.turn).real))
        return self.net(x)


def keeps(what: str) -> nn.Module:
    return Keeps(what)


def _counting_hook():
    calls = 0

    def hook(module, inputs, output):
        nonlocal calls
        calls += 1
        return output / (1 + 0.1 * calls)

    return hook


class _ChangesLate(nn.Module):
    """Changes itself at its fifth pass in training."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.passes = mlp(), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += self.training
        if self.training and self.passes == 3:
            self.change()
        return self.net(x)

    def change(self) -> None:
        raise NotImplementedError


class Freezes(_ChangesLate):
    """Freezes its first layer."""

    def change(self) -> None:
        self.net[0].requires_grad_(False)


class ReplacesTanh(_ChangesLate):
    """Puts another module without parameters in the place of one."""

    def change(self) -> None:
        self.net[1] = nn.ReLU()


class OtherFunction(_ChangesLate):
    """Applies another function from then on."""

    def __init__(self) -> None:
        super().__init__()
        self.function = torch.tanh

    def change(self) -> None:
        self.function = torch.relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(super().forward(x))


class BufferLate(nn.Module):
    """Has a buffer that is None before the first minibatch."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()
        self.register_buffer("mean", None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            mean = x.mean(0)
            self.mean = mean if self.mean is None else 0.9 * self.mean + 0.1 * mean
        return self.net(x if self.mean is None else x - self.mean)


class OldSpectral(nn.Module):
    """Keeps beside a parameter what shares its memory, as the older `spectral_norm` does."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()
        torch.nn.utils.spectral_norm(self.net[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


class WarmsUp(torch.optim.SGD):
    """Counts its steps in the closure of a hook."""

    def __init__(self, params, lr=0.1, weight_decay=0.0):
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        taken = [0]

        def hook(optimizer, args, kwargs):
            taken[0] += 1
            for group in optimizer.param_groups:
                group["lr"] = lr * min(1.0, taken[0] / 5)

        self.register_step_pre_hook(hook)


class OnParameters(torch.optim.SGD):
    """Keeps a momentum on the parameters themselves."""

    @torch.no_grad()
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            p.kept = 0.9 * getattr(p, "kept", 0.0) + p.grad
            p.sub_(p.kept, alpha=self.param_groups[0]["lr"])


class _Slots:
    __slots__ = ("taken",)


class CountsInSlots(torch.optim.SGD, _Slots):
    """Lowers its lr by a count that no `__dict__` has."""

    def step(self, closure=None):
        self.taken = getattr(self, "taken", 0) + 1
        self.param_groups[0]["lr"] = 0.1 / self.taken
        return super().step(closure)


class CountsInDefaults(torch.optim.SGD):
    """Lowers its lr by a count among its defaults."""

    def step(self, closure=None):
        self.defaults["taken"] = self.defaults.get("taken", 0) + 1
        self.param_groups[0]["lr"] = 0.1 / self.defaults["taken"]
        return super().step(closure)


class KeepsGradients(torch.optim.SGD):
    """Adds up the gradients of two steps."""

    calls = 0

    def zero_grad(self, set_to_none=True):
        self.calls += 1
        if self.calls % 2:
            super().zero_grad(set_to_none)


class KeepsTuples(torch.optim.SGD):
    """Keeps a tuple in the state of each parameter."""

    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            kept = self.state[p].get("kept", (0, 0.0))
            assert isinstance(kept, tuple)
            self.state[p]["kept"] = (kept[0] + 1, float(p.grad.sum()))
        return super().step(closure)


class SharesAnArray(nn.Module):
    """Counts in an array that two modules hold."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()
        self.counts = np.zeros(1)
        self.net[1].counts = self.counts

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.counts += self.training
        return self.net(x * float(1 + 0.1 * self.net[1].counts[0]))


class SetsTheDtype(nn.Module):
    """Makes doubles of its own noise from the third pass in training on, for its whole process."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.passes = mlp(), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += self.training
        if self.passes == 3:
            torch.set_default_dtype(torch.float64)
        return self.net(x + torch.randn(x.shape).to(x.dtype))


class _Draws:
    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)


DRAWS = _Draws()


class DrawsElsewhere(nn.Module):
    """Draws its noise from an object of its module, which all cells share."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(x.shape, generator=DRAWS.generator, dtype=x.dtype)
        return self.net(x + 0.5 * noise if self.training else x)
