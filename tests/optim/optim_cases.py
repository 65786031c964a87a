"""What the contract tests run over, in the manner of torch's ``OptimizerInfo``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from hdsens.optim import SGDHD, AdamHD


@dataclass(frozen=True)
class Case:
    """A class, options that are legal together, and what torch.optim calls the same at β = 0."""

    make: Any
    options: dict[str, Any]
    base: Any
    base_options: dict[str, Any] = field(default_factory=dict)
    impls: tuple[dict[str, Any], ...] = ({"foreach": False}, {"foreach": True})

    def __str__(self):
        described = "-".join(f"{k}={v}" for k, v in self.options.items()) or "defaults"
        return f"{self.make.__name__}-{described}".replace(" ", "")


def sgd(**options):
    return Case(SGDHD, options, torch.optim.SGD, options)


def adam(**options):
    fused = ({"foreach": False}, {"foreach": True}, {"fused": True})
    return Case(AdamHD, options, torch.optim.Adam, options, fused)


def adamw(**options):
    base = {"weight_decay": 0, **options}
    fused = ({"foreach": False}, {"foreach": True}, {"fused": True})
    decoupled = {**options, "decoupled_weight_decay": True}
    return Case(AdamHD, decoupled, torch.optim.AdamW, base, fused)


CASES = [
    sgd(),
    sgd(weight_decay=0.1),
    sgd(maximize=True),
    sgd(maximize=True, weight_decay=0.1),
    sgd(momentum=0.9),
    sgd(momentum=0.9, dampening=0.5),
    sgd(momentum=0.9, weight_decay=0.1, maximize=True),
    sgd(momentum=0.9, nesterov=True),
    sgd(momentum=0.9, nesterov=True, weight_decay=0.1, maximize=True),
    adam(),
    adam(weight_decay=0.1),
    adam(maximize=True),
    adam(maximize=True, weight_decay=0.1),
    adam(amsgrad=True),
    adam(amsgrad=True, weight_decay=0.1, maximize=True, betas=(0.8, 0.9), eps=1e-3),
    adamw(),
    adamw(weight_decay=0.1),
    adamw(weight_decay=0.1, amsgrad=True, maximize=True),
]
HYPERGRADIENT = [
    {},
    {"rule": "multiplicative"},
    {"transition": (0.001, 2)},
    {"lr_bounds": (0.0, 0.02)},
]
MAKES = [SGDHD, AdamHD]
IMPLS = [(case, impl) for case in CASES for impl in case.impls]


def make_params(dtype=torch.float32, seed=0, odd=True):
    """Tensors of several sizes; with `odd`, one is channels-last and one has a single element."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(3, 5), (7,), (33, 3)] + ([(2, 3, 4, 5), ()] if odd else [])
    params = [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes]
    if odd:
        params[3] = params[3].contiguous(memory_format=torch.channels_last)
    return [p.requires_grad_() for p in params]


def give_grads(params, step):
    """Gradients that depend on where the parameters are and on the step."""
    for i, param in enumerate(params):
        with torch.no_grad():
            param.grad = (param * 0.5 + torch.cos(param.double() * 3 + step + i)).to(param.dtype)


def train(optimizer, params, steps, start=0):
    """Step an optimizer; returns the learning rates used."""
    lrs = []
    for step in range(start, start + steps):
        give_grads(params, step)
        optimizer.step()
        lrs.append(float(optimizer.param_groups[0]["lr"]))
    return lrs


def build(case, params, **more):
    return case.make(params, **{"lr": 0.01, "hypergrad_lr": 1e-4, **case.options, **more})


def values(params):
    return [p.detach().clone() for p in params]


def assert_close(first, second, rtol=1e-11):
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=1e-13)
