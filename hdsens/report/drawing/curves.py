"""Final loss against initial lr: a curve for each setting of a family's arms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from hdsens.report.drawing.canvas import bare, plain_log
from hdsens.report.drawing.level_axis import LevelAxis, draw_level_axis, level_axis
from hdsens.report.drawing.looks import Look
from hdsens.report.drawing.palette import PRINT, Palette
from hdsens.report.evidence.curves import Curve, loss_limits

LOG_FROM_RATIO = 20.0


def draw_loss_curves(
    ax: Axes,
    curves: Sequence[Curve],
    looks: Sequence[Look],
    *,
    label: str = "training loss",
    initial: float = math.nan,
    limits: tuple[float, float] | None = None,
    palette: Palette = PRINT,
) -> Axes:
    """Draw mean loss against lr, bands from the lowest to the highest seed.

    lr = 0 stands apart, behind a break; a cross marks points where a seed diverged (its loss counts
    as the untrained one, the dotted line); a hollow point is no better than untrained.
    """
    limits = limits or loss_limits(curves, initial)
    _loss_scale(ax, limits)
    axis = level_axis(np.concatenate([c.lr for c in curves]))
    for curve, look in zip(curves, looks, strict=True):
        _draw_curve(ax, curve, axis, look, palette.paper)
    if math.isfinite(initial):
        ax.axhline(initial, color=palette.muted, lw=0.8, ls=(0, (1, 2)), zorder=1)
        beside: dict[str, Any] = {"xytext": (3, 0), "textcoords": "offset points", "fontsize": 7}
        ax.annotate(
            "un-\ntrained",
            (1.0, initial),
            xycoords=ax.get_yaxis_transform(),
            va="center",
            linespacing=0.9,
            color=palette.muted,
            **beside,
        )
    bare(ax)
    ax.grid(axis="y", color=palette.rule, lw=0.6)
    ax.set_axisbelow(True)
    draw_level_axis(ax, axis, "initial lr")
    ax.set_ylabel(f"{label} (nats)")
    family_legend(ax, len(curves))
    return ax


def _loss_scale(ax: Axes, limits: tuple[float, float]) -> None:
    low, high = limits
    if low > 0 and high / low >= LOG_FROM_RATIO:
        ax.set_yscale("log")
        ax.set_ylim(low / 1.3, high * 1.45)
        plain_log(ax.yaxis, low, high)
    else:
        margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.1
        ax.set_ylim(low - margin, high + 1.8 * margin)


def _draw_curve(ax: Axes, curve: Curve, axis: LevelAxis, look: Look, paper: str) -> None:
    x = axis.positions(curve.lr)
    color, dots = look.color, look.dots
    positive = curve.lr > 0
    ax.fill_between(
        x[positive], curve.low[positive], curve.high[positive], color=color, alpha=0.16, lw=0
    )
    ax.plot(x[positive], curve.mean[positive], label=curve.setting.name, **(look.line | dots))
    zero = ~positive
    ax.vlines(x[zero], curve.low[zero], curve.high[zero], color=color, lw=4, alpha=0.25)
    ax.plot(x[zero], curve.mean[zero], ls="none", **dots)
    hollow = dots | {"mfc": paper, "zorder": look.order + 0.5}
    ax.plot(x[curve.untrained], curve.mean[curve.untrained], ls="none", **hollow)
    lost = curve.n_diverged > 0
    ax.plot(x[lost], curve.mean[lost], color=color, ls="none", marker="x", ms=9, mew=1.3, zorder=5)


def family_legend(ax: Axes, n: int) -> None:
    """Names of `n` settings above the plot."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    columns = min(n, 2) if n <= 4 else 3
    handles, names = ax.get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        handlelength=2.2,
        columnspacing=1.2,
        labelspacing=0.3,
    )
