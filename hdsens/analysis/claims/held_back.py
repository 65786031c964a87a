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
    """Hold back: the baseline works nowhere, so that beating it would say nothing."""
    if not pair.base_works:
        yield f"{pair.baseline} works at no nonzero lr on the pilot seeds"


def not_run_at(arm: str, baseline: str, levels: Floats) -> Iterable[str]:
    """Hold back: the arm may be bad at the levels of lr that it was not run at."""
    if levels.size:
        yield f"{arm} was not run at lr = {numbers(levels)} of {baseline}"


def without_result(seeds: NDArray[np.int64]) -> Iterable[str]:
    """Hold back: cells that the claim rests on have no result; they can be run again."""
    if seeds.size:
        yield f"a cell of seeds {numbers(seeds)} has no result"


def few_alike(names: Sequence[str], effect: Interval) -> Iterable[str]:
    """Hold back: too few seeds agree, which makes the interval a point.

    That no seed of n differs leaves a share of 1 − 0.05^(1/n) that may (one-sided 95%): 78% for
    two, 26% for ten.
    """
    alike = agree(effect)
    at = [name for name, same in zip(names, alike, strict=True) if same]
    if at:
        n = int(effect.n[alike].min())
        yield f"{', '.join(at)}: {n} seeds agree, and {MIN_SEEDS_ALIKE} are needed then"
