"""The parts of the claim, C1 to C4, decided on arrays of regret.

Arrays end in (n_levels, n_seeds) or (n_seeds,); axes before are studies, decided independently.
Base and HD share seeds, so seed by seed differences are tested (paired t). Each decision gives
`p_refuted`, to be compared with 0.05: twice the one-sided p where the rule is "the 95% interval's
lower bound is above", so that both say the same.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from hdsens.analysis.arrays import Floats
from hdsens.analysis.measures.intervals import Interval, exceeds_p, holm, mean_interval
from hdsens.study import Margins

Bools = NDArray[np.bool_]
ALPHA = 0.05
ONE_SIDED = 0.90  # a 90% interval has one-sided 95% bounds
MIN_SEEDS_FOR_ZERO = 10
MIN_SEEDS_ALIKE = 10  # that may support a part though they agree
TOLERATED_DIVERGENCE = 0.05
MOST_DRAWS = 8


class Decision(NamedTuple):
    """One part of the claim, arrays (...): whether it is supported, the evidence against it.

    Attributes:
        supported: the part holds.
        p_refuted: (..., n_tests) one p-value a test of the opposite; NaN: not tested.
        effect: (..., n_tests) the interval that decides, as estimate, lower, upper, n.
        check: the second condition's interval, where there is one.
    """

    supported: Bools
    p_refuted: Floats
    effect: Interval
    check: Interval | None = None

    @property
    def refuted(self) -> Bools:
        """Whether any test rejects at 5% after Holm over this decision's own tests."""
        return np.asarray((holm(self.p_refuted) <= ALPHA).any(axis=-1))


def less_sensitive(base: Floats, hd: Floats, gap: Floats, margins: Margins) -> Decision:
    """C1, much less sensitive to lr: R_HD − ratio · R_base < 0, and the best is not given up.

    Args:
        base, hd: (..., n_levels, n_seeds) regret over the nonzero levels.
        gap: (..., n_seeds) G, regret of HD minus base, each at its own pilot-best lr.
        margins: `ratio` and `best`.
    """
    contrast = hd.mean(axis=-2) - margins.ratio * base.mean(axis=-2)
    effect, check = mean_interval(contrast), mean_interval(gap)
    supported = (effect.upper < 0) & (check.upper < margins.best)
    p = 2 * np.fmin(exceeds_p(contrast), exceeds_p(gap, margins.best))  # either one refutes
    return Decision(supported, np.minimum(p, 1.0)[..., None], as_test(effect), check)


def zero_works(zero: Floats, base_best: Floats, diverged: Floats, margins: Margins) -> Decision:
    """C2, lr = 0 works: no divergence in at least 10 seeds, and as good as the tuned base.

    Args:
        zero: (..., n_seeds) regret of HD at lr = 0.
        base_best: (..., n_seeds) regret of the base at its pilot-best lr.
        diverged: (..., n_seeds) 1 where HD diverged at lr = 0, 0 where not, NaN without a result.
        margins: `zero`.
    """
    contrast = zero - base_best
    n = (~np.isnan(diverged)).sum(axis=-1)
    count = np.nansum(diverged, axis=-1)
    effect = mean_interval(contrast)
    enough = n >= MIN_SEEDS_FOR_ZERO
    supported = enough & (count == 0) & (effect.upper < margins.zero)
    p_divergence = np.where(count > 0, special.bdtrc(count - 1, n, TOLERATED_DIVERGENCE), 1.0)
    p = np.fmin(2 * exceeds_p(contrast, margins.zero), np.where(n > 0, p_divergence, np.nan))
    return Decision(supported, np.minimum(p, 1.0)[..., None], as_test(effect))


def never_worse(base: Floats, hd: Floats, eligible: ArrayLike, margins: Margins) -> Decision:
    """C3, a small β is never worse: non-inferior at every eligible level (intersection-union).

    Args:
        base, hd: (..., n_levels, n_seeds) regret.
        eligible: (..., n_levels) whether the base works there on the pilot seeds.
        margins: `worse`.
    """
    tested = np.asarray(eligible, dtype=bool)
    contrast = hd - base
    effect = mean_interval(contrast, ONE_SIDED)
    supported = tested.any(axis=-1) & ((effect.upper < margins.worse) | ~tested).all(axis=-1)
    p = np.where(tested, exceeds_p(contrast, margins.worse), np.nan)
    return Decision(np.asarray(supported), p, effect)


def not_harder_to_tune(base: Floats, hd: Floats, margins: Margins) -> Decision:
    """C4, two hyperparameters are not harder to tune than one.

    Not supported for an arm whose tuning never beats the untrained model (regret 1), however bad
    the base is too: that would be true and empty.

    Args:
        base, hd: (..., n_draws, n_seeds) expected best regret of k draws, k rising.
        margins: `tuning`.
    """
    contrast = hd - base
    effect = mean_interval(contrast)
    learns = mean_interval(hd[..., -1, :]).estimate < 1
    supported = learns & (effect.upper < margins.tuning).all(axis=-1)
    p = np.minimum(2 * exceeds_p(contrast, margins.tuning), 1.0)
    return Decision(np.asarray(supported), p, effect)


def as_test(interval: Interval) -> Interval:
    """Give an interval (...) a last axis of one test."""
    estimate, lower, upper, n = interval
    return Interval(estimate[..., None], lower[..., None], upper[..., None], n[..., None])
