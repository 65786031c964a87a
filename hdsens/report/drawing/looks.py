"""How each arm of a family is drawn: a colour, a marker and a dash of its own, in every figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from hdsens.analysis.panel.families import Family
from hdsens.report.drawing.palette import Palette
from hdsens.report.evidence.arm_settings import ArmSetting

HUES = ("hd", "arm1", "arm2", "arm3", "arm4", "arm5")  # ramps, the first for hypergradients
MARKERS = ("o", "v", "D", "P", "<", "p", "^")
DASHES = ((0, ()), (0, (6, 1.5, 1, 1.5)), (0, (1, 1)), (0, (10, 2)), (0, (3, 1, 1, 1, 1, 1)))
SINGLE_HD, SINGLE, SINGLE_AGAIN = 0.75, 0.3, 0.8  # the last where hues are used again

Dash = tuple[int, tuple[float, ...]]


@dataclass(frozen=True)
class Look:
    """Colour, marker and dash of a curve; widths and sizes in points."""

    color: str
    marker: str
    dash: Dash
    width: float = 1.4
    size: float = 3.5
    order: float = 4

    @property
    def line(self) -> dict[str, Any]:
        """What matplotlib draws a line with."""
        return {"color": self.color, "ls": self.dash, "lw": self.width}

    @property
    def dots(self) -> dict[str, Any]:
        """What matplotlib draws markers with."""
        return {"color": self.color, "marker": self.marker, "ms": self.size, "zorder": self.order}


def looks(
    settings: Sequence[ArmSetting], family: Family, hd_arms: Collection[str], palette: Palette
) -> tuple[Look, ...]:
    """A look for each setting: an arm has its own hue, marker and dash, its settings shades of it.

    The base arm is grey, dashed, with squares. An arm's hue is the same in every figure of the
    family; HD arms come first, so that one HD arm is always orange and no other arm is.

    Args:
        settings: those that one figure shows.
        family: the arms that must not look alike.
        hd_arms: names of the HD arms.
        palette: for files or for the page.
    """
    hues = _hues(family, hd_arms)
    shown = [setting.arm for setting in settings]
    seen: Counter[str] = Counter()
    found = []
    for setting in settings:
        if setting.side == "base":
            found.append(Look(palette.base, "s", (0, (4, 1.5)), 2.0, 4.5, 3))
            continue
        n, i = shown.count(setting.arm), seen[setting.arm]
        seen[setting.arm] += 1
        place, hue = [*hues].index(setting.arm), hues[setting.arm]
        share = i / (n - 1) if n > 1 else single(hue)
        color = palette.ramp(HUES[hue % len(HUES)], share)
        found.append(Look(color, MARKERS[place % len(MARKERS)], DASHES[place % len(DASHES)]))
    return tuple(found)


def arm_looks(family: Family, hd_arms: Collection[str], palette: Palette) -> tuple[Look, ...]:
    """A look for each arm of a family, where a figure shows an arm as a whole."""
    whole = [ArmSetting(arm, family.side(arm)) for arm in family.arms]
    return looks(whole, family, hd_arms, palette)


def _hues(family: Family, hd_arms: Collection[str]) -> dict[str, int]:
    """A number for the hue of each arm that is not the base, HD arms first; 0 is theirs alone."""
    arms = family.compared or family.arms
    hd = [arm for arm in arms if arm in hd_arms]
    others = [arm for arm in arms if arm not in hd_arms]
    first = max(len(hd), 1)
    return {arm: i for i, arm in enumerate(hd)} | {arm: i for i, arm in enumerate(others, first)}


def single(hue: int) -> float:
    """Where on its ramp an arm with one setting lies."""
    if hue == 0:
        return SINGLE_HD
    return SINGLE if hue < len(HUES) else SINGLE_AGAIN
