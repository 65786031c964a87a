from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from cell_frames import cell, frame, hd_cell
from scipy import stats

from hdsens.analysis import tunability_curve
from hdsens.analysis.measures.tunability import bootstrap_band, expected_best, performance_weights
from hdsens.errors import InputError

VALUES = [0.9, 0.31, 0.45, 1.0, 0.12, 0.77, 0.31, 0.05]


def test_expected_best_is_that_of_opda() -> None:
    """Expected: opda 0.8 EmpiricalDistribution(VALUES).u_tuning_curve(k, minimize=True)."""
    np.testing.assert_allclose(
        expected_best(VALUES, [1, 2, 3, 4, 8]),
        [0.48875, 0.2732142857142857, 0.17732142857142857, 0.1277142857142857, 0.05],
    )


@pytest.mark.parametrize("k", [1, 2, 5, 8])
def test_expected_best_is_the_mean_over_all_subsets(k: int) -> None:
    every = [min(chosen) for chosen in combinations(VALUES, k)]
    np.testing.assert_allclose(expected_best(VALUES, [k]), np.mean(every))


def test_expected_best_of_a_large_grid_does_not_overflow() -> None:
    best = expected_best(np.arange(5000.0), [1, 2500, 5000])
    np.testing.assert_allclose(best, [2499.5, 5001 / 2501 - 1, 0.0], rtol=1e-8, atol=1e-8)


def test_more_draws_than_points_is_an_error() -> None:
    with pytest.raises(InputError, match="draws must be from 1 to the 8 points of the grid"):
        expected_best(VALUES, [9])


def test_weights_of_cpe_are_those_of_its_authors_code() -> None:
    """1 … T reversed, over their sum: the last draw still has a weight."""
    np.testing.assert_allclose(performance_weights(5), np.array([5, 4, 3, 2, 1]) / 15)
    np.testing.assert_allclose(performance_weights(1), [1.0])


def curve_cells(n_seeds: int = 3):
    """Regrets by hand: L0 = 2, L* = 0 (the pilot), so r = loss / 2; grids of 2 and 4 points."""
    rows = []
    for seed, role in [*((s, "confirmatory") for s in range(n_seeds)), (100, "pilot")]:
        rows += [cell("sgd", 0.0, seed, 2.0, role=role)]
        rows += [
            cell("sgd", lr, seed, loss + 0.1 * seed * (seed < 100), role=role)
            for lr, loss in ((0.1, 0.0), (1.0, 1.0))
        ]
        rows += [
            hd_cell(lr, seed, loss, beta, role=role)
            for (lr, beta), loss in {
                (0.1, 1e-3): 0.0,
                (1.0, 1e-3): 0.4,
                (0.1, 1e-2): 0.8,
                (1.0, 1e-2): None,
                (0.0, 1e-3): 0.0,
                (0.1, 0.0): 0.0,
            }.items()
        ]
    return frame(rows)


def test_curve_by_hand() -> None:
    table = tunability_curve(curve_cells()).set_index(["arm", "draws"])
    base = np.array([[0.0, 0.5], [0.05, 0.55], [0.1, 0.6]])  # seeds x points
    assert table.loc[("sgd", 1), "best"] == pytest.approx(base.mean())
    assert table.loc[("sgd", 2), "best"] == pytest.approx(base.min(axis=1).mean())
    hd = [0.0, 0.2, 0.4, 1.0]  # lr = 0 and hypergrad_lr = 0 are not among the draws
    pairs = [min(pair) for pair in combinations(hd, 2)]
    assert table.loc[("sgd_hd", 2), "best"] == pytest.approx(np.mean(pairs))
    # the baseline's two points count twice: of 6 pairs one misses the better
    of_base = base.min(axis=1).mean() + (base[:, 1] - base[:, 0]).mean() / 6
    assert table.loc[("sgd_hd", 2), "difference"] == pytest.approx(np.mean(pairs) - of_base)
    assert table.loc[("sgd_hd", 4), "best"] == 0
    assert table.loc[("sgd_hd", 4), "difference"] == pytest.approx(-base.min(axis=1).mean())
    # budget 2, the smaller grid: k = 1 weighs 2/3, k = 2 weighs 1/3
    assert table.loc[("sgd_hd", 1), "cpe"] == pytest.approx((2 * 0.4 + np.mean(pairs)) / 3)


@pytest.mark.parametrize("betas", [1, 2, 3, 5])
def test_a_second_factor_that_changes_nothing_is_not_harder_to_tune(betas: int) -> None:
    """Draws without replacement would favour the arm whose grid they exhaust."""
    rows = []
    for seed in range(4):
        for lr, loss in ((0.01, 1.5), (0.1, 0.4), (1.0, 1.9)):
            rows.append(cell("sgd", lr, seed, loss + 0.01 * seed))
            rows += [hd_cell(lr, seed, loss + 0.01 * seed, 10.0**-b) for b in range(betas)]
    table = tunability_curve(frame(rows), draws=range(1, 4)).query("arm == 'sgd_hd'")
    np.testing.assert_allclose(table["difference"], 0.0, atol=1e-12)


def test_seeds_with_a_hole_are_left_out_and_named() -> None:
    cells = curve_cells().query("not (arm == 'sgd' and lr == 1 and seed == 0)")
    table = tunability_curve(cells)
    assert table.groupby("arm")["n_seeds"].first().to_dict() == {"sgd": 2, "sgd_hd": 3}
    assert (
        "sgd on toy: 1 seeds left out, not every point has a result" in table.attrs["restrictions"]
    )
    base = table.query("arm == 'sgd' and draws == 1").iloc[0]
    assert base["best"] == pytest.approx(0.325)
    assert 0.3 <= base["best_lower"] < base["best"] < base["best_upper"] <= 0.35
    hd = table.query("arm == 'sgd_hd'").set_index("draws")["difference"]
    assert hd[1] == pytest.approx(0.4 - 0.325)  # seed 0 has no partner


def test_bands_come_from_the_generator_given_and_from_nothing_else() -> None:
    cells = curve_cells(n_seeds=9)
    first = tunability_curve(cells, rng=np.random.default_rng(0))
    np.random.seed(123)  # noqa: NPY002 - global state must not matter
    again = tunability_curve(cells)
    other = tunability_curve(cells, rng=np.random.default_rng(1))
    assert first.equals(again)
    assert not first["best_lower"].equals(other["best_lower"])
    assert first.attrs["bands"].startswith("approximate")


def test_a_single_seed_has_no_band() -> None:
    table = tunability_curve(curve_cells(n_seeds=1))
    assert table[["best_lower", "best_upper", "cpe_lower"]].isna().all(axis=None)


def test_bands_reach_from_the_2_5th_to_the_97_5th_percentile() -> None:
    """Means of many seeds are normal: a 95% band is 3.92 standard errors wide, a 90% one 3.29."""
    values = np.random.default_rng(3).normal(5.0, 2.0, size=(400, 30))
    lower, upper = bootstrap_band(values, np.random.default_rng(0))
    errors = values.std(axis=0) / np.sqrt(len(values))
    assert ((upper - lower) / errors).mean() == pytest.approx(2 * stats.norm.ppf(0.975), abs=0.15)
    assert ((upper + lower) / 2 - values.mean(axis=0)).mean() == pytest.approx(0, abs=0.02)
