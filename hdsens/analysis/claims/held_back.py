"""Reasons to hold back a claim though its intervals allow it, where several claims share them.

A reason reads after "Hold back C2: ". A claim's own reasons stand in the claim's file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from hdsens.analysis.arrays import Floats
from hdsens.analysis.claims.pairs import Pair, numbers
from hdsens.analysis.claims.seeds import MIN_SEEDS_ALIKE, agree
from hdsens.analysis.measures.intervals import Interval


def nothing_works(pair: Pair) -> Iterable[str]:
    """As good as, or less sensitive than, a base that fails everywhere would be true and empty."""
    if not pair.base_works:
        yield f"{pair.baseline} works at no nonzero lr on the pilot seeds"


def not_run_at(arm: str, baseline: str, levels: Floats) -> Iterable[str]:
    """The arm may be bad at the levels that it leaves out."""
    if levels.size:
        yield f"{arm} was not run at lr = {numbers(levels)} of {baseline}"


def without_result(seeds: NDArray[np.int64]) -> Iterable[str]:
    """The missing cells can be run again."""
    if seeds.size:
        yield f"a cell of seeds {numbers(seeds)} has no result"


def few_alike(names: Sequence[str], effect: Interval) -> Iterable[str]:
    """Seeds that agree make the interval a point, however few they are.

    That no seed of n differs leaves a share of 1 − 0.05^(1/n) that may (one-sided 95%): 78% for
    two, 26% for ten.
    """
    alike = agree(effect)
    at = [name for name, same in zip(names, alike, strict=True) if same]
    if at:
        n = int(effect.n[alike].min())
        yield f"{', '.join(at)}: {n} seeds agree, and {MIN_SEEDS_ALIKE} are needed then"
