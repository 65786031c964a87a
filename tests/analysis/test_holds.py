"""What the grid, the base or the pilot seeds leave open holds back support, with its reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from verdict_studies import BASE, GOOD, PROTOCOL, RATES, TWO_BETAS, Design, curve, parts

from hdsens.analysis import tunability_curve, verdict


def held(cells: pd.DataFrame) -> dict[str, str]:
    return verdict(cells, PROTOCOL).parts.set_index("part")["held_back"].to_dict()


def test_levels_of_the_base_that_an_arm_leaves_out_hold_back_what_rests_on_them() -> None:
    """HD is bad where the base is good, and was not run there."""
    full = replace(GOOD, hd=curve([0.01] * 7 + [0.9, 0.1])).cells()
    assert parts(verdict(full, PROTOCOL))["C3"] == "refuted"
    cut = full[~((full["arm"] == "sgd_hd") & (full["lr"] > 0.3))]
    result = verdict(cut, PROTOCOL)
    assert {parts(result)[part] for part in ("C1", "C3", "C4")} == {"inconclusive"}
    reasons = result.parts.set_index("part")["held_back"]
    assert "sgd_hd was not run at lr = 0.316228, 1 of sgd" in reasons["C1"]
    assert "sgd_hd was not run at lr = 0.316228, 1 of sgd" in reasons["C4"]
    assert reasons["C3"] == "sgd_hd was not run at lr = 0.316228 of sgd"


def test_a_level_left_out_where_the_base_fails_does_not_hold_c3_back() -> None:
    cells = GOOD.cells()
    result = verdict(cells[~((cells["arm"] == "sgd_hd") & (cells["lr"] == 1.0))], PROTOCOL)
    assert parts(result)["C3"] == "supported"
    assert parts(result)["C1"] == "inconclusive"


def test_a_level_left_out_at_one_beta_alone_holds_c4_back() -> None:
    cells = replace(GOOD, betas=TWO_BETAS).cells()
    at = (cells["hypergrad_lr"] == 1e-2) & (cells["lr"] == 0.1)
    assert "sgd_hd was not run at lr = 0.1 of sgd" in held(cells[~at])["C4"]


def test_c4_needs_a_second_factor_that_varied_and_eight_draws() -> None:
    assert held(GOOD.cells())["C4"] == "sgd_hd was run at one level of hypergrad_lr"
    two = replace(GOOD, betas=TWO_BETAS).cells()
    assert parts(verdict(two, PROTOCOL))["C4"] == "supported"
    few = two[two["lr"].isin([0.0, *RATES[5:8]])].reset_index(drop=True)
    assert held(few)["C4"] == "k = 8 needs grids of 8 points, these reach k = 6"


def test_c1_rests_on_the_arms_own_best_lr_though_the_base_was_not_run_there() -> None:
    cells = GOOD.cells()
    cells.loc[(cells["arm"] == "sgd_hd") & (cells["lr"] == 0.01), "train_loss"] = 0.0
    cells = cells[~((cells["arm"] == "sgd") & (cells["lr"] <= 0.01) & (cells["lr"] > 0))]
    lost = (cells["arm"] == "sgd_hd") & (cells["lr"] == 0.01) & cells["seed"].isin([2, 5])
    c1 = verdict(cells[~lost], PROTOCOL).parts.set_index("part").loc["C1"]
    assert c1["verdict"] == "inconclusive"
    assert c1["held_back"] == (
        "sgd was not run at lr = 0.01, the best of sgd_hd; a cell of seeds 2, 5 has no result"
    )
    assert "G at lr = 0.01, baseline at lr = 0.1, 8 paired seeds" in c1["decided_by"]


def test_nothing_is_supported_by_comparison_with_a_base_that_fails_everywhere() -> None:
    """At its best lr the base has regret 0.97; lr = 0 fails alike."""
    bad = curve([0.99] * 6 + [0.97, 0.99, 0.99])
    cells = replace(GOOD, base=bad, hd=curve([0.4] * 6 + [0.0, 0.4, 0.4]), zero=0.97).cells()
    result = verdict(cells, PROTOCOL)
    reasons = result.parts.set_index("part")["held_back"]
    assert reasons["C1"] == "sgd works at no nonzero lr on the pilot seeds"
    assert reasons["C2"] == (
        "sgd works at no nonzero lr on the pilot seeds; mean regret at lr = 0 is 0.97, above 0.5"
    )
    assert parts(result)["C1"] == parts(result)["C2"] == "inconclusive"


def test_zero_works_only_below_half_of_the_regret_of_an_untrained_model() -> None:
    """The other seeds' base is as bad at its best lr as HD at lr = 0; the pilots' was good."""
    cells = replace(GOOD, zero=0.6).cells()
    late = (cells["arm"] == "sgd") & (cells["lr"] == 0.1) & (cells["seed"] < 100)
    cells.loc[late, "train_loss"] += 1.21
    result = verdict(cells, PROTOCOL).parts.set_index("part").loc["C2"]
    assert result["held_back"] == "mean regret at lr = 0 is 0.6, above 0.5"


def test_pilot_seeds_that_are_better_than_all_others_support_nothing() -> None:
    """L* too low by most of L0 - L*: every difference shrinks, and with it what C3 can see."""
    cells = GOOD.cells()
    cells.loc[cells["seed"] >= 100, "train_loss"] -= 5.0
    result = verdict(cells, PROTOCOL)
    assert "supported" not in parts(result).values()
    assert any(
        "the pilot seeds misjudged the reference: no point of sgd and its family on toy has a mean"
        " regret below 0.02 on the other seeds; the lowest," in text
        for text in result.deviations
    )


def two_tasks(*arms: str) -> pd.DataFrame:
    """Task two has these arms alone, at beta = 0.01 alone."""
    one = replace(GOOD, betas=TWO_BETAS).cells()
    two = replace(GOOD, betas=(1e-2,)).cells(task="two")
    return pd.concat([one, two[two["arm"].isin(arms)]], ignore_index=True)


@pytest.mark.parametrize("arms", [("sgd",), ("sgd", "sgd_hd")])
def test_a_task_without_the_primary_setting_is_named_and_denies_the_whole(
    arms: tuple[str, ...],
) -> None:
    result = verdict(two_tasks(*arms), PROTOCOL)
    assert "arm sgd_hd: not tested at its primary setting on two" in result.deviations
    joint = result.joint.iloc[0]
    assert (joint["verdict"], joint["n_tasks"]) == ("inconclusive", 2)
    assert joint["not_supported"] == "C1 on two, C2 on two, C3 on two, C4 on two"
    assert verdict(replace(GOOD, betas=TWO_BETAS).cells(), PROTOCOL).joint["verdict"].item() == (
        "supported"
    )


def test_c4_is_no_test_where_the_primary_setting_was_not_run() -> None:
    protocol = PROTOCOL | {"primary": {"sgd_hd": {"hypergrad_lr": 1e-5}}}
    result = verdict(replace(GOOD, betas=TWO_BETAS).cells(), protocol)
    assert result.label == "exploratory"
    assert not result.parts["primary"].any()


def test_a_primary_level_matches_to_six_digits() -> None:
    cells = replace(GOOD, betas=(float(f"{10**-3.5:.6g}"),)).cells()
    protocol = PROTOCOL | {"primary": {"sgd_hd": {"hypergrad_lr": 10**-3.5}}}
    assert verdict(cells, protocol).parts["primary"].all()


def test_a_frame_without_its_history_says_so() -> None:
    note = "what was declared when the cells were trained is not recorded"
    assert note in verdict(GOOD.cells(), PROTOCOL).deviations
    assert note not in verdict(GOOD.cells()).deviations


def without_spread(hd: list[float], n_seeds: int) -> pd.DataFrame:
    """All seeds have the same losses."""
    return Design(
        curve(BASE, spread=0.0),
        curve(hd, spread=0.0),
        seeds=tuple(range(n_seeds)),
        betas=TWO_BETAS,
    ).cells()


FLAT = [0.01] * 6 + [0.0, 0.01, 0.1]


def test_few_seeds_that_agree_exactly_support_nothing() -> None:
    """Their interval is the point, however few they are."""
    result = verdict(without_spread(FLAT, 2), PROTOCOL)
    assert "supported" not in parts(result).values()
    reasons = result.parts.set_index("part")["held_back"]
    alike = "2 seeds agree, and 10 are needed then"
    assert reasons["C1"].iloc[0] == f"R: {alike}; G: {alike}"
    assert reasons["C3"].iloc[0] == (
        f"lr = 0.00316228, lr = 0.01, lr = 0.0316228, lr = 0.1, lr = 0.316228: {alike}"
    )
    assert reasons["C4"] == f"{', '.join(f'k = {k}' for k in range(1, 9))}: {alike}"
    decided = result.parts.set_index("part")["decided_by"]["C1"].iloc[0]
    assert "lr = 0.0001 to 1, 2 paired seeds; G" in decided  # no wide interval is claimed


@pytest.mark.parametrize(("n_seeds", "expected"), [(9, "inconclusive"), (10, "supported")])
def test_ten_seeds_that_agree_exactly_are_as_many_as_zero_divergences_need(
    n_seeds: int, expected: str
) -> None:
    found = parts(verdict(without_spread(FLAT, n_seeds), PROTOCOL))
    assert {found[part] for part in ("C1", "C3", "C4")} == {expected}


def test_seeds_that_differ_by_rounding_agree() -> None:
    """As under a tiny hypergrad_lr: float32 losses of both arms, a few bits apart."""
    cells = without_spread(FLAT, 2)
    noise = np.random.default_rng(0).normal(size=len(cells))
    cells["train_loss"] *= 1 + 1e-7 * noise
    result = verdict(cells, PROTOCOL)
    assert "supported" not in parts(result).values()


def test_a_part_that_few_seeds_refute_without_spread_says_so() -> None:
    result = verdict(without_spread([0.9] * 9, 2), PROTOCOL)
    told = result.parts.set_index("part")["decided_by"]
    assert told["C1"].iloc[0].endswith("; 2 seeds agree")
    assert told["C3"].iloc[0] == (
        "lr = 0.00316228, lr = 0.01, lr = 0.0316228, lr = 0.1, lr = 0.316228; 2 seeds agree"
    )


def more_levels(cells: pd.DataFrame, arm: str) -> pd.DataFrame:
    """Beyond RATES this arm has four levels more, at which it is as good as at its best."""
    tuned = cells[(cells["arm"] == arm) & (cells["lr"] == RATES[6])]
    extra = [
        tuned.assign(lr=lr, cell_id=f"{lr:g}/" + tuned["cell_id"]) for lr in (2.0, 3.0, 4.0, 5.0)
    ]
    return pd.concat([cells, *extra], ignore_index=True)


@pytest.mark.parametrize("arm", ["sgd", "sgd_hd"])
def test_levels_of_one_arm_alone_make_nothing_easier_to_tune(arm: str) -> None:
    """C4 and the difference of the curves are as without them; the curve itself says it is not."""
    same = replace(GOOD, hd=curve(BASE), betas=TWO_BETAS).cells()
    more = more_levels(same, arm)
    one, other = (verdict(cells, PROTOCOL).parts.query("part == 'C4'") for cells in (same, more))
    bounds = ["effect", "lower", "upper"]
    pd.testing.assert_frame_equal(one[bounds], other[bounds])
    n = 4 if arm == "sgd" else 8
    left_out = f"over the points of both arms (left out: {arm} {n} of {n // 4 * 13})"
    assert left_out in other["decided_by"].item()
    curves = [tunability_curve(cells).query("arm == 'sgd_hd'") for cells in (same, more)]
    draws = [table.set_index("draws")["difference"][:4] for table in curves]
    pd.testing.assert_series_equal(*draws)
    note = f"sgd_hd on toy: the difference is {left_out}; best and cpe are not"
    assert note in tunability_curve(more).attrs["restrictions"]
    assert not any("left out" in text for text in tunability_curve(same).attrs["restrictions"])


def test_the_pools_of_c4_are_of_the_levels_at_which_every_beta_was_run() -> None:
    cells = replace(GOOD, betas=TWO_BETAS).cells()
    at = (cells["hypergrad_lr"] == 1e-2) & (cells["lr"] == 0.1)
    c4 = verdict(cells[~at], PROTOCOL).parts.set_index("part").loc["C4"]
    assert "left out: sgd_hd 1 of 17, sgd 1 of 9" in c4["decided_by"]


def test_arms_without_a_level_in_common_have_no_c4_and_no_difference() -> None:
    cells = replace(GOOD, betas=TWO_BETAS).cells()
    apart = cells.assign(lr=cells["lr"].mask(cells["arm"] == "sgd", 3 * cells["lr"]))
    assert verdict(apart, PROTOCOL).parts.empty
    assert tunability_curve(apart)["difference"].isna().all()


def test_c1_is_held_back_where_the_base_was_not_run_at_the_arms_best_lr() -> None:
    """There the base may be better still, and G better for the arm than it is."""
    cells = more_levels(GOOD.cells(), "sgd_hd")
    assert held(cells)["C1"] == ""
    cells.loc[cells["lr"] == 3.0, "train_loss"] -= 0.01
    assert held(cells)["C1"] == "sgd was not run at lr = 3, the best of sgd_hd"
