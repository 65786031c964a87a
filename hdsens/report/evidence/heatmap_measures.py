"""What a heatmap can show: each measure as one value a point, with how to draw and write it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hdsens.analysis import CheckedCells
from hdsens.report.evidence.points import METRICS, point_of_cells
from hdsens.text import level, number, share


@dataclass(frozen=True)
class Measure:
    """One value a point.

    Attributes:
        name: its column in the page. title: what it is called, with its unit.
        rows: `point_table` with the column `value`.
        diverging: the scale has a middle, 0. wide: values of either sign over many decades.
        capped: a point no better than untrained shows the untrained model's value.
        write: a value as text.
    """

    name: str
    title: str
    rows: pd.DataFrame
    diverging: bool = False
    wide: bool = False
    capped: bool = False
    write: Callable[[float], str] = number


def measures(
    cells: CheckedCells,
    points: Mapping[str, pd.DataFrame],
    steps: Mapping[str, pd.DataFrame],
    compared: Collection[str],
) -> tuple[Measure, ...]:
    """All measures that the cells have; the first is the loss that the page is about.

    Args:
        cells: with at least one completed cell.
        points: `point_table` of each loss, the page's first.
        steps: `steps_to_target_table` of each target.
        compared: names of the arms that have a baseline.
    """
    first = next(iter(points.values()))
    regret = first.assign(value=first["regret_mean"])
    found = [
        Measure(
            metric, f"{METRICS[metric]} (nats)", rows.assign(value=rows["loss_mean"]), capped=True
        )
        for metric, rows in points.items()
    ]
    found.append(Measure("regret", "regret", regret, capped=True, write=share))
    if compared:
        rows = first.assign(value=first["difference"])[first["arm"].isin(compared)]
        title = "regret minus the baseline's"
        found.append(Measure("difference", title, rows, diverging=True, write=share))
    found.append(
        Measure(
            "lr_final",
            "lr at the end",
            first.assign(value=_lr_final(first, cells.frame)),
            wide=True,
            write=level,
        )
    )
    if first["n_diverged"].any():
        lost = first["n_diverged"] / first["n_seeds"].where(first["n_seeds"] > 0)
        # The value says it all: no cell is hidden or marked because seeds diverged.
        rows = first.assign(value=lost, n_diverged=0)
        found.append(Measure("diverged", "share of seeds that diverged", rows, write=share))
    for target, table in steps.items():
        rows = first.assign(value=table["median_steps"])
        found.append(Measure(f"steps_to_{target}", f"steps to {target}", rows, write=_steps))
    return tuple(found)


def _lr_final(points: pd.DataFrame, cells: pd.DataFrame) -> pd.Series[float]:
    """Median over completed cells of the last lr."""
    completed = cells[cells["outcome"] == "completed"]
    median = completed["lr_final"].astype(float).groupby(point_of_cells(completed, points)).median()
    return median.reindex(points.index)


def _steps(value: float) -> str:
    return f"{value:,.0f}" if np.isfinite(value) else number(value)
