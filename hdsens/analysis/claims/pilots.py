"""What the pilot seeds leave open: cells without a result, and cells that diverged by bad luck.

A gap among the pilot seeds moves L* up, hides the baseline's best lr, or takes a level out of C3:
each time the compared arm looks better for it. So gaps are named, and only ever hold back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hdsens.analysis.arrays import Floats
from hdsens.analysis.measures.intervals import mean_interval
from hdsens.analysis.measures.regret import reference_loss, too_little_gained
from hdsens.analysis.panel.panel import Bools, Panel, Runs


@dataclass(frozen=True)
class Reading:
    """One reading of the pilot seeds: the references that it gives.

    Attributes:
        best: (n_points,) L* of each point's family; NaN where none can be given.
        base: the panel whose pilot cells choose the baseline's best lr, and where C3 is tested.
    """

    best: Floats
    base: Panel


def plain_reading(panel: Panel) -> Reading:
    """The protocol's reading: a pilot cell that diverged counts as its untrained model, L0."""
    return Reading(_family_best(panel), panel)


def lenient_reading(panel: Panel) -> Reading | None:
    """Sensitivity check: replace each diverged pilot cell by the best cell of its point.

    A cell is replaced where another pilot cell of its point completed, or at least half of the
    confirmatory cells did. L* is read so from all arms; the best lr and C3's levels from the base
    arms alone. A claim that the protocol's reading supports and this one does not is supported only
    because pilot cells diverged. None where no cell is replaced.
    """
    pilot = panel.pilot
    most = _trained(panel.runs).sum(axis=1) >= np.maximum(panel.runs.used.sum(axis=1) / 2, 1)
    others = np.asarray((_trained(pilot).any(axis=1) | most) & panel.independent)
    unlucky = pilot.diverged & others[:, None]
    if not unlucky.any():
        return None
    lenient = _with_pilot(panel, unlucky)
    is_base = (panel.points["baseline"] == "").to_numpy(dtype=bool)
    return Reading(
        _family_best(lenient), _with_pilot(panel, unlucky & np.asarray(is_base)[:, None])
    )


def _trained(runs: Runs) -> Bools:
    return np.asarray(runs.used & ~runs.diverged)


def _with_pilot(panel: Panel, unlucky: Bools) -> Panel:
    pilot, runs = panel.pilot, panel.runs
    seen = [np.where(_trained(r), r.loss, np.inf) for r in (pilot, runs)]
    best = np.hstack(seen).min(axis=1)
    loss = np.where(unlucky, best[:, None], pilot.loss)
    return replace(panel, pilot=replace(pilot, loss=loss, diverged=pilot.diverged & ~unlucky))


def _family_best(panel: Panel) -> Floats:
    best = reference_loss(panel, "family")
    return np.where(too_little_gained(panel, best), np.nan, best)


def family_rows(panel: Panel, task: str, base: str) -> Bools:
    """Points of a base arm and of the arms that name it."""
    points = panel.points
    member = (points["arm"] == base) | (points["baseline"] == base)
    return np.asarray((points["task"] == task) & member)


def pilot_gaps(panel: Panel, task: str, base: str, declared: Sequence[int]) -> Iterable[str]:
    """Name what is missing among the pilot seeds of a family; any of it holds back support.

    Args:
        panel: of all cells.
        task, base: name the family.
        declared: pilot seeds that the protocol names.
    """
    rows = family_rows(panel, task, base)
    run = panel.pilot.seeds[panel.pilot.expected[rows].any(axis=0)]
    absent = sorted(set(declared) - set(run.tolist()))
    if absent:
        yield f"pilot seeds {', '.join(map(str, absent))} were not run on {task}"
    lost = panel.pilot_lost & rows[:, None]
    if lost.any():
        point, seed = (int(index[0]) for index in np.nonzero(lost))
        where = panel.points.iloc[point]
        yield (
            f"{int(lost.sum())} pilot cells of {base} and its family on {task} are missing or"
            f" failed, the first {where['arm']} at lr = {where['lr']:g},"
            f" seed {panel.pilot.seeds[seed]}"
        )


def misjudged_reference(
    panel: Panel, regret: Floats, task: str, base: str, margin: float
) -> Iterable[str]:
    """Name a point where the other seeds beat L* by more than the margin; or that none is near.

    The first makes an arm look worse than it is; the second shrinks every difference.
    """
    rows = np.flatnonzero(family_rows(panel, task, base))
    interval = mean_interval(regret[rows])
    worst = int(np.argmin(np.nan_to_num(interval.upper, nan=np.inf)))
    if interval.upper[worst] < -margin:
        where = panel.points.iloc[rows[worst]]
        yield (
            f"the pilot seeds misjudged the reference: {where['arm']} at lr = {where['lr']:g} on"
            f" {task} has regret {interval.estimate[worst]:.3g} on the other seeds"
        )
    lowest = int(np.argmin(np.nan_to_num(interval.estimate, nan=np.inf)))
    if interval.lower[lowest] > margin:
        where = panel.points.iloc[rows[lowest]]
        yield (
            f"the pilot seeds misjudged the reference: no point of {base} and its family on {task}"
            f" has a mean regret below {margin:g} on the other seeds; the lowest,"
            f" {interval.estimate[lowest]:.3g}, has {where['arm']} at lr = {where['lr']:g}"
        )
