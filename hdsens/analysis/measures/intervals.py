"""Intervals and tests, on arrays; the last axis is seeds, NaN is a seed without a result.

Paired t is used for means and contrasts because it keeps its coverage at five to thirty seeds,
where sign-flip tests (they need symmetry, and one diverging seed breaks it) and BCa do not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from hdsens.analysis.arrays import Floats

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """Estimate with its bounds and the number of seeds behind it; arrays of one shape."""

    estimate: Floats
    lower: Floats
    upper: Floats
    n: NDArray[np.int64]

    def at(self, chosen: NDArray[np.bool_]) -> Interval:
        """Those that are chosen by a mask."""
        return Interval(
            self.estimate[chosen], self.lower[chosen], self.upper[chosen], self.n[chosen]
        )


def mean_interval(values: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """Mean over the last axis (seeds) with its Student t interval.

    Pass paired differences for a paired t interval. Fewer than two seeds have no interval (NaN
    bounds); where all seeds agree exactly the interval is the point.

    >>> mean_interval([1.0, 2.0, 3.0, 4.0])  # 2.5 ± 3.1824 · 1.29099 / 2, from a t table
    ... # doctest: +ELLIPSIS
    Interval(estimate=...2.5..., lower=...0.4457..., upper=...4.5542..., n=...4...)
    """
    mean, error, n = _mean_and_error(values)
    with np.errstate(invalid="ignore"):
        reach = special.stdtrit(np.maximum(n - 1, 1), 0.5 + confidence / 2) * error
    return Interval(mean, mean - reach, mean + reach, n)


def exceeds_p(values: ArrayLike, threshold: float = 0.0) -> Floats:
    """One-sided t-test p-value of "the mean over the last axis is at most `threshold`".

    With no spread over the seeds it is 0 above the threshold and 1 otherwise; NaN below two seeds.

    >>> round(float(exceeds_p([1.0, 2.0, 3.0, 4.0], 1.0)), 4)  # t = 2.3238, 3 degrees of freedom
    0.0514
    """
    mean, error, n = _mean_and_error(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(error > 0, (mean - threshold) / error, np.inf * np.sign(mean - threshold))
    t = np.where((error == 0) & (mean == threshold), -np.inf, t)
    return np.where(n < 2, np.nan, special.stdtr(np.maximum(n - 1, 1), -t))


def _mean_and_error(values: ArrayLike) -> tuple[Floats, Floats, NDArray[np.int64]]:
    x = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(x)
    n = known.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = np.where(known, x, 0.0).sum(axis=-1) / n
        deviation = np.where(known, x - mean[..., None], 0.0)
        error = np.sqrt((deviation**2).sum(axis=-1) / (n - 1) / n)
    highest = np.where(known, x, -np.inf).max(axis=-1, initial=-np.inf)
    same = highest == np.where(known, x, np.inf).min(axis=-1, initial=np.inf)
    error = np.where(same & (n > 1), 0.0, error)  # a constant's sum of squares rounds to > 0
    return mean, np.where(n > 1, error, np.nan), n


def clopper_pearson(
    count: ArrayLike, n: ArrayLike, confidence: float = CONFIDENCE
) -> tuple[Floats, Floats]:
    """Exact (Clopper-Pearson) bounds of a share `count / n`; NaN where n is 0.

    `count` may be fractional: the mean of shares of n independent seeds, times n. Such a mean
    varies no more than a yes or no per seed does, so the bounds are then on the safe side.

    >>> [round(float(bound), 4) for bound in clopper_pearson(0, 10)]
    [0.0, 0.3085]
    """
    k, size = np.asarray(count, dtype=np.float64), np.asarray(n, dtype=np.float64)
    tail = (1 - confidence) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        lower = np.where(k > 0, special.betaincinv(k, size - k + 1, tail), 0.0)
        upper = np.where(k < size, special.betaincinv(k + 1, size - k, 1 - tail), 1.0)
    return np.where(size > 0, lower, np.nan), np.where(size > 0, upper, np.nan)


def median_interval(values: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """Median over the last axis with its exact order-statistic interval (Thompson 1936).

    It makes no assumption on the distribution; below 6 seeds no 95% interval exists (NaN).

    >>> [float(part) for part in median_interval([1, 2, 3, 4, 5, 6, 7, 8, 9, 50])]
    [5.5, 2.0, 9.0, 10.0]
    """
    x = np.sort(np.asarray(values, dtype=np.float64), axis=-1)  # NaN sorts last
    n = (~np.isnan(x)).sum(axis=-1)
    below = special.bdtr(np.arange(x.shape[-1]), np.maximum(n, 1)[..., None], 0.5)
    rank = (below < (1 - confidence) / 2).sum(axis=-1)  # the binomial quantile
    exists = (rank >= 1) & (n > 0)
    lower = np.where(exists, _take(x, np.maximum(rank - 1, 0)), np.nan)
    upper = np.where(exists, _take(x, np.maximum(n - rank, 0)), np.nan)
    middle = (_take(x, np.maximum(n - 1, 0) // 2) + _take(x, np.maximum(n, 1) // 2)) / 2
    return Interval(np.where(n > 0, middle, np.nan), lower, upper, n)


def _take(x: Floats, index: NDArray[np.int64]) -> Floats:
    safe = np.minimum(index, x.shape[-1] - 1)
    return np.asarray(np.take_along_axis(x, np.asarray(safe)[..., None], axis=-1)[..., 0])


def holm(p_values: ArrayLike) -> Floats:
    """Holm's step-down adjusted p-values over the last axis; NaN (not tested) is left out.

    As statsmodels' `multipletests`, for many studies at once and with tests that were not made.

    >>> [round(float(p), 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, axis=-1)  # NaN sorts last
    ranked = np.take_along_axis(p, order, axis=-1)
    tested = (~np.isnan(p)).sum(axis=-1, keepdims=True)
    scaled = ranked * np.maximum(tested - np.arange(p.shape[-1]), 1)
    adjusted = np.minimum(np.maximum.accumulate(scaled, axis=-1), 1.0)
    result = np.empty_like(p)
    np.put_along_axis(result, order, adjusted, axis=-1)
    return result
