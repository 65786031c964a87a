"""Studies of one family whose regret is given level by level, for the verdict to judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from cell_frames import L0, cell, frame, hd_cell

from hdsens.analysis import Verdict

RATES = [float(f"{10**e:.6g}") for e in np.arange(-4, 0.1, 0.5)]
BASE = [1.0, 0.95, 0.8, 0.5, 0.2, 0.04, 0.0, 0.3, 1.0]  # regret of the base at RATES
PROTOCOL = {"pilot_seeds": [100, 101, 102], "primary": {"sgd_hd": {"hypergrad_lr": 1e-3}}}
Loss = Callable[[float, int], float | None]


def curve(regrets: list[float], spread: float = 0.002) -> Loss:
    """Loss by lr and seed: L* = 0 and L0 = 2, so regret 1 is a loss of 2; None diverges."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(len(regrets), 1000)) * spread

    def loss(lr: float, seed: int) -> float | None:
        i = RATES.index(lr)
        return L0 * (regrets[i] + noise[i, seed]) if regrets[i] < 1 else None

    return loss


@dataclass(frozen=True)
class Design:
    base: Loss
    hd: Loss
    zero: float | None = 0.01
    seeds: tuple[int, ...] = tuple(range(10))
    pilots: tuple[int, ...] = (100, 101, 102)
    betas: tuple[float, ...] = (1e-3,)

    def cells(self, **other: object) -> pd.DataFrame:
        rows = []
        for seed in (*self.seeds, *self.pilots):
            given = {"role": "pilot" if seed in self.pilots else "confirmatory", **other}
            rows.append(cell("sgd", 0.0, seed, L0, **given))
            rows += [cell("sgd", lr, seed, self.base(lr, seed), **given) for lr in RATES]
            for beta in self.betas:
                zero = None if self.zero is None else L0 * (self.zero + 1e-4 * (seed % 7))
                rows.append(hd_cell(0.0, seed, zero, beta, **given))
                rows += [hd_cell(lr, seed, self.hd(lr, seed), beta, **given) for lr in RATES]
        return frame(rows)


ROBUST = curve([0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.0, 0.01, 0.1])
GOOD = Design(curve(BASE), ROBUST)
TWO_BETAS = (1e-3, 1e-2)  # with one beta there is nothing more to tune: C4 is held back


def parts(result: Verdict) -> dict[str, str]:
    return dict(zip(result.parts["part"], result.parts["verdict"], strict=True))


REFUTED = {
    "C1": Design(curve(BASE), curve([r * 0.55 for r in BASE[:-1]] + [0.55])),
    "C2": Design(curve(BASE), ROBUST, zero=0.05),
    "C3": Design(curve(BASE), curve([0.01, 0.01, 0.01, 0.01, 0.01, 0.1, 0.0, 0.01, 0.1])),
    "C4": Design(curve(BASE), curve([0.5] * 4 + [0.5, 0.3, 0.0, 0.5, 1.0])),
}
