"""Steps to a target against lr: medians over seeds, censored ones at the top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from hdsens.analysis.panel.families import Family
from hdsens.report.drawing.canvas import bare, plain_log
from hdsens.report.drawing.level_axis import draw_level_axis, level_axis
from hdsens.report.drawing.looks import Look
from hdsens.report.drawing.palette import PRINT, Palette
from hdsens.report.evidence.arm_settings import ArmSetting, settings_of
from hdsens.text import level


@dataclass(frozen=True)
class Reach:
    """Median steps of a setting over lr, (n_levels,): inf where half of the seeds never do."""

    setting: ArmSetting
    lr: NDArray[np.float64]
    steps: NDArray[np.float64]


def reaches(rows: pd.DataFrame, family: Family) -> tuple[Reach, ...]:
    """Settings of a family, the base first; `rows` are of `steps_to_target_table`."""
    return tuple(
        Reach(
            setting,
            group["lr"].to_numpy(np.float64),
            group["median_steps"].to_numpy(np.float64),
        )
        for setting, group in settings_of(rows, family)
    )


def draw_reaches(
    ax: Axes, settings: Sequence[Reach], looks: Sequence[Look], *, palette: Palette = PRINT
) -> Axes:
    """Draw median steps against lr; arrows at the top: half of the seeds did not get there."""
    axis = level_axis(np.concatenate([s.lr for s in settings]))
    finite = np.concatenate([s.steps[np.isfinite(s.steps)] for s in settings])
    low, high = (finite.min(), finite.max()) if finite.size else (1.0, 1.0)
    top = 1.6 * float(high)
    ax.set_yscale("log")
    plain_log(ax.yaxis, float(low), top)
    for one, look in zip(settings, looks, strict=True):
        x = axis.positions(one.lr)
        positive = one.lr > 0
        steps = np.where(np.isinf(one.steps), np.nan, one.steps)
        ax.plot(x[positive], steps[positive], label=one.setting.name, **(look.line | look.dots))
        ax.plot(x[~positive], steps[~positive], ls="none", **look.dots)
        never = np.isinf(one.steps)
        ax.plot(x[never], np.full(never.sum(), top), ls="none", marker="^", ms=4, color=look.color)
    ax.set_ylim(top=1.25 * top)
    bare(ax)
    ax.grid(axis="y", color=palette.rule, lw=0.6)
    ax.set_axisbelow(True)
    draw_level_axis(ax, axis, "initial lr")
    ax.set_ylabel("median steps")
    return ax


def reaches_text(settings: Sequence[Reach]) -> str:
    """The curves in words."""
    said = []
    for one in settings:
        pairs = [
            f"{'not reached' if np.isinf(steps) else f'{steps:,.0f}'} from lr {level(lr)}"
            for lr, steps in zip(one.lr.tolist(), one.steps.tolist(), strict=True)
            if not np.isnan(steps)
        ]
        said.append(f"{one.setting.name}: {', '.join(pairs)}")
    return ". ".join(said)
