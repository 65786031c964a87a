"""Final loss against initial lr: one curve a setting, as numbers to draw."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hdsens.analysis.panel.families import Family
from hdsens.text import level

MAX_CURVES = 6


MAX_NAME = 28


@dataclass(frozen=True)
class Curve:
    """An arm at one level of hypergrad_lr (None for a base arm), over lr.

    All arrays are (n_levels,), by rising lr: mean, lowest and highest capped loss over seeds,
    seeds with a result, seeds that diverged, and whether none did better than untrained though one
    completed.
    """

    arm: str
    hypergrad_lr: float | None
    lr: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n_seeds: NDArray[np.int64]
    n_diverged: NDArray[np.int64]
    untrained: NDArray[np.bool_]

    @property
    def name(self) -> str:
        """What a legend calls it."""
        return setting_name(self.arm, self.hypergrad_lr)


def setting_name(arm: str, hypergrad_lr: float | None) -> str:
    """An arm's name, shortened, with its level of hypergrad_lr (None or NaN for a base arm)."""
    short = arm if len(arm) <= MAX_NAME else arm[: MAX_NAME - 1] + "…"
    if hypergrad_lr is None or math.isnan(hypergrad_lr):
        return short
    return f"{short} {level(hypergrad_lr)}"


def loss_curves(rows: pd.DataFrame, family: Family) -> tuple[Curve, ...]:
    """Curves of a family, the base first, then by arm and hypergrad_lr.

    Args:
        rows: of `point_table`, one for each lr, arm and hypergrad_lr.
        family: its arms decide the order.
    """
    return tuple(_curve(arm, value, group) for arm, value, group in settings_of(rows, family))


def settings_of(
    rows: pd.DataFrame, family: Family
) -> Iterator[tuple[str, float | None, pd.DataFrame]]:
    """Arm, level of hypergrad_lr (None for a base arm) and their rows by rising lr, base first."""
    for arm in family.arms:
        own = rows[rows["arm"] == arm.name]
        for value, group in own.groupby("hypergrad_lr", dropna=False, sort=True):
            known = None if pd.isna(value) else float(str(value))
            yield arm.name, known, group.sort_values("lr")


def _curve(arm: str, hypergrad_lr: float | None, group: pd.DataFrame) -> Curve:
    lr, mean, low, high = (
        group[c].to_numpy(np.float64) for c in ("lr", "loss_mean", "loss_low", "loss_high")
    )
    n_seeds, n_diverged, n_untrained = (
        group[c].to_numpy(np.int64) for c in ("n_seeds", "n_diverged", "n_untrained")
    )
    untrained = (n_untrained > 0) & (n_untrained + n_diverged == n_seeds)
    return Curve(arm, hypergrad_lr, lr, mean, low, high, n_seeds, n_diverged, untrained)


def thin(curves: Sequence[Curve], most: int = MAX_CURVES) -> tuple[Curve, ...]:
    """The base curves and, of the others, at most `most`, evenly chosen, ends included."""
    base = [c for c in curves if c.hypergrad_lr is None]
    others = [c for c in curves if c.hypergrad_lr is not None]
    if len(others) <= most:
        return tuple(curves)
    chosen = np.linspace(0, len(others) - 1, most).round().astype(int)
    return (*base, *(others[i] for i in chosen))


def loss_limits(curves: Sequence[Curve], initial: float) -> tuple[float, float]:
    """Lowest and highest loss to show; the untrained loss is always within."""
    lows = [c.low[np.isfinite(c.low)] for c in curves]
    highs = [c.high[np.isfinite(c.high)] for c in curves]
    every = np.concatenate([*lows, *highs, [initial] if math.isfinite(initial) else []])
    return (float(every.min()), float(every.max())) if every.size else (0.0, 1.0)
