"""Final loss against initial lr: one curve a setting, as numbers to draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hdsens.analysis.panel.families import Family
from hdsens.report.evidence.arm_settings import ArmSetting, settings_of

MAX_CURVES = 6


@dataclass(frozen=True)
class Curve:
    """A setting of an arm over lr.

    All arrays are (n_levels,), by rising lr: mean, lowest and highest capped loss over seeds,
    seeds with a result, seeds that diverged, and whether none did better than untrained though one
    completed.
    """

    setting: ArmSetting
    lr: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n_seeds: NDArray[np.int64]
    n_diverged: NDArray[np.int64]
    untrained: NDArray[np.bool_]


def loss_curves(rows: pd.DataFrame, family: Family) -> tuple[Curve, ...]:
    """Curves of a family, the base first, then by arm and factor levels.

    Args:
        rows: of `point_table`.
        family: its arms decide the order.
    """
    return tuple(_curve(setting, group) for setting, group in settings_of(rows, family))


def _curve(setting: ArmSetting, group: pd.DataFrame) -> Curve:
    lr, mean, low, high = (
        group[c].to_numpy(np.float64) for c in ("lr", "loss_mean", "loss_low", "loss_high")
    )
    n_seeds, n_diverged, n_untrained = (
        group[c].to_numpy(np.int64) for c in ("n_seeds", "n_diverged", "n_untrained")
    )
    untrained = (n_untrained > 0) & (n_untrained + n_diverged == n_seeds)
    return Curve(setting, lr, mean, low, high, n_seeds, n_diverged, untrained)


def thin(curves: Sequence[Curve], most: int = MAX_CURVES) -> tuple[Curve, ...]:
    """Leave out curves of arms with many settings, so that about `most` are left.

    Every arm stays, evenly thinned, with both ends where there is room for two. The base arm's
    curves all stay.
    """
    compared = [c.setting.arm for c in curves if c.setting.side != "base"]
    if len(compared) <= most:
        return tuple(curves)
    room = max(most // len(set(compared)), 1)
    kept: list[Curve] = []
    for arm in dict.fromkeys(c.setting.arm for c in curves):
        own = [c for c in curves if c.setting.arm == arm]
        if own[0].setting.side != "base" and len(own) > room:
            own = [own[i] for i in np.linspace(0, len(own) - 1, room).round().astype(int)]
        kept += own
    return tuple(kept)


def loss_limits(curves: Sequence[Curve], initial: float) -> tuple[float, float]:
    """Lowest and highest loss to show; the untrained loss is always within."""
    lows = [c.low[np.isfinite(c.low)] for c in curves]
    highs = [c.high[np.isfinite(c.high)] for c in curves]
    every = np.concatenate([*lows, *highs, [initial] if math.isfinite(initial) else []])
    return (float(every.min()), float(every.max())) if every.size else (0.0, 1.0)
