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
from hdsens.report.drawing.level_axis import draw_level_axis, level_axis
from hdsens.report.drawing.looks import Look
from hdsens.report.drawing.palette import PRINT, Palette
from hdsens.report.evidence.arm_settings import ArmSetting, settings_of
from hdsens.text import join, level

GOOD = 0.05  # of regret: what decades_within_5pct counts


@dataclass(frozen=True)
class Levels:
    """A setting of an arm over lr, (n_levels,) each: mean regret, and whether any seed diverged."""

    setting: ArmSetting
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
            setting,
            group["lr"].to_numpy(np.float64),
            group["regret_mean"].to_numpy(np.float64),
            (group["n_diverged"] > 0).to_numpy(),
        )
        for setting, group in settings_of(rows, family)
    )


def draw_good_levels(
    ax: Axes, settings: Sequence[Levels], looks: Sequence[Look], *, palette: Palette = PRINT
) -> Axes:
    """Draw a row a setting: its marker where it is good, else a dot, or a cross if seeds diverged.

    lr = 0 stands apart, behind a break.
    """
    axis = level_axis(np.concatenate([s.lr for s in settings]))
    for row, (one, look) in enumerate(zip(settings, looks, strict=True)):
        x, y = axis.positions(one.lr), np.full(len(one.lr), row)
        rest = ~one.good & ~one.diverged
        ax.plot(x[one.good], y[one.good], ls="none", **(look.dots | {"ms": 8}))
        ax.plot(x[rest], y[rest], ls="none", marker=".", ms=3, color=palette.muted)
        lost = ~one.good & one.diverged
        ax.plot(x[lost], y[lost], ls="none", marker="x", ms=4, mew=0.8, color=palette.muted)
    ax.set_yticks(range(len(settings)), [s.setting.name for s in settings])
    ax.set_ylim(len(settings) - 0.5, -0.5)
    bare(ax)
    ax.tick_params(axis="y", length=0)
    draw_level_axis(ax, axis, "initial lr")
    return ax


def good_levels_text(settings: Sequence[Levels]) -> str:
    """The figure in words."""
    return ". ".join(
        f"{one.setting.name}: {join([level(v) for v in one.lr[one.good]]) or 'at no lr'}"
        for one in settings
    )
