"""Colours by role, in two sets: plain ones for files, and stand-ins that a page's style fills."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from matplotlib.colors import LinearSegmentedColormap, to_hex

ROLES = ("ink", "muted", "rule", "paper", "base", "wash")
RAMPS: Final[Mapping[str, tuple[str, str]]] = {
    "hd": ("#d0742a", "#7a1f00"),
    "lr": ("#5a90bd", "#0c2a45"),
    "arm1": ("#2192f1", "#124c7e"),
    "arm2": ("#057c60", "#003325"),
    "arm3": ("#a24fb5", "#4c2056"),
    "arm4": ("#a28f00", "#544a05"),
    "arm5": ("#87223c", "#2c0009"),
}
"""Ends of the ramps on paper: levels of hypergrad_lr and of lr, and the hues of other arms."""
_ROLE_MARK = "#0101"
_RAMP_MARKS = {name: f"#02{i:02x}" for i, name in enumerate(RAMPS)}


@dataclass(frozen=True)
class Palette:
    """Hex colours by role.

    Attributes:
        ink, muted: text and axes; rule: grid lines; paper: behind a figure.
        base: the base arm; wash: cells of a heatmap without a number.
        ramps: two ends of each ramp of `RAMPS`; empty in a page's set.
    """

    ink: str
    muted: str
    rule: str
    paper: str
    base: str
    wash: str
    ramps: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def ramp(self, name: str, share: float) -> str:
        """Colour at `share` (0 to 1) of a ramp."""
        if not self.ramps:
            return f"{_RAMP_MARKS[name]}{round(100 * share):02x}"
        return to_hex(LinearSegmentedColormap.from_list(name, self.ramps[name])(share))


PRINT: Final = Palette(
    ink="#1b2127",
    muted="#5b6570",
    rule="#dfe3e7",
    paper="#ffffff",
    base="#66707b",
    wash="#e9ecef",
    ramps=RAMPS,
)
"""For figures in files of their own."""

PAGE: Final = Palette(
    ink=f"{_ROLE_MARK}00",
    muted=f"{_ROLE_MARK}01",
    rule=f"{_ROLE_MARK}02",
    paper=f"{_ROLE_MARK}03",
    base=f"{_ROLE_MARK}04",
    wash=f"{_ROLE_MARK}05",
)
"""For figures inside a page: `use_css` turns these into the page's variables."""


def use_css(svg: str) -> str:
    """Replace the stand-in colours of an SVG by variables of the page, `var(--ink)` and so on.

    Ramps become mixtures of their two ends, `--hd-low` and `--hd-high` and so on, so one figure
    serves light, dark and paper.
    """
    for name, mark in _RAMP_MARKS.items():
        svg = re.sub(f"{mark}([0-9a-f]{{2}})", partial(_mixture, name), svg)
    return re.sub(f"{_ROLE_MARK}([0-9a-f]{{2}})", lambda m: f"var(--{ROLES[int(m[1], 16)]})", svg)


def _mixture(name: str, mark: re.Match[str]) -> str:
    return f"color-mix(in oklab, var(--{name}-high) {int(mark[1], 16)}%, var(--{name}-low))"
