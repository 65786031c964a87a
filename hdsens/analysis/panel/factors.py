"""Which columns of a table are factors."""

from __future__ import annotations

import pandas as pd


def factors_of(points: pd.DataFrame) -> list[str]:
    """Names of the factor columns: those between the labels and the counts."""
    return factors_between(points, "baseline", "n_seeds")


def factors_between(frame: pd.DataFrame, before: str, after: str) -> list[str]:
    """Names of the columns between two others; none where there are no columns."""
    columns = [str(column) for column in frame.columns]
    if before not in columns or after not in columns:
        return []
    return columns[columns.index(before) + 1 : columns.index(after)]
