from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cell_frames import L0
from scipy import stats
from verdict_studies import BASE, GOOD, PROTOCOL, RATES, ROBUST, TWO_BETAS, Design, curve, parts

import hdsens.study
from hdsens.analysis import Margins, Protocol, against, verdict
from hdsens.errors import InputError


def test_a_robust_arm_is_supported_in_every_part() -> None:
    result = verdict(replace(GOOD, betas=TWO_BETAS).cells(), PROTOCOL)
    assert parts(result) == dict.fromkeys(("C1", "C2", "C3", "C4"), "supported")
    assert result.joint["verdict"].item() == "supported"
    assert result.label == "confirmatory"
    assert result.deviations == ("what was declared when the cells were trained is not recorded",)
    c1 = result.parts.query("primary").set_index("part").loc["C1"]
    assert c1["side"] == "both"
    expected = np.mean([0.01] * 6 + [0, 0.01, 0.1]) - 0.5 * np.mean(BASE)
    assert c1["effect"] == pytest.approx(expected, abs=0.003)
    assert c1["lower"] < c1["effect"] < c1["upper"] < 0
    assert c1["n_seeds"] == 10
    assert "SUPPORTED: sgd_hd against sgd at hypergrad_lr = 0.001" in str(result)


def test_an_arm_that_fails_everywhere_is_never_robust() -> None:
    fails = curve([1.0] * 9)
    result = verdict(Design(curve(BASE), fails, zero=None).cells(), PROTOCOL)
    assert parts(result) == dict.fromkeys(("C1", "C2", "C3", "C4"), "refuted")
    assert result.joint["verdict"].item() == "refuted"
    assert result.joint["refuted_on_this_ladder"].item()
    both = verdict(Design(fails, fails, zero=None).cells(), PROTOCOL)
    assert "supported" not in parts(both).values()


def test_equal_arms_are_never_worse_and_no_less_sensitive() -> None:
    """What beta = 0 gives: seed by seed the same losses."""
    base = curve(BASE)
    result = verdict(Design(base, base, zero=1.0 - 1e-9, betas=TWO_BETAS).cells(), PROTOCOL)
    assert parts(result) == {"C1": "refuted", "C2": "refuted", "C3": "supported", "C4": "supported"}
    assert result.joint["verdict"].item() == "refuted"


def test_one_bad_level_is_caught_and_named() -> None:
    bad = curve([0.01, 0.01, 0.01, 0.01, 0.01, 0.1, 0.0, 0.01, 0.1])
    result = verdict(Design(curve(BASE), bad).cells(), PROTOCOL)
    c3 = result.parts.set_index("part").loc["C3"]
    assert c3["verdict"] == "refuted"
    assert c3["decided_by"] == "lr = 0.0316228"
    assert c3["effect"] == pytest.approx(0.06, abs=0.004)
    assert parts(result)["C1"] == "supported"
    assert result.joint["not_supported"].item() == "C3 on toy, C4 on toy"


def test_a_level_where_both_diverge_is_shown_and_not_tested() -> None:
    hd = curve([0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.0, 0.01, 1.0])
    result = verdict(Design(curve(BASE), hd).cells(), PROTOCOL)
    last = result.levels[result.levels["lr"] == 1.0].iloc[0]
    assert (last["base_diverged"], last["hd_diverged"], last["tested"]) == (10, 10, False)
    assert np.isnan(last["p_worse"])
    assert parts(result)["C3"] == "supported"


def test_where_the_base_does_not_work_c3_is_not_tested() -> None:
    result = verdict(GOOD.cells(), PROTOCOL)
    tested = result.levels[result.levels["tested"]]["lr"]
    works = [lr for lr, r in zip(RATES, BASE, strict=True) if r < 0.49]
    assert set(works) <= set(tested) <= {*works, RATES[3]}  # 0.5 is on the edge


def test_insensitivity_on_one_side_is_named() -> None:
    hd = curve([0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.0, 0.3, 1.0])
    c1 = verdict(Design(curve(BASE), hd).cells(), PROTOCOL).parts.set_index("part").loc["C1"]
    assert (c1["verdict"], c1["side"]) == ("supported", "below")


def test_a_side_whose_interval_covers_zero_is_not_named() -> None:
    """Above the best lr the estimate is below 0 by 0.045, and the seeds differ by 0.2."""

    def wide_above(lr: float, seed: int) -> float:
        above = RATES.index(lr) > 6
        return L0 * (0.28 + 0.1 * (-1) ** seed) if above else ROBUST(lr, seed)

    c1 = (
        verdict(Design(curve(BASE), wide_above).cells(), PROTOCOL).parts.set_index("part").loc["C1"]
    )
    assert 0.28 - 0.5 * np.mean(BASE[7:]) == pytest.approx(-0.045)
    assert (c1["verdict"], c1["side"]) == ("supported", "below")


def test_giving_up_the_best_refutes_insensitivity() -> None:
    flat = curve([0.1] * 9)
    c1 = verdict(Design(curve(BASE), flat).cells(), PROTOCOL).parts.set_index("part").loc["C1"]
    assert c1["effect"] < 0
    assert c1["check_effect"] == pytest.approx(0.1, abs=0.004)
    assert c1["verdict"] == "refuted"


def test_tuning_that_hides_in_the_second_hyperparameter_is_found() -> None:
    """One beta is robust; on the others nothing works: best of k draws suffers."""
    cells = Design(curve(BASE), ROBUST, betas=(1e-5, 1e-4, 1e-3, 1e-2, 1e-1)).cells()
    other = (cells["arm"] == "sgd_hd") & (cells["hypergrad_lr"] != 1e-3)
    cells.loc[other, ["outcome", "train_loss"]] = ["diverged", np.nan]
    result = verdict(cells, PROTOCOL)
    c4 = result.parts[result.parts["part"] == "C4"].iloc[0]
    assert c4["verdict"] == "refuted"
    assert c4["decided_by"] == ", ".join(f"k = {k}" for k in range(1, 9))
    assert result.window["supported"].tolist() == [(1e-3,), (1e-3,)]
    assert result.window["decades"].tolist() == [1.0, 1.0]
    ladder = result.joint.iloc[0]
    assert (ladder["n_settings"], ladder["n_settings_refuted"]) == (5, 4)
    assert not ladder["refuted_on_this_ladder"]


@pytest.mark.parametrize(
    ("diverged", "expected"), [(0, "supported"), (2, "inconclusive"), (3, "refuted")]
)
def test_divergence_at_zero(diverged: int, expected: str) -> None:
    """3 of 10 has a one-sided lower bound of 0.087; 2 of 10 one of 0.037."""
    cells = GOOD.cells()
    at_zero = (cells["arm"] == "sgd_hd") & (cells["lr"] == 0) & (cells["seed"] < diverged)
    cells.loc[at_zero, ["outcome", "train_loss"]] = ["diverged", np.nan]
    c2 = verdict(cells, PROTOCOL).parts.set_index("part").loc["C2"]
    assert c2["verdict"] == expected
    assert c2["check_effect"] == diverged / 10


def test_nine_seeds_cannot_support_that_zero_works() -> None:
    design = Design(curve(BASE), ROBUST, seeds=tuple(range(9)))
    result = verdict(design.cells(), PROTOCOL)
    assert parts(result)["C2"] == "inconclusive"
    assert "sgd_hd on toy (hypergrad_lr = 1e-3): 9 paired seeds instead of 10, 20 or 30" in (
        result.deviations
    )


def test_missing_and_failed_cells_are_said_and_never_unpaired() -> None:
    cells = GOOD.cells()
    sgd = (cells["arm"] == "sgd") & (cells["lr"] == 0.1)
    cells.loc[sgd & (cells["seed"] == 4), ["outcome", "train_loss"]] = ["failed", np.nan]
    result = verdict(cells[~(sgd & (cells["seed"] == 2))], PROTOCOL)
    assert (
        "sgd_hd on toy (hypergrad_lr = 1e-3): seeds 2, 4 left out of C1,"
        " a cell is failed or missing"
    ) in result.deviations
    assert result.parts.set_index("part").loc["C1", "n_seeds"] == 8
    at_level = result.levels.set_index("lr")["n_seeds"]
    assert (at_level[0.1], at_level[0.01]) == (8, 10)
    assert (result.account.failed, result.account.missing) == (1, 1)


def test_unequal_grids_are_restricted_and_named() -> None:
    cells = GOOD.cells()
    cells = cells[~((cells["arm"] == "sgd_hd") & (cells["lr"].isin([0.0, 1.0])))]
    result = verdict(cells, PROTOCOL)
    assert {
        "sgd_hd on toy (hypergrad_lr = 1e-3): lr 1 not in both arms, left out",
        "sgd_hd on toy (hypergrad_lr = 1e-3): lr = 0 was not run, C2 is not tested",
    } <= set(result.deviations)
    assert parts(result)["C2"] == "inconclusive"
    assert len(result.levels) == 8


def test_without_a_protocol_nothing_is_confirmatory() -> None:
    cells = GOOD.cells().query("role == 'confirmatory'")
    result = verdict(cells)
    assert result.label == "exploratory"
    assert result.deviations[0] == "no protocol was frozen"
    assert "no pilot seeds" in result.deviations[1]
    assert result.joint["verdict"].item() == "inconclusive"
    assert not result.parts["primary"].any()
    assert "no setting was fixed beforehand" in str(result)
    assert verdict(GOOD.cells(), {"pilot_seeds": [100, 101, 102]}).label == "exploratory"
    assert verdict(cells, PROTOCOL).label == "exploratory"  # the pilot seeds have no cells


def test_departures_from_the_protocol_are_listed() -> None:
    protocol = {
        "pilot_seeds": [100, 101, 102, 103],
        "primary": {"sgd_hd": {"hypergrad_lr": 1e-5}},
        "margins": {"best": 0.1},
    }
    cells = GOOD.cells()
    cells.loc[cells["arm"] == "sgd_hd", "steps"] = 200
    assert set(verdict(cells, protocol).deviations) == {
        "pilot seeds 103 have no cells",
        "pilot seeds 103 were not run on toy",
        "what was declared when the cells were trained is not recorded",
        "margin best = 0.1 instead of 0.02",
        "arm sgd_hd: not tested at a primary setting: it was not run",
        "task 'toy': unequal budgets of 100, 200 steps",
    }


def test_a_protocol_is_the_study_s_however_it_is_given() -> None:
    assert (Protocol, Margins) == (hdsens.study.Protocol, hdsens.study.Margins)
    cells = GOOD.cells()
    as_object = SimpleNamespace(**PROTOCOL, margins=SimpleNamespace(ratio=0.5))
    with_arrays = {**PROTOCOL, "pilot_seeds": np.array([100, 101, 102]), "margins": None}
    as_value = Protocol(pilot_seeds=(100, 101, 102), primary=PROTOCOL["primary"])
    expected = verdict(cells, PROTOCOL)
    for given in (as_object, with_arrays, as_value):
        pd.testing.assert_frame_equal(verdict(cells, given).parts, expected.parts)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"margins": {"wurst": 1}}, "protocol: margins has no key 'wurst'; did you mean 'worse'?"),
        (
            {"margins": {"ratio": 0}},
            "protocol: margins: ratio must be greater than 0 (got 0); correct the value",
        ),
        ({"pilot_seeds": None}, "protocol needs 'pilot_seeds'; add it"),
        (
            {"pilot_seeds": [1, 1]},
            "protocol: pilot_seeds must differ from each other (got [1, 1]); name each seed once",
        ),
    ],
)
def test_what_no_protocol_can_be_is_told_in_one_line(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        verdict(GOOD.cells(), PROTOCOL | wrong)
    assert str(error.value) == message


def test_without_a_baseline_there_is_nothing_to_judge() -> None:
    with pytest.raises(InputError, match="verdict has nothing to judge: no arm names a baseline"):
        verdict(GOOD.cells().query("arm == 'sgd'"))


def by_seed(cells: pd.DataFrame, arm: str, lr: float) -> np.ndarray:
    chosen = cells.query("arm == @arm and lr == @lr and role == 'confirmatory'")
    return chosen.sort_values("seed")["train_loss"].to_numpy()


def test_levels_are_tested_by_scipys_paired_t_and_adjusted_over_levels_and_tasks() -> None:
    """The margin is 0.02 of regret, so 0.02 · (L0 - L*) of loss."""
    slightly = curve([0.01, 0.01, 0.01, 0.01, 0.2, 0.062, 0.0, 0.31, 0.1], spread=0.004)
    cells = Design(curve(BASE), slightly).cells()
    best = cells[cells["role"] == "pilot"].groupby(["arm", "lr"])["train_loss"].mean().min()
    expected = {}
    for lr in RATES[4:8]:
        loss = by_seed(cells, "sgd_hd", lr) - by_seed(cells, "sgd", lr)
        test = stats.ttest_1samp(loss / (L0 - best), 0.02, alternative="greater")
        interval = stats.ttest_1samp(loss / (L0 - best), 0.0).confidence_interval(0.9)
        expected[lr] = (test.pvalue, interval.low, interval.high)
    twice = pd.concat([cells, cells.assign(task="twin", cell_id="t" + cells["cell_id"])])
    one, two = (verdict(c.reset_index(drop=True), PROTOCOL).levels for c in (cells, twice))
    for lr, (_, low, high) in expected.items():
        row = one[one["lr"] == lr].iloc[0]
        assert (row["lower"], row["upper"]) == pytest.approx((low, high))
    smallest = min(p for p, _, _ in expected.values())
    assert 1e-4 < smallest < 0.2
    n_tested = one["tested"].sum()
    assert one["p_worse"].min() == pytest.approx(smallest * n_tested)
    assert two["p_worse"].min() == pytest.approx(smallest * 2 * n_tested)


def test_margins_move_the_verdict() -> None:
    flat = curve([0.1] * 9)
    cells = Design(curve(BASE), flat, betas=TWO_BETAS).cells()
    wide = PROTOCOL | {"margins": {"best": 0.2, "worse": 0.2, "tuning": 0.2}}
    assert parts(verdict(cells, wide)) == dict.fromkeys(("C1", "C2", "C3", "C4"), "supported")


def test_over_tasks_one_failure_denies_the_whole() -> None:
    bad = Design(curve(BASE), curve([1.0] * 9))
    cells = pd.concat([GOOD.cells(task="easy"), bad.cells(task="hard")], ignore_index=True)
    result = verdict(cells, PROTOCOL)
    joint = result.joint.iloc[0]
    assert (joint["n_tasks"], joint["verdict"]) == (2, "refuted")
    assert joint["not_supported"] == "C1 on hard, C3 on hard, C4 on easy, C4 on hard"
    window = result.window.set_index("task")["supported"]
    assert (window["easy"], window["hard"], window["all tasks"]) == ((1e-3,), (), ())


def test_any_two_arms_can_be_compared() -> None:
    cells = GOOD.cells()
    base = cells[cells["arm"] == "sgd"]
    other = base.assign(arm="momentum", cell_id="m" + base["cell_id"])
    result = verdict(against(pd.concat([cells, other], ignore_index=True), "momentum", "sgd"))
    assert set(result.parts["arm"]) == {"momentum"}
    assert result.window.empty
    assert parts(result)["C3"] == "supported"
    with pytest.raises(InputError, match=r"arm must be one of sgd, sgd_hd \(got 'adam'\)"):
        against(cells, "adam", "sgd")


def test_a_shared_factor_is_matched_and_a_free_one_is_not() -> None:
    """Momentum varies in both arms: HD at 0.9 is compared with the base at 0.9."""
    low = GOOD.cells(momentum=0.0)
    high = Design(curve(BASE), curve([0.1] * 9)).cells(momentum=0.9)
    cells = pd.concat([low, high.assign(cell_id="h" + high["cell_id"])], ignore_index=True)
    cells.attrs["factors"] = ["lr", "hypergrad_lr", "momentum"]
    result = verdict(cells, PROTOCOL)
    c3 = result.parts[result.parts["part"] == "C3"].set_index("momentum")["verdict"]
    assert c3.to_dict() == {0.0: "supported", 0.9: "refuted"}
    assert (
        "C3 never worse than the baseline: REFUTED  [hypergrad_lr = 0.001, momentum = 0.9]"
    ) in str(result)
    assert "arm sgd_hd on toy: 2 settings fit the primary one, all are tested" in result.deviations


def test_the_share_that_diverges_has_the_one_sided_bounds_that_the_rule_uses() -> None:
    """0 of 10 only says below 26%: 1 - 0.05 ** (1 / 10)."""
    result = verdict(GOOD.cells(), PROTOCOL)
    c2 = result.parts.set_index("part").loc["C2"]
    assert (c2["check_lower"], c2["check_upper"]) == (0, pytest.approx(1 - 0.05**0.1))
    line = "      share of seeds that diverged = 0 [0, 0.259] (each bound one-sided 95%)"
    assert line in str(result).splitlines()
    cells = GOOD.cells()
    at_zero = (cells["arm"] == "sgd_hd") & (cells["lr"] == 0) & (cells["seed"] < 3)
    cells.loc[at_zero, ["outcome", "train_loss"]] = ["diverged", np.nan]
    c2 = verdict(cells, PROTOCOL).parts.set_index("part").loc["C2"]
    expected = stats.binomtest(3, 10, 0.05, alternative="greater").proportion_ci(0.95).low
    assert c2["check_lower"] == pytest.approx(expected)


def test_one_seed_gives_no_interval_and_names_a_level_that_the_rule_is_about() -> None:
    result = verdict(replace(GOOD, seeds=(0,), betas=TWO_BETAS).cells(), PROTOCOL)
    assert set(parts(result).values()) == {"inconclusive"}
    rows = result.parts.query("primary").set_index("part")
    assert rows.loc["C3", "quantity"] == "r(sgd_hd) − r(sgd) at lr = 0.1"  # the least good
    assert rows["effect"].notna().all()
    assert rows[["lower", "upper"]].isna().all(axis=None)
    assert set(rows["n_seeds"]) == {1}
    told = rows["decided_by"]
    assert told["C2"] == "lr = 0, 1 seed, 0 diverged; 10 seeds are needed"
    for part in ("C1", "C3", "C4"):
        assert "; 1 seed: no interval" in told[part] or ", 1 seed: no interval;" in told[part]
    text = str(result)
    assert "no value" not in text
    effect = f"{rows.loc['C3', 'effect']:.3g}"
    assert f"r(sgd_hd) − r(sgd) at lr = 0.1 = {effect} without interval (n = 1)" in text


def test_where_nothing_is_tested_no_level_is_named() -> None:
    bad = curve([0.9] * 9)
    c3 = verdict(Design(bad, bad).cells(), PROTOCOL).parts.set_index("part").loc["C3"]
    assert c3["quantity"] == "r(sgd_hd) − r(sgd)"
    assert (c3["n_seeds"], np.isnan(c3["effect"])) == (0, True)
