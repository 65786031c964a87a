"""Which arms are compared with which: families of arms, and the side that an arm is on.

Both follow from the names of baselines alone, never from what an arm varies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hdsens.study.declaration import Study

Side = Literal["base", "compared", "alone"]


@dataclass(frozen=True)
class Family:
    """A base arm with the arms that name it as their baseline, in the study's order.

    An arm that names no baseline, and that no arm names, is a family of its own.
    """

    base: str
    compared: tuple[str, ...] = ()

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of all arms, the base first."""
        return (self.base, *self.compared)

    @property
    def name(self) -> str:
        """The base arm's name."""
        return self.base

    def side(self, arm: str) -> Side:
        """Which side one of the family's arms is on."""
        if arm in self.compared:
            return "compared"
        return "base" if self.compared else "alone"


def families(baselines: Mapping[str, str | None]) -> tuple[Family, ...]:
    """The families of arms, in their order.

    Args:
        baselines: the arm that each arm names as its baseline, None where it names none.

    >>> families({"sgd": None, "sgd_hd": "sgd", "adam": None})
    (Family(base='sgd', compared=('sgd_hd',)), Family(base='adam', compared=()))
    """
    named = {base for base in baselines.values() if base is not None}
    bases = [arm for arm, base in baselines.items() if base is None or arm in named]
    absent = sorted(named - set(baselines))  # a frame may lack the cells of a base arm
    return tuple(
        Family(name, tuple(arm for arm, base in baselines.items() if base == name))
        for name in [*bases, *absent]
    )


def families_of_study(study: Study) -> tuple[Family, ...]:
    """The families that a study declares."""
    return families({arm.name: arm.baseline for arm in study.arms})


def family_name(arm: str, baseline: str | None) -> str:
    """The name of an arm's family: its baseline's name, or its own where it names none."""
    return baseline or arm
