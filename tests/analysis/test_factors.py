"""Importance, sensitivity across tasks, trajectories."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cell_frames import cell, frame, hd_cell

from hdsens.analysis import cross_task_table, importance, sensitivity_table, trajectory_table
from hdsens.analysis.measures.cross_task import cross_task_measures
from hdsens.analysis.measures.importance import variance_shares
from hdsens.errors import InputError

GRID = np.array([[0.9, 0.5, 0.2], [0.4, 0.3, 0.25], [0.1, 0.35, 0.8], [0.05, 0.6, 0.95]])


def test_variance_shares_are_those_of_statsmodels_anova() -> None:
    """Expected: statsmodels 0.14 anova_lm of y ~ C(a) + C(b), sums of squares over their total."""
    shares, variance = variance_shares(GRID, 2)
    np.testing.assert_allclose(
        [shares[0,], shares[1,], shares[0, 1]],
        [0.09640522875816991, 0.06985294117647065, 0.8337418300653595],
    )
    assert variance == pytest.approx(0.085)


def test_three_factors_are_told_apart() -> None:
    a, b, c = np.meshgrid([-1, 1], [-1, 1], [-1, 1], indexing="ij")
    shares, _ = variance_shares(3 * a + 2.0 * b * c + a * b * c, 3)
    expected = {(0,): 9 / 14, (1, 2): 4 / 14, (0, 1, 2): 1 / 14}
    assert shares.keys() == {(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)}
    for term, share in shares.items():
        assert share == pytest.approx(expected.get(term, 0.0), abs=1e-12)


def grid_cells(hole: bool = False) -> pd.DataFrame:
    """HD regrets = GRID for two seeds: L0 = 2, L* = 0 through a perfect base cell."""
    rows = [cell("sgd", 0.1, seed, 0.0) for seed in (0, 1)]
    for i, lr in enumerate((1e-4, 1e-3, 1e-2, 1e-1)):
        for j, beta in enumerate((1e-4, 1e-3, 1e-2)):
            rows += [hd_cell(lr, s, 2 * GRID[i, j], beta) for s in (0, 1) if not (hole and i == j)]
    rows += [hd_cell(0.0, s, 1.9, 1e-3) for s in (0, 1)]  # its own stratum: not in the grid
    return frame(rows)


def test_importance_of_an_arm() -> None:
    table = importance(grid_cells()).set_index("term")
    assert list(table.index) == ["lr", "hypergrad_lr", "lr x hypergrad_lr"]
    assert table["share"].tolist() == pytest.approx([0.096405, 0.069853, 0.833742], abs=1e-6)
    assert table["variance"].iloc[0] == pytest.approx(0.085)
    assert (table["share_lower"] == table["share"]).all()  # both seeds agree
    assert set(table["n_points"]) == {12}


def test_a_grid_with_holes_is_left_out_and_named() -> None:
    table = importance(grid_cells(hole=True))
    assert table.empty
    assert "sgd_hd on toy: left out, its grid has holes" in table.attrs["restrictions"]


def test_effective_dimensionality_by_hand() -> None:
    """Two tasks whose best lr differs and whose second factor does not matter: one to tune."""
    first = np.array([[1.0, 1.0], [0.6, 0.6], [0.0, 0.0]])
    result = cross_task_measures(np.stack([first, first[::-1]]), 2)
    assert result.tuned_score == 1.0
    assert result.default_score == pytest.approx(0.6)
    assert result.sensitivity == pytest.approx(0.4)
    assert result.dimensionality == 1


def test_a_point_that_is_best_everywhere_needs_no_tuning_and_a_diagonal_needs_both() -> None:
    same = np.array([[1.0, 0.2], [0.3, 0.0]])
    assert cross_task_measures(np.stack([same, same]), 2).dimensionality == 0
    assert cross_task_measures(np.stack([same, same]), 2).sensitivity == 0
    diagonal = np.array([[1.0, 0.0], [0.0, 0.0]])
    result = cross_task_measures(np.stack([diagonal, diagonal[::-1, ::-1]]), 2)
    assert result.dimensionality == 2
    assert result.sensitivity == 0.5


def two_tasks() -> pd.DataFrame:
    losses = {"a": (0.2, 0.5, 1.5), "b": (1.5, 0.5, 0.2)}
    return frame(
        cell("sgd", lr, seed, loss + 0.01 * seed, task=task)
        for task, row in losses.items()
        for lr, loss in zip((0.01, 0.1, 1.0), row, strict=True)
        for seed in range(3)
    )


def test_cross_task_table_scales_by_percentiles_of_each_task() -> None:
    table = cross_task_table(two_tasks()).set_index("arm")
    points = -np.array([0.21, 0.51, 1.51])
    low, high = np.percentile(points, [5, 95])
    score = (points - low) / (high - low)
    assert table.loc["sgd", "tuned_score"] == pytest.approx(score[0])
    assert table.loc["sgd", "cross_task_sensitivity"] == pytest.approx(score[0] - score[1])
    assert table.loc["sgd", "effective_dimensionality"] == 1
    assert table.loc["sgd", "n_seeds"] == 3
    merged = sensitivity_table(two_tasks())
    assert merged["cross_task_sensitivity"].tolist() == pytest.approx([score[0] - score[1]] * 2)


def test_one_task_is_not_enough_to_compare_tasks() -> None:
    with pytest.raises(InputError, match=r"cells: tasks must be at least two \(got \['toy'\]\)"):
        cross_task_table(grid_cells())
    assert "cross_task_sensitivity" not in sensitivity_table(grid_cells())


def traced(lrs: dict[str, list[float]]) -> pd.DataFrame:
    return pd.DataFrame(
        {"cell_id": cell_id, "step": step, "lr": lr}
        for cell_id, values in lrs.items()
        for step, lr in zip((1, 2, 5, 10), values, strict=True)
    )


def test_trajectories_by_hand() -> None:
    cells = frame([hd_cell(0.0, s, 0.5) for s in range(3)] + [hd_cell(0.1, 0, 0.5)])
    traces = traced(
        {
            cells["cell_id"][0]: [0.0, 0.0, 0.2, 0.1],
            cells["cell_id"][1]: [0.0, 0.3, 0.0, -0.3],
            cells["cell_id"][2]: [0.0, 0.0, 0.0, 0.0],
            cells["cell_id"][3]: [0.1, 0.4, 0.2, -0.2],
            "of another study": [9.0, 9.0, 9.0, 9.0],
        }
    ).sample(frac=1, random_state=0)
    table = trajectory_table(cells, traces).set_index("lr")
    assert table.loc[0.0, "left_zero"] == pytest.approx(2 / 3)
    assert table.loc[0.0, "steps_to_leave_zero"] == 5  # 2, 5 and never
    assert table.loc[0.0, "lr_final"] == pytest.approx(0.0)  # median of 0.1, -0.3 and 0
    assert table.loc[0.0, "lr_peak"] == pytest.approx(0.2)  # median of 0.2, 0.3 and 0
    assert table.loc[0.0, "lr_peak_step"] == 2  # of 5, 2 (the first of equals) and 1
    assert table.loc[0.0, "sign_changes"] == 0  # of 0, 1 and 0
    assert table.loc[0.1, "sign_changes"] == 1
    assert table.loc[0.1, "lr_peak"] == pytest.approx(0.4)
    assert np.isnan(table.loc[0.1, "left_zero"])
    assert table["n_traced"].tolist() == [3, 1]


def test_a_cell_without_a_trace_is_counted_as_such() -> None:
    cells = frame([hd_cell(0.0, s, 0.5) for s in range(2)])
    table = trajectory_table(cells, traced({cells["cell_id"][0]: [0.0, 0.1, 0.1, 0.1]}))
    assert (table["n_seeds"].item(), table["n_traced"].item()) == (2, 1)
    assert table["left_zero"].item() == 1
    with pytest.raises(InputError, match="traces: column 'lr' must be there; pass a frame"):
        trajectory_table(cells, pd.DataFrame({"cell_id": [], "step": []}))
