"""A log axis for levels on which zero has a place of its own, behind a break."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from hdsens.text import level

MAX_TICKS = 7


@dataclass(frozen=True)
class LevelAxis:
    """Positions of levels in decades; zero lies left of the lowest positive one.

    >>> axis = level_axis([0.0, 1e-3, 1e-2, 1e-1])
    >>> axis.positions([1e-3, 1e-1]).tolist(), bool(axis.positions([0.0])[0] < -3)
    ([-3.0, -1.0], True)
    """

    low: float
    high: float
    has_zero: bool

    @property
    def gap(self) -> float:
        """Decades between zero's place and the lowest positive level."""
        return max(0.5, 0.16 * (self.high - self.low))

    def positions(self, levels: ArrayLike) -> NDArray[np.float64]:
        """Where levels lie; the shape of the input."""
        x = np.asarray(levels, dtype=np.float64)
        zero = x == 0
        return np.where(zero, self.low - self.gap, np.log10(np.where(zero, 1.0, x)))

    @property
    def ticks(self) -> list[float]:
        """Levels to write at the axis: whole decades, thinned, and zero."""
        first, last = math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9)
        every = max(1, math.ceil((last - first + 1) / MAX_TICKS))
        decades = [10.0**e for e in range(last, first - 1, -every)][::-1]
        ends = decades or [10**self.low]
        return [0.0] * self.has_zero + ends

    @property
    def limits(self) -> tuple[float, float]:
        """Ends of the axis, with a margin."""
        margin = max(0.15, 0.05 * (self.high - self.low))
        left = self.low - (self.gap if self.has_zero else 0.0)
        return left - margin, self.high + margin


def level_axis(levels: Iterable[float]) -> LevelAxis:
    """The axis that shows these levels (>= 0, at least one)."""
    values = sorted(set(levels))
    positive = [math.log10(v) for v in values if v > 0] or [0.0]
    return LevelAxis(positive[0], positive[-1], bool(values[0] == 0))


def draw_level_axis(ax: Axes, axis: LevelAxis, label: str) -> None:
    """Set up the x axis of a plot: ticks, name, and the break before zero."""
    ticks = axis.ticks
    ax.set_xlim(*axis.limits)
    ax.set_xticks(axis.positions(ticks), [level(t) for t in ticks])
    ax.set_xlabel(label)
    if axis.has_zero:
        draw_break(ax, float(axis.low - 0.55 * axis.gap), "x")


def draw_break(ax: Axes, at: float, side: Literal["x", "y"]) -> None:
    """Two strokes through the axis line at data coordinate `at`: the scale is interrupted."""
    spine = ax.spines["bottom" if side == "x" else "left"]
    color = spine.get_edgecolor()
    transform = ax.get_xaxis_transform() if side == "x" else ax.get_yaxis_transform()
    here = ([at], [0.0]) if side == "x" else ([0.0], [at])
    marks: dict[str, Any] = {"transform": transform, "clip_on": False, "zorder": 5}
    ax.plot(*here, marker="s", ms=5, mec="none", color=ax.get_facecolor(), **marks)
    for shift in (-1, 1):
        stroke = [(-1.5 + 2 * shift, -4.0), (1.5 + 2 * shift, 4.0)]
        if side == "y":
            stroke = [(-4.0, -1.5 + 2 * shift), (4.0, 1.5 + 2 * shift)]
        ax.plot(*here, marker=stroke, ms=8, mew=0.8, mec=color, color=color, **marks)
