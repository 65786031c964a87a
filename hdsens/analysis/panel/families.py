"""What belongs together: families of arms, and the settings within them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hdsens.study import Arm, Study


@dataclass(frozen=True)
class Family:
    """A base arm (None for an HD arm without a baseline) with the HD arms that name it."""

    base: Arm | None
    others: tuple[Arm, ...]

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All arms, the base first."""
        return (*((self.base,) if self.base else ()), *self.others)

    @property
    def name(self) -> str:
        """The base arm's name, else the only arm's."""
        return self.arms[0].name


def families(study: Study) -> tuple[Family, ...]:
    """The families of a study in its order."""
    return tuple(_family(arm, study.arms) for arm in study.arms if arm.baseline is None)


def _family(first: Arm, arms: Sequence[Arm]) -> Family:
    others = tuple(arm for arm in arms if arm.baseline == first.name)
    if not others and first.hypergrad_lr is not None:
        return Family(None, (first,))
    return Family(first, others)
