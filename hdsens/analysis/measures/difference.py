"""Regret of an arm minus its baseline's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from hdsens.analysis.panel.factors import factors_of


def regret_difference(points: pd.DataFrame, baselines: Mapping[str, str]) -> pd.Series[float]:
    """Mean regret of each point minus its baseline arm's at the same levels; NaN without one."""
    difference = pd.Series(np.nan, index=points.index)
    for name, base in baselines.items():
        own, other = points[points["arm"] == name], points[points["arm"] == base]
        shared = [f for f in factors_of(points) if other[f].notna().any()]
        if len(other):
            pairs = own[shared].merge(other[[*shared, "regret_mean"]], on=shared, how="left")
            difference[own.index] = own["regret_mean"] - pairs["regret_mean"].to_numpy()
    return difference
