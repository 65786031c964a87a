"""What matters: the share of the variance of regret that each factor explains."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from hdsens.report.drawing.canvas import bare
from hdsens.report.drawing.palette import PRINT, Palette
from hdsens.text import interval, share


def shown_shares(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of `importance` of the arms with more than one factor: one factor explains all."""
    known = table.dropna(subset="share")
    return known[known.groupby("arm")["term"].transform("size") > 1]


def draw_shares(ax: Axes, rows: pd.DataFrame, *, palette: Palette = PRINT) -> Axes:
    """Draw a bar a term with its 95% interval, arms below one another."""
    several = len(set(rows["arm"])) > 1
    names = [f"{r.arm}: {r.term}" if several else str(r.term) for r in rows.itertuples()]
    places = range(len(rows))
    ax.barh(places, rows["share"], height=0.6, color=palette.ramp("lr", 0.0))
    ax.hlines(
        places,
        rows["share_lower"].clip(0, 1),
        rows["share_upper"].clip(0, 1),
        color=palette.ink,
        lw=1.2,
    )
    ax.set_yticks(places, [name.replace(" x ", " × ") for name in names])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(0, 1)
    bare(ax)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("share of the variance of regret")
    return ax


def shares_text(rows: pd.DataFrame) -> str:
    """The bars in words."""
    return ". ".join(
        f"{row['arm']}, {row['term']}:"
        f" {interval(row['share'], row['share_lower'], row['share_upper'], share)}"
        for _, row in rows.iterrows()
    )
