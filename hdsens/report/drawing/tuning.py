"""What tuning costs: expected best regret against the number of settings tried."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from hdsens.analysis.claims.no_harder_to_tune import NO_HARDER_TO_TUNE
from hdsens.analysis.panel.families import Family
from hdsens.report.drawing.canvas import bare
from hdsens.report.drawing.looks import Look
from hdsens.report.drawing.palette import PRINT, Palette
from hdsens.report.evidence.arm_settings import short
from hdsens.text import count, share


def draw_tuning(
    ax: Axes,
    rows: pd.DataFrame,
    family: Family,
    looks: Sequence[Look],
    *,
    palette: Palette = PRINT,
) -> Axes:
    """Draw expected best regret of k random draws from each arm's own grid, with its band.

    `rows` are the family's of `tunability_curve`; `looks`: of each of its arms.
    """
    draws = sorted(set(rows["draws"]))
    for arm, look in zip(family.arms, looks, strict=True):
        own = rows[rows["arm"] == arm].sort_values("draws")
        ax.fill_between(
            own["draws"], own["best_lower"], own["best_upper"], color=look.color, alpha=0.16, lw=0
        )
        ax.plot(own["draws"], own["best"], label=short(arm), **(look.line | look.dots))
    ax.set_xscale("log", base=2)
    ax.set_xticks(draws, [f"{k}" for k in draws])
    ax.xaxis.set_minor_locator(NullLocator())
    bare(ax)
    ax.grid(axis="y", color=palette.rule, lw=0.6)
    ax.set_axisbelow(True)
    ax.set_xlabel("settings tried at random")
    ax.set_ylabel("expected best regret")
    return ax


def tuning_text(rows: pd.DataFrame, family: Family) -> str:
    """The curve's numbers in words."""
    said = []
    for arm in family.arms:
        own = rows[rows["arm"] == arm].sort_values("draws")
        pairs = zip(own["best"].tolist(), own["draws"].tolist(), strict=True)
        ends = [f"{share(best)} after {count(draws, 'draw')}" for best, draws in pairs]
        said.append(f"{arm}: {', '.join(ends)}")
    return ". ".join(said)


def equal_pools_text(rows: pd.DataFrame, family: Family) -> str:
    """What the claim about tuning compares, in words: the difference from pools of equal size."""
    said = []
    for arm in family.compared:
        own = rows[rows["arm"] == arm].dropna(subset="difference").sort_values("draws")
        pairs = zip(own["difference"].tolist(), own["draws"].tolist(), strict=True)
        ends = [f"{share(value)} after {count(draws, 'draw')}" for value, draws in pairs]
        said.append(f"{arm} minus {family.base}: {', '.join(ends) or 'not known'}")
    return f"{NO_HARDER_TO_TUNE.name} compares pools of equal size. {'. '.join(said)}"
