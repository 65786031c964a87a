"""Cells that are missing, failed or diverged where something is chosen: never an advantage."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cell_frames import L0, cell, frame, hd_cell
from verdict_studies import BASE, GOOD, PROTOCOL, RATES, REFUTED, ROBUST, Design, curve, parts

from hdsens.analysis import (
    regret_table,
    sensitivity_table,
    steps_to_target_table,
    tunability_curve,
    verdict,
)

RANK = {"refuted": 0, "inconclusive": 1, "supported": 2}


def lose(cells: pd.DataFrame, at: pd.Series, how: str) -> pd.DataFrame:
    """Cells that diverge, fail or are not there."""
    if how == "missing":
        return cells[~at]
    return cells.assign(
        outcome=cells["outcome"].mask(at, how), train_loss=cells["train_loss"].mask(at)
    )


def pilot(cells: pd.DataFrame, arm: str, lr: float, seeds: tuple[int, ...]) -> pd.Series:
    return (cells["arm"] == arm) & (cells["lr"] == lr) & cells["seed"].isin(seeds)


@pytest.mark.parametrize("how", ["missing", "failed", "diverged"])
@pytest.mark.parametrize("lost", [(100,), (100, 101, 102)])
@pytest.mark.parametrize("part", REFUTED)
def test_no_gap_among_the_pilot_seeds_turns_refuted_into_supported(
    part: str, lost: tuple[int, ...], how: str
) -> None:
    """Wherever on the base's curve the gap lies: it moves L*, the best lr and C3's levels."""
    cells = REFUTED[part].cells()
    assert parts(verdict(cells, PROTOCOL))[part] == "refuted"
    for lr in RATES[5:7]:
        result = verdict(lose(cells, pilot(cells, "sgd", lr, lost), how), PROTOCOL)
        assert parts(result)[part] != "supported", (lr, result.deviations)


@pytest.mark.parametrize("how", ["missing", "failed"])
@pytest.mark.parametrize(("arm", "lr"), [("sgd", 0.1), ("sgd_hd", 1.0), ("sgd_hd", 0.0)])
def test_a_pilot_cell_without_a_result_holds_support_back_and_is_named(
    arm: str, lr: float, how: str
) -> None:
    cells = GOOD.cells()
    result = verdict(lose(cells, pilot(cells, arm, lr, (101,)), how), PROTOCOL)
    reason = (
        "1 pilot cells of sgd and its family on toy are missing or failed, the first"
        f" {arm} at lr = {lr:g}, seed 101"
    )
    assert set(parts(result).values()) == {"inconclusive"}
    assert all(reason in text for text in result.parts["held_back"])
    assert reason in result.deviations
    assert result.joint["verdict"].item() == "inconclusive"
    assert result.window["supported"].tolist() == [(), ()]


def test_a_pilot_seed_that_was_not_run_holds_support_back() -> None:
    protocol = PROTOCOL | {"pilot_seeds": [100, 101, 102, 103]}
    result = verdict(GOOD.cells(), protocol)
    assert set(parts(result).values()) == {"inconclusive"}
    assert "pilot seeds 103 were not run on toy" in result.deviations


def test_a_refuted_part_stays_refuted_whatever_the_pilot_lacks() -> None:
    cells = REFUTED["C3"].cells()
    at = pilot(cells, "sgd", RATES[5], (100, 101))
    assert parts(verdict(lose(cells, at, "missing"), PROTOCOL))["C3"] == "refuted"


def test_a_pilot_cell_that_diverges_at_the_bases_best_lr_is_bad_luck_and_no_help() -> None:
    """C2 compares lr = 0 with the base's best lr: at 0.0316 the base has regret 0.04."""
    cells = REFUTED["C2"].cells()
    at = pilot(cells, "sgd", RATES[6], (100, 101))
    result = verdict(lose(cells, at, "diverged"), PROTOCOL)
    c2 = result.parts.set_index("part").loc["C2"]
    assert c2["verdict"] == "inconclusive"
    assert "only because pilot cells diverged" in c2["held_back"]


def test_a_level_where_a_base_pilot_diverges_is_not_tested_but_must_not_be_worse() -> None:
    cells = REFUTED["C3"].cells()
    result = verdict(lose(cells, pilot(cells, "sgd", RATES[5], (100,)), "diverged"), PROTOCOL)
    level = result.levels.set_index("lr").loc[RATES[5]]
    assert (level["tested"], level["difference"] > 0.02) == (False, True)
    assert parts(result)["C3"] == "inconclusive"
    good = GOOD.cells()
    at = pilot(good, "sgd", RATES[5], (100,))
    assert parts(verdict(lose(good, at, "diverged"), PROTOCOL))["C3"] == "supported"


def test_pilot_seeds_that_misjudge_the_reference_support_nothing() -> None:
    """All three diverge at the best level of both arms; the confirmatory seeds do not."""
    cells = GOOD.cells()
    cells.loc[cells["arm"] == "sgd_hd", "train_loss"] += 0.2
    at = pilot(cells, "sgd", RATES[6], (100, 101, 102)) | pilot(
        cells, "sgd", RATES[5], (100, 101, 102)
    )
    result = verdict(lose(cells, at, "diverged"), PROTOCOL)
    assert "supported" not in parts(result).values()
    assert any("the pilot seeds misjudged the reference: sgd at lr = 0.1" in text
               for text in result.deviations)  # fmt: skip


@pytest.mark.parametrize("how", ["missing", "failed"])
def test_cells_without_a_result_at_zero_are_said_and_hold_c2_back(how: str) -> None:
    design = Design(curve(BASE), ROBUST, seeds=tuple(range(20)))
    cells = design.cells()
    at = (cells["arm"] == "sgd_hd") & (cells["lr"] == 0) & cells["seed"].isin([3, 7])
    result = verdict(lose(cells, at, how), PROTOCOL)
    c2 = result.parts.set_index("part").loc["C2"]
    assert (c2["verdict"], c2["n_seeds"]) == ("inconclusive", 18)
    assert c2["held_back"] == "a cell of seeds 3, 7 has no result"
    assert (
        "sgd_hd on toy (hypergrad_lr = 1e-3): seeds 3, 7 left out of C2, the cell at lr = 0 is"
        " failed or missing"
    ) in result.deviations
    assert {parts(result)[p] for p in ("C1", "C3")} == {"supported"}
    assert "Hold back C2: a cell of seeds 3, 7 has no result." in str(result)


def test_a_seed_that_only_one_arm_ran_supports_nothing() -> None:
    cells = GOOD.cells()
    result = verdict(cells[~((cells["arm"] == "sgd_hd") & (cells["seed"] == 9))], PROTOCOL)
    assert set(parts(result).values()) == {"inconclusive"}
    held = result.parts.set_index("part")["held_back"]
    assert all("a cell of seeds 9 has no result" in held[part] for part in ("C1", "C3", "C4"))


def test_unpaired_seeds_in_tables_are_named() -> None:
    rows = [cell("sgd", lr, s, 1.0, steps_to_x=5) for lr in (0.1, 1.0) for s in range(3)]
    rows += [hd_cell(lr, s, 0.5, steps_to_x=4) for lr in (0.1, 1.0) for s in range(1, 5)]
    cells = frame(rows)
    notes = sensitivity_table(cells).attrs["restrictions"]
    assert "sgd_hd on toy (hypergrad_lr = 1e-3): gap_at_best pairs 2 of 5 seeds" in notes
    notes = tunability_curve(cells).attrs["restrictions"]
    assert "sgd_hd on toy: the difference pairs 2 seeds, the others have none" in notes
    notes = steps_to_target_table(cells).attrs["restrictions"]
    assert "sgd_hd on toy: seeds without a cell of the baseline are in no comparison" in notes


def test_few_seeds_are_named() -> None:
    cells = frame([cell("sgd", 0.1, s, 1.0) for s in range(2)])
    notes = regret_table(cells).attrs["restrictions"]
    assert "1 points have 2 seeds: their intervals are very wide (t = 12.7)" in notes


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_an_untrained_loss_that_is_not_finite_gives_no_regret_and_is_named(bad: float) -> None:
    cells = GOOD.cells()
    cells.loc[cells["seed"] == 4, "initial_loss"] = bad
    table = regret_table(cells)
    assert any("20 cells have an untrained loss L0 that is not finite" in text
               for text in table.attrs["restrictions"])  # fmt: skip
    assert np.isfinite(table["regret_mean"]).all()
    assert set(table["n_seeds"]) == {10}
    result = verdict(cells, PROTOCOL)
    assert "supported" not in parts(result).values()
    cells["initial_loss"] = bad
    assert regret_table(cells)["regret_mean"].isna().all()
    assert set(parts(verdict(cells, PROTOCOL)).values()) == {"inconclusive"}


def test_a_family_that_hardly_learns_gets_no_regret_and_is_named() -> None:
    """L* is 0.3% below L0: any noise would be regret of 1."""
    rows = [
        make(lr, s, L0 * (1 - 0.003 * lr), role="pilot" if s > 9 else "confirmatory")
        for make in (hd_cell, lambda *a, **k: cell("sgd", *a, **k))
        for lr in (0.0, 0.1, 1.0)
        for s in range(13)
    ]
    cells = frame(rows)
    table = regret_table(cells)
    note = (
        "task 'toy': sgd, sgd_hd: no regret, the best of the reference set is less than 1% below"
        " the untrained loss"
    )
    assert table["regret_mean"].isna().all()
    assert note in table.attrs["restrictions"]
    assert note in sensitivity_table(cells).attrs["restrictions"]
    result = verdict(cells, PROTOCOL | {"pilot_seeds": [10, 11, 12]})
    assert set(parts(result).values()) == {"inconclusive"}
    assert note in result.deviations
