"""What the grid, the base or the pilot seeds leave open holds back support, with its reason."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from verdict_studies import GOOD, PROTOCOL, RATES, TWO_BETAS, curve, parts

from hdsens.analysis import verdict


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
    assert c1["held_back"] == "a cell of seeds 2, 5 has no result"
    assert "G at lr = 0.01, baseline at lr = 0.1, 8 paired seeds" in c1["decided_by"]


def test_nothing_is_supported_by_comparison_with_a_base_that_fails_everywhere() -> None:
    """At its best lr the base has regret 0.97; lr = 0 fails alike."""
    bad = curve([0.99] * 6 + [0.97, 0.99, 0.99])
    cells = replace(GOOD, base=bad, hd=curve([0.4] * 6 + [0.0, 0.4, 0.4]), zero=0.97).cells()
    result = verdict(cells, PROTOCOL)
    reasons = result.parts.set_index("part")["held_back"]
    assert reasons["C1"] == "sgd works at no nonzero lr on the pilot seeds"
    assert reasons["C2"] == (
        "sgd works at no nonzero lr on the pilot seeds;"
        " lr = 0 does not work, its mean regret is 0.97"
    )
    assert parts(result)["C1"] == parts(result)["C2"] == "inconclusive"


def test_zero_works_only_below_half_of_the_regret_of_an_untrained_model() -> None:
    """The other seeds' base is as bad at its best lr as HD at lr = 0; the pilots' was good."""
    cells = replace(GOOD, zero=0.6).cells()
    late = (cells["arm"] == "sgd") & (cells["lr"] == 0.1) & (cells["seed"] < 100)
    cells.loc[late, "train_loss"] += 1.21
    result = verdict(cells, PROTOCOL).parts.set_index("part").loc["C2"]
    assert result["held_back"] == "lr = 0 does not work, its mean regret is 0.6"


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
