"""How many seeds a test rests on, in words, and whether they all agree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdsens.analysis.measures.intervals import Interval

MIN_SEEDS_ALIKE = 10  # that may support a claim though they agree
NO_SPREAD = 1e-4
"""Width of an interval of regret: a hundredth of the least margin, above float32's rounding."""


def agree(effect: Interval) -> NDArray[np.bool_]:
    """Tests, (n_tests,), in which fewer than ten seeds have no spread but that of rounding."""
    few = (effect.n > 1) & (effect.n < MIN_SEEDS_ALIKE)
    return np.asarray(few & (effect.upper - effect.lower <= NO_SPREAD))


def paired_seeds(n: int) -> str:
    """A number of seeds."""
    return f"{n} paired seeds" if n != 1 else "1 seed"


def seeds_tested(n: int, alike: bool = False) -> str:
    """A number of seeds, and what so few mean for an interval; `alike` seeds make it a point."""
    wide = "" if alike else ": the interval is very wide"
    return paired_seeds(n) + {0: ": no interval", 1: ": no interval", 2: wide}.get(n, "")


def few_seeds(effect: Interval) -> str:
    """Say that one or two seeds hardly make intervals; empty from three on."""
    n = int(effect.n.min())
    return f"; {seeds_tested(n, bool(agree(effect).any()))}" if n <= 2 else ""
