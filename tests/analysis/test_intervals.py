from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hdsens.analysis.measures.intervals import (
    clopper_pearson,
    exceeds_p,
    holm,
    mean_interval,
    median_interval,
)

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("n", [2, 5, 10, 30])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_mean_interval_is_scipys_t_interval(n: int, confidence: float) -> None:
    x = RNG.normal(1.0, 2.0, (4, n))
    ours = mean_interval(x, confidence)
    theirs = stats.ttest_1samp(x, 0.0, axis=-1).confidence_interval(confidence)
    np.testing.assert_allclose(ours.estimate, x.mean(axis=-1))
    np.testing.assert_allclose(ours.lower, theirs.low)
    np.testing.assert_allclose(ours.upper, theirs.high)


def test_p_value_is_scipys_one_sided_t_test() -> None:
    x = RNG.normal(0.1, 1.0, (6, 12))
    theirs = stats.ttest_1samp(x, 0.05, axis=-1, alternative="greater").pvalue
    np.testing.assert_allclose(exceeds_p(x, 0.05), theirs)


def test_missing_seeds_are_left_out_and_counted() -> None:
    x = np.array([1.0, np.nan, 2.0, 4.0])
    whole = mean_interval(x[[0, 2, 3]])
    part = mean_interval(x)
    assert part.n == 3
    np.testing.assert_allclose(part[:3], whole[:3])
    np.testing.assert_allclose(median_interval(x).estimate, 2.0)


def test_one_seed_has_no_interval() -> None:
    interval = mean_interval([[3.0], [np.nan]])
    assert interval.estimate[0] == 3.0
    assert np.isnan(interval.estimate[1])
    assert np.isnan(interval.lower).all()
    assert np.isnan(exceeds_p([3.0]))


@pytest.mark.parametrize("value", [0.1, 1 / 3, 0.0])
def test_without_spread_the_interval_is_the_point(value: float) -> None:
    """Ten times 0.1 has a rounded mean: its sum of squares must not count as spread."""
    interval = mean_interval([value] * 10)
    assert interval.lower == interval.upper == interval.estimate == pytest.approx(value, rel=1e-15)
    assert exceeds_p([value] * 10, value - 0.01) == 0
    assert exceeds_p([value] * 10, value + 0.01) == 1


@pytest.mark.parametrize(("count", "n"), [(0, 10), (3, 10), (10, 10), (1, 2), (17, 30)])
def test_clopper_pearson_is_scipys_exact_interval(count: int, n: int) -> None:
    theirs = stats.binomtest(count, n).proportion_ci(method="exact")
    np.testing.assert_allclose(clopper_pearson(count, n), (theirs.low, theirs.high), atol=1e-12)


def test_clopper_pearson_of_nothing_is_unknown() -> None:
    assert np.isnan(clopper_pearson(0, 0)).all()


@pytest.mark.parametrize("n", [5, 6, 9, 10, 20, 29])
def test_median_interval_is_scipys_order_statistic_interval(n: int) -> None:
    x = RNG.normal(size=n)
    theirs = stats.quantile_test(x, q=0, p=0.5).confidence_interval()
    ours = median_interval(x)
    np.testing.assert_allclose((ours.lower, ours.upper), (theirs.low, theirs.high))
    assert ours.estimate == np.median(x)


def test_holm_is_that_of_statsmodels() -> None:
    """Expected: statsmodels 0.14 multipletests([...], method="holm")."""
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005, 0.2]), [0.04, 0.09, 0.09, 0.025, 0.2])


def test_holm_leaves_out_what_was_not_tested() -> None:
    adjusted = holm([[np.nan, 0.02, 0.04], [np.nan, np.nan, np.nan]])
    np.testing.assert_allclose(adjusted[0], [np.nan, 0.04, 0.04])
    assert np.isnan(adjusted[1]).all()
