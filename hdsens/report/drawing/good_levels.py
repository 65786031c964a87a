"""Where an arm is good: the levels of lr at which it loses next to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from hdsens.analysis.panel.families import Family
from hdsens.report.drawing.canvas import bare
from hdsens.report.drawing.curves import family_colors
from hdsens.report.drawing.level_axis import draw_level_axis, level_axis
from hdsens.report.drawing.palette import PRINT, Palette
from hdsens.report.evidence.curves import setting_name, settings_of
from hdsens.text import join, level

GOOD = 0.05  # of regret: what decades_within_5pct counts


@dataclass(frozen=True)
class Levels:
    """A setting of an arm over lr, (n_levels,) each: mean regret, and whether any seed diverged."""

    name: str
    hypergrad_lr: float | None
    lr: NDArray[np.float64]
    regret: NDArray[np.float64]
    diverged: NDArray[np.bool_]

    @property
    def good(self) -> NDArray[np.bool_]:
        """Levels with a mean regret of at most `GOOD`."""
        return self.regret <= GOOD


def levels_of(rows: pd.DataFrame, family: Family) -> tuple[Levels, ...]:
    """Settings of a family, the base first; `rows` are of `point_table`."""
    return tuple(
        Levels(
            setting_name(arm, value),
            value,
            group["lr"].to_numpy(np.float64),
            group["regret_mean"].to_numpy(np.float64),
            (group["n_diverged"] > 0).to_numpy(),
        )
        for arm, value, group in settings_of(rows, family)
    )


def draw_good_levels(ax: Axes, settings: Sequence[Levels], *, palette: Palette = PRINT) -> Axes:
    """Draw a row a setting: squares where it is good, dots elsewhere, crosses where seeds diverged.

    lr = 0 stands apart, behind a break.
    """
    axis = level_axis(np.concatenate([s.lr for s in settings]))
    colors = family_colors([s.hypergrad_lr for s in settings], palette)
    for row, (one, color) in enumerate(zip(settings, colors, strict=True)):
        x, y = axis.positions(one.lr), np.full(len(one.lr), row)
        rest = ~one.good & ~one.diverged
        ax.plot(x[one.good], y[one.good], ls="none", marker="s", ms=8, color=color)
        ax.plot(x[rest], y[rest], ls="none", marker=".", ms=3, color=palette.muted)
        lost = ~one.good & one.diverged
        ax.plot(x[lost], y[lost], ls="none", marker="x", ms=4, mew=0.8, color=palette.muted)
    ax.set_yticks(range(len(settings)), [s.name for s in settings])
    ax.set_ylim(len(settings) - 0.5, -0.5)
    bare(ax)
    ax.tick_params(axis="y", length=0)
    draw_level_axis(ax, axis, "initial lr")
    return ax


def good_levels_text(settings: Sequence[Levels]) -> str:
    """The figure in words."""
    return ". ".join(
        f"{s.name}: {join([level(v) for v in s.lr[s.good]]) if s.good.any() else 'at no lr'}"
        for s in settings
    )
