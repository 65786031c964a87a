from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from cell_frames import cell, frame, hd_cell
from figure4 import BASE, BUDGET, HD, RATES
from scipy import stats

from hdsens.analysis import steps_to_target_table
from hdsens.analysis.measures.steps import compare_steps, kaplan_meier, median_time
from hdsens.errors import InputError

# Remission of leukaemia under 6-MP (Gehan 1965; Freireich et al. 1963), weeks.
WEEKS = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
RELAPSE = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]


def at_times(times: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    km = kaplan_meier(WEEKS, RELAPSE)
    rows = [int(np.flatnonzero(km.time == time)[-1]) for time in times]
    return km.survival[rows], km.lower[rows], km.upper[rows]


def test_kaplan_meier_is_that_of_lifelines() -> None:
    """Expected: lifelines 0.30 KaplanMeierFitter on the 6-MP data."""
    survival, lower, upper = at_times([6, 7, 10, 13, 16, 22, 23])
    np.testing.assert_allclose(
        survival, [0.857143, 0.806723, 0.752941, 0.690196, 0.627451, 0.537815, 0.448179], atol=1e-6
    )
    np.testing.assert_allclose(
        lower, [0.619718, 0.563147, 0.503200, 0.431610, 0.367511, 0.267779, 0.188052], atol=1e-6
    )
    np.testing.assert_allclose(
        upper, [0.951552, 0.922809, 0.889362, 0.849066, 0.804912, 0.746791, 0.680143], atol=1e-6
    )
    assert [float(t) for t in median_time(kaplan_meier(WEEKS, RELAPSE))] == [23, 13, np.inf]


def test_kaplan_meier_is_that_of_scipy_for_many_groups_at_once() -> None:
    rng = np.random.default_rng(2)
    time, event = rng.integers(1, 8, (20, 15)).astype(float), rng.random((20, 15)) < 0.6
    ours = kaplan_meier(time, event)
    for row in range(20):
        data = stats.CensoredData(uncensored=time[row][event[row]], right=time[row][~event[row]])
        theirs = stats.ecdf(data).sf
        last = [np.flatnonzero(ours.time[row] == q)[-1] for q in theirs.quantiles]
        np.testing.assert_allclose(ours.survival[row][last], theirs.probabilities, atol=1e-12)


@pytest.mark.parametrize("n", range(2, 31))
def test_the_median_is_where_exactly_one_half_is_left(n: int) -> None:
    """In fractions: a product of floats that should be one half may come out a little above it."""
    rng = np.random.default_rng(n)
    for event in rng.random((50, n)) < 0.7:
        left, expected = Fraction(1), np.inf
        for at_risk, arrived in zip(range(n, 0, -1), event, strict=True):
            left *= Fraction(at_risk - 1, at_risk) if arrived else 1
            if left <= Fraction(1, 2):
                expected = n - at_risk + 1
                break
        assert median_time(kaplan_meier(np.arange(1, n + 1), event))[0] == expected


def test_seeds_without_a_result_change_nothing() -> None:
    padded = kaplan_meier([*WEEKS, np.nan, np.nan], [*RELAPSE, 0, 1])
    np.testing.assert_allclose(padded.survival[:21], kaplan_meier(WEEKS, RELAPSE).survival)
    assert np.isinf(padded.time[21:]).all()


def test_pairs_count_once_and_never_is_worst() -> None:
    contest = compare_steps([1, 2, 3, np.inf, np.inf, 5, np.nan], [2, 1, 3, 9, np.inf, np.inf, 1])
    assert [int(n) for n in contest] == [2, 2, 1, 1]


def figure4_cells() -> pd.DataFrame:
    def row(arm: str, lr: float, iterations: int, **other: object) -> dict[str, object]:
        reached = iterations < BUDGET
        return cell(
            arm,
            lr,
            0,
            1.0,
            steps=BUDGET,
            steps_run=iterations,
            steps_to_paper=iterations if reached else np.nan,
            **other,
        )

    rows = [
        row(a, lr, n) for a, column in BASE.items() for lr, n in zip(RATES, column, strict=True)
    ]
    for arm, grid in HD.items():
        for lr, line in zip(RATES, grid, strict=True):
            for beta, n in zip(RATES[::-1], line, strict=True):
                rows.append(row(f"{arm}_hd", lr, n, baseline=arm, hypergrad_lr=beta))
    return frame(rows)


def test_figure_4_says_what_the_paper_shows() -> None:
    """HD needs more iterations than its baseline in 4, 5 and 13 of 36 cells."""
    table = steps_to_target_table(figure4_cells(), "paper")
    worse = table.groupby("arm")["worse"].sum()
    assert worse[["sgd_hd", "sgdn_hd", "adam_hd"]].tolist() == [4, 5, 13]
    counts = table[table["baseline"].notna()][["better", "worse", "equal", "neither"]]
    assert (counts.sum(axis=1) == 1).all()
    assert len(counts) == 108
    censored = table[table["median_steps"] == np.inf]
    assert set(zip(censored["arm"], censored["lr"], strict=True)) == {
        ("sgd", 1e-6),
        ("adam", 1e-5),
        ("adam", 1e-6),
    }
    assert table["median_steps_lower"].isna().all()  # one seed: no interval


def test_a_diverged_cell_stays_at_risk_to_the_end_of_its_budget() -> None:
    """Two of four seeds diverge at step 3: by then half can never reach it, so no median."""
    rows = [hd_cell(0.1, seed, 1.0, steps_to_x=10.0) for seed in (0,)]
    rows += [hd_cell(0.1, 1, 1.0, steps_to_x=np.nan)]
    rows += [hd_cell(0.1, s, None, steps_run=3, steps_to_x=np.nan) for s in (2, 3)]
    table = steps_to_target_table(frame(rows))
    assert table["median_steps"].item() == np.inf
    assert table["reached"].item() == 0.25
    assert table["n_diverged"].item() == 2


def test_a_cell_that_stopped_at_its_target_is_not_censored() -> None:
    rows = [cell("sgd", 0.1, s, 1.0, steps_run=n, steps_to_x=n) for s, n in enumerate((5, 9, 20))]
    table = steps_to_target_table(frame(rows))
    assert table["median_steps"].item() == 9
    assert table["reached"].item() == 1


def test_the_target_must_be_there() -> None:
    cells = figure4_cells().assign(steps_to_late=np.nan)
    with pytest.raises(InputError, match=r"target must be one of paper, late \(got 'early'\)"):
        steps_to_target_table(cells, "early")
    with pytest.raises(InputError, match=r"target must be one of paper, late \(got None\)"):
        steps_to_target_table(cells)
