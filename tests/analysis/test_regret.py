from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cell_frames import cell, frame, hd_cell, small_study
from scipy import stats

from hdsens.analysis import accounting, regret_table, sensitivity_table
from hdsens.errors import InputError


def at(table: pd.DataFrame, arm: str, lr: float) -> pd.Series:
    return table[(table["arm"] == arm) & (table["lr"] == lr)].iloc[0]


def test_regret_by_hand() -> None:
    """L0 = 2 and L* = 0.4 (pilot), so r = (L - 0.4) / 1.6, and 2.6 and a divergence count as 2."""
    table = regret_table(small_study())
    assert at(table, "sgd", 0.1)["regret_mean"] == pytest.approx((0 + 0.2 / 1.6) / 2)
    assert at(table, "sgd", 1.0)["regret_mean"] == pytest.approx((1 + 0.8 / 1.6) / 2)
    assert at(table, "sgd_hd", 1.0)["regret_mean"] == 1
    assert at(table, "sgd_hd", 1.0)["n_diverged"] == 1
    assert at(table, "sgd", 0.0)["regret_mean"] == 1
    assert set(table["reference_loss"]) == {0.4}
    assert len(table) == 8


def test_reference_sets_choose_their_own_best() -> None:
    cells = small_study()
    best = {
        reference: regret_table(cells, reference=reference).groupby("arm")["reference_loss"].first()
        for reference in ("family", "own", "baseline", "all")
    }
    assert best["family"].to_dict() == {"sgd": 0.4, "sgd_hd": 0.4}
    assert best["own"].to_dict() == {"sgd": 0.4, "sgd_hd": 0.6}
    assert best["baseline"].to_dict() == {"sgd": 0.4, "sgd_hd": 0.4}
    other = frame([cell("adam", 0.1, seed, 0.2, role=role) for seed, role in ROLES])
    assert set(regret_table(pd.concat([cells, other]), reference="all")["reference_loss"]) == {0.2}
    family = regret_table(pd.concat([cells, other])).groupby("arm")["reference_loss"].first()
    assert family.to_dict() == {"adam": 0.2, "sgd": 0.4, "sgd_hd": 0.4}


ROLES = ((0, "confirmatory"), (1, "confirmatory"), (100, "pilot"))


def test_an_arm_that_fails_everywhere_has_regret_one_in_every_reference_set() -> None:
    rows = [cell("sgd", lr, seed, None) for lr in (0.1, 1.0) for seed in range(3)]
    for reference in ("family", "own", "all"):
        table = regret_table(frame(rows), reference=reference)
        assert (table["regret_mean"] == 1).all()


def test_without_pilot_seeds_the_table_says_that_the_reference_is_optimistic() -> None:
    cells = small_study()
    table = regret_table(cells[cells["role"] == "confirmatory"])
    assert set(table["reference_loss"]) == {0.4}
    assert table.attrs["restrictions"] == [
        "task 'toy': no pilot seeds; best lr and reference loss come from the same seeds as the"
        " statistics (optimistic)",
        "8 points have 2 seeds: their intervals are very wide (t = 12.7)",
    ]


def test_a_single_seed_has_no_interval_and_the_table_says_so() -> None:
    table = regret_table(frame([cell("sgd", lr, 0, 1.0) for lr in (0.1, 1.0)]))
    bounds = [name for name in table if str(name).endswith(("_lower", "_upper"))]
    assert table[bounds].isna().all(axis=None)
    assert "2 points have a single seed: no interval" in table.attrs["restrictions"]


def test_sensitivity_by_hand() -> None:
    table = sensitivity_table(small_study()).set_index("arm")
    base_r = np.array([[1.2, 1.4], [0.0, 0.2], [1.6, 0.8]]) / 1.6  # lr 0.01, 0.1, 1 by seed
    hd_r = np.array([[0.4, 0.0], [0.0, 0.0], [1.6, 1.6]]) / 1.6
    assert table.loc["sgd", "regret_mean"] == pytest.approx(base_r.mean())
    assert table.loc["sgd_hd", "regret_mean"] == pytest.approx(hd_r.mean())
    assert table.loc["sgd_hd", "regret_below"] == pytest.approx(hd_r[0].mean())
    assert table.loc["sgd_hd", "regret_above"] == pytest.approx(1.0)
    assert table.loc["sgd_hd", "regret_zero"] == pytest.approx((0.4 + 0.2) / 2 / 1.6)
    assert table.loc["sgd_hd", "best_level"] == 0.01  # on the pilot seed, not on seeds 0 and 1
    assert table.loc["sgd_hd", "gap_at_best"] == pytest.approx((hd_r[0] - base_r[1]).mean())
    assert table.loc["sgd_hd", "lr_sensitivity"] == pytest.approx((hd_r * 1.6 + 0.4 - 0.6).mean())
    assert table.loc["sgd_hd", "excess_loss"] == pytest.approx((hd_r * 1.6).mean())
    assert table.loc["sgd_hd", "divergence_rate"] == 1 / 8
    assert table.loc["sgd", "decades_within_5pct"] == 0
    assert table.loc["sgd_hd", "decades_within_5pct"] == 1
    assert np.isnan(table.loc["sgd", "gap_at_best"])


def test_accounting_counts_every_cell_once() -> None:
    cells = small_study()
    cells.loc[cells.index[1], ["outcome", "error", "train_loss"]] = ["failed", "boom", np.nan]
    lost = cells.drop(index=cells.index[2])
    count = accounting(pd.concat([lost, lost.iloc[3:5]]))
    assert (count.expected, count.used, count.completed, count.diverged) == (24, 22, 18, 4)
    assert (count.failed, count.missing, count.source) == (1, 1, "seen")
    assert accounting(lost, expected=30).missing == 7
    assert (accounting(lost).pilot, accounting(lost).confirmatory) == (8, 14)
    told = "(18 completed, 4 diverged; 8 pilot, 14 confirmatory), 1 failed, 1 missing"
    assert told in str(accounting(lost))
    assert regret_table(lost).attrs["accounting"]["failed"] == 1
    assert regret_table(lost)["n_missing"].sum() == 1


def test_a_retried_cell_counts_as_its_result() -> None:
    failed = cell("sgd", 0.1, 0, None, outcome="failed", initial_loss=np.nan)
    assert accounting(frame([failed, cell("sgd", 0.1, 0, 1.0)])).failed == 0


def test_an_unnamed_factor_is_an_error() -> None:
    rows = [cell("sgd", 0.1, 0, 1.0, momentum=m, cell_id=str(m)) for m in (0.0, 0.9)]
    message = (
        "cells: task 'toy': arm 'sgd': seed 0 must be there once at each point of the factors;"
        " name every factor that varies: cells.attrs['factors'] = [...]"
    )
    with pytest.raises(InputError) as caught:
        regret_table(frame(rows))
    assert str(caught.value) == message
    named = frame(rows)
    named.attrs["factors"] = ["lr", "momentum"]
    assert len(regret_table(named)) == 2


def test_bad_input_is_named() -> None:
    cells = small_study()
    with pytest.raises(
        InputError, match="regret: reference must be one of family, own, baseline, all"
    ):
        regret_table(cells, reference="best")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="must be a loss, lower is better"):
        regret_table(cells.assign(valid_accuracy=0.5), metric="valid_accuracy")
    with pytest.raises(InputError, match="column 'valid_loss' must be there"):
        regret_table(cells, metric="valid_loss")
    with pytest.raises(InputError, match="null in 20 of 20"):
        regret_table(cells.assign(valid_loss=np.nan), metric="valid_loss")
    with pytest.raises(InputError, match="arm 'sgd_hd': baseline must be among the cells"):
        regret_table(frame([hd_cell(0.1, 0, 1.0)]), reference="baseline")


def test_unequally_spaced_levels_have_no_width_in_decades() -> None:
    cells = frame(cell("sgd", lr, seed, 0.5) for lr in (0.01, 0.1, 0.5) for seed in (0, 1))
    table = sensitivity_table(cells)
    assert np.isnan(table["decades_within_5pct"].item())
    assert regret_table(cells)["decades_within_5pct"].isna().all()
    assert (
        "1 settings: lr is not equally spaced in log10; decades are not given"
        in table.attrs["restrictions"]
    )


def test_divergence_over_levels_counts_seeds() -> None:
    """Two of four seeds diverge at both levels: 4 of 8 cells, but an interval for 2 of 4."""
    cells = frame(
        cell("sgd", lr, seed, None if seed < 2 else 0.5) for lr in (0.1, 1.0) for seed in range(4)
    )
    row = sensitivity_table(cells).iloc[0]
    exact = stats.binomtest(2, 4).proportion_ci(method="exact")
    assert (row["divergence_rate"], row["n_cells"]) == (0.5, 8)
    assert row["divergence_rate_lower"] == pytest.approx(exact.low)
    assert row["divergence_rate_upper"] == pytest.approx(exact.high)
