from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cell_frames import cell, frame, hd_cell, small_study

from hdsens.analysis import (
    cells_at,
    importance,
    join_cells,
    regret_table,
    sensitivity_table,
    steps_to_target_table,
    trajectory_table,
    tunability_curve,
    verdict,
)
from hdsens.analysis.panel.families import Family, families_of_cells
from hdsens.errors import InputError


def test_joined_studies_keep_their_factors_and_expectations() -> None:
    one = small_study()
    two = frame(cell("adam", 0.1, s, 1.0, task="other", momentum=0.9) for s in range(2))
    one.attrs = {"factors": ["lr", "hypergrad_lr"], "expected": 24}
    two.attrs = {"factors": ["lr", "hypergrad_lr", "momentum"], "expected": 3}
    joined = join_cells([one, two])
    factors = ["lr", "hypergrad_lr", "momentum"]
    assert joined.attrs == {"factors": factors, "expected": 27, "n_rows": 26}
    assert list(joined.columns) == [*one.columns, "momentum"]
    table = regret_table(joined)
    assert table.attrs["accounting"]["missing"] == 1
    assert table.groupby("task")["reference_loss"].first().to_dict() == {"other": 1.0, "toy": 0.4}
    two.attrs.pop("expected")
    assert "expected" not in join_cells([one, two]).attrs


def test_cells_at_an_earlier_budget() -> None:
    cells = frame(
        [
            cell("sgd", 0.1, 0, 0.2),
            cell("sgd", 0.1, 1, None, diverged_step=50),
            cell("sgd", 0.1, 2, None, diverged_step=10),
        ]
    )
    ids = cells["cell_id"]
    traces = pd.DataFrame(
        {
            "cell_id": [ids[0], ids[0], ids[1], ids[1]],
            "step": [10, 30, 10, 30],
            "train_loss": [1.0, 0.6, 1.2, 0.7],
        }
    )
    at_30 = cells_at(cells, traces, 0.3)
    assert at_30["train_loss"][:2].tolist() == [0.6, 0.7]
    assert at_30["outcome"].tolist() == ["completed", "completed", "diverged"]
    assert np.isnan(at_30["train_loss"][2])
    assert regret_table(at_30)["n_diverged"].item() == 1
    with pytest.raises(
        InputError, match=r"2 cells must be evaluated at 0\.2 of the budget; add 0\.2"
    ):
        cells_at(cells, traces, 0.2)


def test_what_a_cell_reached_later_does_not_count_at_an_earlier_budget() -> None:
    cells = frame([cell("sgd", 0.1, 0, 0.2, steps_to_x=20.0, steps_to_y=40.0)])
    cells = cells.assign(best_valid_loss=0.1, lr_max=0.9)
    traces = pd.DataFrame(
        {
            "cell_id": cells["cell_id"][0],
            "step": [10, 30, 100],
            "train_loss": [1.0, 0.6, 0.2],
            "valid_loss": [0.5, 0.7, 0.1],
        }
    )
    (then,) = cells_at(cells, traces, 0.3).to_dict("records")
    assert (then["steps_to_x"], then["best_valid_loss"]) == (20, 0.5)
    assert (then["steps"], then["steps_run"]) == (30, 30)
    assert np.isnan([then["steps_to_y"], then["lr_max"]]).all()


def test_rows_that_were_taken_out_are_not_missing() -> None:
    cells = small_study()
    cells.attrs |= {"expected": len(cells) + 1, "n_rows": len(cells)}
    assert regret_table(cells).attrs["accounting"]["missing"] == 1
    one = cells[cells["arm"] == "sgd"]
    assert regret_table(one).attrs["accounting"]["missing"] == 0
    assert regret_table(join_cells([one])).attrs["accounting"]["missing"] == 0


def test_overlapping_results_that_lack_cells_promise_no_number() -> None:
    """Both lack the same cell here; the sum would count it twice."""
    cells = small_study()
    part = cells.iloc[1:].copy()
    part.attrs["expected"] = len(cells)
    assert regret_table(join_cells([part, part])).attrs["accounting"]["missing"] == 1


def test_a_verdict_on_nothing_has_its_columns_and_says_so() -> None:
    found = verdict(small_study().query("arm == 'sgd_hd'"))
    assert "verdict" in found.joint
    assert "supported" in found.window
    assert "No arm could be compared with its baseline" in str(found)


def test_sensitivity_to_any_factor() -> None:
    """Momentum is no learning rate: its zero is a level like any other."""
    losses = {0.0: 1.0, 0.5: 0.5, 0.9: 0.0}
    cells = frame(
        cell("sgd", 0.1, s, loss, momentum=m, cell_id=f"{m}/{s}")
        for m, loss in losses.items()
        for s in range(2)
    )
    cells.attrs["factors"] = ["lr", "momentum"]
    row = sensitivity_table(cells, factor="momentum").iloc[0]
    assert (row["n_levels"], row["regret_mean"], row["best_level"]) == (3, 0.25, 0.9)
    assert row["lr"] == 0.1
    with pytest.raises(InputError, match="factor must be one of lr, momentum"):
        sensitivity_table(cells, factor="nesterov")


def test_a_factor_may_be_text() -> None:
    cells = frame(
        cell("adam", 0.1, s, loss, betas=betas, cell_id=f"{betas}/{s}")
        for betas, loss in (([0.9, 0.99], 0.5), ([0.8, 0.9], 1.0))
        for s in range(2)
    )
    cells.attrs["factors"] = ["lr", "betas"]
    assert sensitivity_table(cells, factor="betas")["regret_mean"].tolist() == [
        pytest.approx(1 / 6)
    ]


def test_a_baseline_with_a_factor_of_its_own_is_ambiguous() -> None:
    rows = [cell("sgd", 0.1, 0, 1.0, momentum=m, cell_id=str(m)) for m in (0.0, 0.9)]
    cells = frame([*rows, hd_cell(0.1, 0, 1.0, momentum=np.nan)])
    cells.attrs["factors"] = ["lr", "hypergrad_lr", "momentum"]
    with pytest.raises(
        InputError, match=r"baseline 'sgd' must match at one point \(got '2 points'\)"
    ):
        sensitivity_table(cells)


def test_every_table_is_made_of_twenty_five_thousand_cells() -> None:
    """Quadratic work would run into the suite's time limit; the benchmark times 100,000."""
    path = Path(__file__).parents[2] / "benchmarks" / "analysis_speed.py"
    speed = runpy.run_path(str(path))
    cells = speed["cells"](n_tasks=2)
    assert len(cells) == 25_200
    for table in speed["work"](cells, speed["traces"](cells)).values():
        table()


def test_analysis_needs_no_trainer_and_no_plotter() -> None:
    heavy = ("torch", "ray", "optuna", "matplotlib", "seaborn")
    code = f"import sys, hdsens.analysis; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


PARTS = {
    "everything failed": lambda c: c.assign(
        outcome="failed", train_loss=np.nan, initial_loss=np.nan
    ),
    "one cell": lambda c: c.iloc[:1],
    "lr = 0 alone": lambda c: c[c["lr"] == 0],
    "no baseline": lambda c: c[c["arm"] == "sgd_hd"],
    "pilot seeds alone": lambda c: c[c["role"] == "pilot"],
    "losses not finite": lambda c: c.assign(train_loss=c["train_loss"] + np.inf),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_store_half_full_gives_tables(name: str) -> None:
    cells = PARTS[name](small_study().assign(steps_to_x=3.0)).reset_index(drop=True)
    traces = pd.DataFrame({"cell_id": cells["cell_id"], "step": 1, "lr": cells["lr"]})
    assert len(regret_table(cells)) == len(cells.groupby(["arm", "lr"]))
    assert len(trajectory_table(cells, traces)) == len(steps_to_target_table(cells))
    assert not tunability_curve(cells)["best"].isna().any() or name == "everything failed"
    assert not sensitivity_table(cells).empty
    assert set(importance(cells)["n_points"]) <= {3}
    if name == "one cell":
        with pytest.raises(InputError, match="has nothing to judge: no arm names a baseline"):
            verdict(cells)
    else:
        assert "supported" not in set(verdict(cells).parts["verdict"])
        assert str(verdict(cells)).startswith("Verdict (exploratory)")


def test_no_cells_at_all_is_an_error() -> None:
    with pytest.raises(InputError, match="cells must hold at least one; run the study first"):
        regret_table(small_study().iloc[:0])


def test_families_follow_from_the_names_of_baselines_alone() -> None:
    cells = pd.DataFrame(
        {
            "arm": ["hd", "hd", "sgd", "momentum", "adam", "adamw"],
            "baseline": ["sgd", "sgd", np.nan, "sgd", "", "gone"],
            "hypergrad_lr": [1e-3, 1e-2, 1e-4, np.nan, 1e-3, np.nan],
        }
    )
    found = families_of_cells(cells)
    assert found == (Family("sgd", ("hd", "momentum")), Family("adam"), Family("gone", ("adamw",)))
    sides = {arm: family.side(arm) for family in found for arm in family.arms}
    assert sides == {
        "sgd": "base",
        "hd": "compared",
        "momentum": "compared",
        "adam": "alone",
        "gone": "base",
        "adamw": "compared",
    }
