"""How often the warning of an overwritten lr is given, where it should be and where it should not.

Run ``python -m benchmarks.overwritten_lr`` (minutes); docs/decisions/overwritten-lr.md has its
table. Every optimizer trains five small problems under schedulers that keep lr and others that
overwrite it. Beside the warning stands what nearness alone would say: that the lr found next is
nearer, in log, to the lr found before than to the lr left, at each of ten steps that moved it.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim import lr_scheduler as schedulers

from hdsens.optim import SGDHD, AdamHD

STEPS = 70
START = 0.03
Scheduler = Callable[[Optimizer], object]


def _noise(step: int, *size: int) -> Tensor:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(*size, generator=generator, dtype=torch.float64)


X = _noise(1000, 200, 5)
Y = X @ torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0], dtype=torch.float64) + 0.3 * _noise(1001, 200)
CURVATURE = torch.tensor([0.01, 0.1, 0.3, 1.0, 1.0], dtype=torch.float64)


def _regression(w: Tensor, rows: Tensor) -> Tensor:
    return 2 * X[rows].T @ (X[rows] @ w - Y[rows]) / len(rows)


def _batch(step: int) -> Tensor:
    return torch.randint(200, (16,), generator=torch.Generator().manual_seed(step))


GRADIENTS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "constant": lambda w, step: torch.ones_like(w),
    "quadratic": lambda w, step: CURVATURE * (w - 3),
    "full batch": lambda w, step: _regression(w, torch.arange(200)),
    "batches of 16": lambda w, step: _regression(w, _batch(step)),
    "noise": lambda w, step: 0.2 * w + _noise(step, 5),
}
NOISY = ("batches of 16", "noise")


def _keeping() -> dict[str, Scheduler]:
    s = schedulers
    made: dict[str, Scheduler] = {
        "StepLR 2": lambda o: s.StepLR(o, 2),
        "StepLR 30": lambda o: s.StepLR(o, 30),
        "uneven": lambda o: s.MultiplicativeLR(o, lambda t: 0.95 if t % 2 else 1.05),
        "plateau": lambda o: s.ReduceLROnPlateau(o, factor=0.9, patience=0),
        "chain": lambda o: s.ChainedScheduler(
            [s.ExponentialLR(o, 0.99), s.LinearLR(o, 0.1, 1, 30)]
        ),
    }
    for gamma in (0.9, 0.95, 0.99, 0.999):
        made[f"exponential {gamma}"] = lambda o, g=gamma: s.ExponentialLR(o, g)
    for n in (5, 30, 100):
        made[f"linear down {n}"] = lambda o, n=n: s.LinearLR(o, 1.0, 0.5, n)
        made[f"linear up {n}"] = lambda o, n=n: s.LinearLR(o, 0.1, 1.0, n)
    for n, power in itertools.product((30, 100, 1000), (1, 2)):
        made[f"polynomial {n} {power}"] = lambda o, n=n, p=power: s.PolynomialLR(o, n, p)
    for n, low in itertools.product((10, 30, 100, 1000), (0.0, 1e-3)):
        made[f"cosine {n} {low}"] = lambda o, n=n, low=low: s.CosineAnnealingLR(o, n, low)
    return made


def _overwriting() -> dict[str, Scheduler]:
    s = schedulers
    made: dict[str, Scheduler] = {
        "constant": lambda o: s.LambdaLR(o, lambda t: 1.0),
        "inverse root": lambda o: s.LambdaLR(o, lambda t: (t + 1) ** -0.5),
        "restarts": lambda o: s.CosineAnnealingWarmRestarts(o, 50),
        "cyclic": lambda o: s.CyclicLR(o, 0.001, 0.1, cycle_momentum=False),
        "one cycle": lambda o: s.OneCycleLR(o, 0.1, STEPS + 1, cycle_momentum=False),
    }
    for n in (130, 1000):
        made[f"linear {n}"] = lambda o, n=n: s.LambdaLR(o, lambda t: 1 - t / n)
        made[f"warmup {n}"] = lambda o, n=n: s.LambdaLR(o, lambda t: min(t / 20, 1 - (t - 20) / n))
        made[f"cosine {n}"] = lambda o, n=n: s.LambdaLR(
            o, lambda t: 0.5 + 0.5 * math.cos(math.pi * t / n)
        )
    for gamma in (0.9, 0.95, 0.99):
        made[f"exponential {gamma}"] = lambda o, g=gamma: s.LambdaLR(o, lambda t: g**t)
    return made


def _optimizers() -> Iterator[Callable[[list[Tensor]], Optimizer]]:
    betas = {"additive": [10.0**x for x in range(-8, 0)], "multiplicative": [0.003, 0.02, 0.1]}
    for make, rule in itertools.product((SGDHD, AdamHD), betas):
        for beta in betas[rule]:
            yield lambda p, m=make, r=rule, b=beta: m(p, lr=START, rule=r, hypergrad_lr=b)


def _run(
    make: Callable[[list[Tensor]], Optimizer], gradient: Callable, scheduler: Scheduler
) -> tuple[list[tuple[float, float]], bool] | None:
    """Pairs of the lr found and left, and whether it warned; None where it blew up."""
    w = torch.full((5,), 0.5, dtype=torch.float64, requires_grad=True)
    optimizer = make([w])
    schedule = scheduler(optimizer)
    (group,) = optimizer.param_groups
    pairs, told = [], False
    for step in range(STEPS):
        w.grad = gradient(w.detach(), step)
        found = group["lr"]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            optimizer.step()
        told = told or bool(caught)
        pairs.append((found, group["lr"]))
        if not (torch.isfinite(w).all() and abs(group["lr"]) < 1e6):
            return None
        schedule.step(*[1.0] * isinstance(schedule, schedulers.ReduceLROnPlateau))
    return pairs, told


def _nearer_ten_times(pairs: list[tuple[float, float]]) -> bool:
    row = 0
    for (before, left), (after, _) in itertools.pairwise(pairs):
        positive = min(before, left, after) > 0
        row = row + 1 if positive and left != before and _nearer(after, before, left) else 0
        if row == 10:
            return True
    return False


def _nearer(after: float, before: float, left: float) -> bool:
    return abs(math.log(after / before)) < abs(math.log(after / left))


def main() -> None:
    counts: Counter[tuple[str, ...]] = Counter()
    worlds = {"keep": _keeping(), "overwrite": _overwriting()}
    for world, made in worlds.items():
        for name, make, scheduler in itertools.product(GRADIENTS, _optimizers(), made.values()):
            ended = _run(make, GRADIENTS[name], scheduler)
            if ended is None or not any(found != left for found, left in ended[0]):
                continue
            for of in ("all", "noisy") if name in NOISY else ("all",):
                counts[world, of, "n"] += 1
                counts[world, of, "nearer"] += _nearer_ten_times(ended[0])
                counts[world, of, "warned"] += ended[1]
    print(f"torch {torch.__version__}, {STEPS} steps")
    for world, of in itertools.product(worlds, ("all", "noisy")):
        n = counts[world, of, "n"]
        for rule in ("nearer", "warned"):
            hits = counts[world, of, rule]
            print(f"{world:10} {of:6} {rule:7} {hits:5} of {n:5} ({hits / n:.1%})")


if __name__ == "__main__":
    main()
