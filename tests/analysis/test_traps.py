"""Studies that are easily judged wrong: the verdict must not be fooled, and must say why."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cell_frames import L0, cell, frame
from verdict_studies import BASE, GOOD, PROTOCOL, RATES, Design, curve, parts

from hdsens.analysis import regret_table, sensitivity_table, verdict

FAILS = curve([1.0] * 9)


def test_a_base_that_fails_everywhere_supports_no_never_worse() -> None:
    """There is no level where it works, so C3 would be true and empty."""
    result = verdict(replace(GOOD, base=FAILS).cells(), PROTOCOL)
    assert parts(result)["C3"] == "inconclusive"
    assert result.joint["verdict"].item() == "inconclusive"
    decided = result.parts.set_index("part").loc["C3", "decided_by"]
    assert decided == "no level of lr where sgd works on the pilot seeds"
    assert not result.levels["tested"].any()


def test_a_single_seed_decides_nothing() -> None:
    result = verdict(replace(GOOD, seeds=(0,)).cells(), PROTOCOL)
    assert set(parts(result).values()) == {"inconclusive"}
    assert result.parts[["lower", "upper"]].isna().all(axis=None)
    assert "1 seed: no interval" in result.parts["decided_by"].iloc[0]
    assert "− 0.5·R(sgd) = -0.247 without interval (n = 1)" in str(result)


def test_two_seeds_have_an_interval_that_is_said_to_be_wide() -> None:
    result = verdict(replace(GOOD, seeds=(0, 1)).cells(), PROTOCOL)
    assert "2 paired seeds: the interval is very wide" in result.parts["decided_by"].iloc[0]
    assert any("have 2 seeds: their intervals are very wide" in d for d in result.deviations)
    assert any("2 paired seeds instead of 10, 20 or 30" in d for d in result.deviations)


def test_ties_make_the_interval_a_point_and_a_difference_of_nothing_supports_only_c3() -> None:
    exact, zero = curve(BASE, spread=0.0), 1.0
    cells = Design(exact, exact, zero=zero).cells()
    cells.loc[cells["lr"] == 0, "train_loss"] = L0
    result = verdict(cells, PROTOCOL)
    assert {name: parts(result)[name] for name in ("C1", "C2", "C3")} == {
        "C1": "refuted",
        "C2": "refuted",
        "C3": "supported",
    }
    c3 = result.parts.set_index("part").loc["C3"]
    assert (c3["effect"], c3["lower"], c3["upper"]) == (0, 0, 0)


def only(cells: pd.DataFrame, rates: list[float]) -> pd.DataFrame:
    return cells[cells["lr"].isin([0.0, *rates])].reset_index(drop=True)


def test_one_level_shows_no_sensitivity() -> None:
    result = verdict(only(GOOD.cells(), [RATES[3]]), PROTOCOL)
    c1 = result.parts.set_index("part").loc["C1"]
    assert (c1["verdict"], c1["held_back"]) == (
        "inconclusive",
        "one level of lr shows no sensitivity",
    )


def test_levels_crowded_where_the_base_fails_do_not_support_c1() -> None:
    """Five small levels and the best one: R of the base is mostly its failure at small lr."""
    result = verdict(only(GOOD.cells(), [*RATES[:5], RATES[6]]), PROTOCOL)
    c1 = result.parts.set_index("part").loc["C1"]
    assert c1["verdict"] == "inconclusive"
    assert c1["held_back"] == "the lr levels are not equally spaced in log10"
    assert "lr levels are not equally spaced in log10" in "; ".join(result.deviations)
    assert parts(result)["C3"] == "supported"


def test_a_grid_that_ends_before_the_bases_best_lr_is_named() -> None:
    result = verdict(only(GOOD.cells(), RATES[:6]), PROTOCOL)
    assert (
        "sgd on toy: its best lr, 0.0316228, is the highest tried; a better one may lie beyond"
    ) in result.deviations


def test_an_hd_arm_without_lr_zero_leaves_c2_and_the_whole_open() -> None:
    cells = GOOD.cells()
    result = verdict(cells[~((cells["arm"] == "sgd_hd") & (cells["lr"] == 0))], PROTOCOL)
    assert parts(result)["C2"] == "inconclusive"
    assert result.parts.set_index("part").loc["C2", "decided_by"] == "lr = 0 was not run"
    assert result.joint["verdict"].item() == "inconclusive"


def test_a_primary_that_leaves_beta_open_tests_every_beta_and_says_so() -> None:
    cells = replace(GOOD, betas=(1e-4, 1e-3)).cells()
    result = verdict(cells, PROTOCOL | {"primary": {"sgd_hd": {}}})
    assert result.parts.query("part == 'C1'")["primary"].tolist() == [True, True]
    assert "arm sgd_hd on toy: 2 settings fit the primary one, all are tested" in result.deviations


def test_a_primary_of_an_arm_that_is_not_there_is_said() -> None:
    protocol = PROTOCOL | {"primary": {"sgdhd": {"hypergrad_lr": 1e-3}}}
    result = verdict(GOOD.cells(), protocol)
    assert result.label == "exploratory"
    assert "arm sgdhd: named as primary, has no cells" in result.deviations
    assert "arm sgd_hd: not tested at a primary setting: no primary setting is named" in (
        result.deviations
    )


def test_a_task_that_an_arm_left_out_is_said() -> None:
    other = GOOD.cells(task="hard").assign(cell_id=lambda c: "h" + c["cell_id"])
    third = other.assign(
        arm=other["arm"].replace("sgd_hd", "sgd_hd2"), cell_id="z" + other["cell_id"]
    )
    protocol = PROTOCOL | {
        "primary": {a: {"hypergrad_lr": 1e-3} for a in ("sgd_hd", "sgd_hd2")}
    }  # fmt: skip
    result = verdict(pd.concat([GOOD.cells(), third], ignore_index=True), protocol)
    assert "arm sgd_hd: not tested at its primary setting on hard" in result.deviations


def test_an_arm_without_hypergrad_lr_is_compared_without_its_words() -> None:
    rows = []
    for seed in range(12):
        role = {"role": "pilot" if seed > 9 else "confirmatory"}
        for lr, plain, heavy in ((0.0, L0, L0), (0.1, 1.0, 0.5), (1.0, 0.5, 0.1)):
            noise = 0.001 * np.random.default_rng(seed).random()
            rows.append(cell("plain", lr, seed, min(plain + noise, L0), **role))
            rows.append(cell("heavy", lr, seed, min(heavy + noise, L0), baseline="plain", **role))
    cells = frame(rows).drop(columns="hypergrad_lr")
    protocol = {"pilot_seeds": [10, 11], "primary": {"heavy": {}}}
    text = str(verdict(cells, protocol))
    assert "heavy against plain" in text
    assert "R(heavy) − 0.5·R(plain)" in text
    assert "hypergrad" not in text.lower()
    assert "HD" not in text


def test_a_column_of_effects_says_what_each_effect_is() -> None:
    table = verdict(GOOD.cells(), PROTOCOL).parts.set_index("part")
    assert table.loc["C1", "quantity"] == "R(sgd_hd) − 0.5·R(sgd)"
    assert table.loc["C2", "quantity"] == "r(sgd_hd at lr = 0) − r(sgd at lr = 0.1, its best)"
    assert re.fullmatch(r"r\(sgd_hd\) − r\(sgd\) at lr = 0\.\d+", table.loc["C3", "quantity"])
    assert re.fullmatch(r"expected best of [1-8] draws, sgd_hd − sgd", table.loc["C4", "quantity"])
    assert set(table["unit"]) == {"normalised regret: 0 as good as tuned, 1 as bad as untrained"}
    rule = table.loc["C2", "threshold"]
    assert rule.startswith("supported: interval of r(0) − r(baseline at its best lr) below 0.02")


FACTORS = {"momentum": [0.0, 0.9], "batch_size": [32, 128], "weight_decay": [0.0, 1e-4]}


@pytest.mark.parametrize("names", [["momentum"], ["momentum", "batch_size"], [*FACTORS]])
def test_up_to_three_further_factors_are_each_a_setting_of_their_own(names: list[str]) -> None:
    """Any optimizer: `plain` against `fancy`, at every combination of the further factors."""
    points = [{}]
    for name in names:
        points = [{**point, name: level} for point in points for level in FACTORS[name]]
    rows = []
    for i, point in enumerate(points):
        for seed in range(3):
            for lr, loss in ((0.01, 1.0), (0.1, 0.2), (1.0, 1.5)):
                given = {**point, "optimizer": "my.module:Mine"}
                rows.append(
                    cell("plain", lr, seed, loss + 0.01 * seed, cell_id=f"p{i}{lr}{seed}", **given)
                )
                rows.append(cell("fancy", lr, seed, loss / 2, baseline="plain",
                                 cell_id=f"f{i}{lr}{seed}", **given))  # fmt: skip
    cells = frame(rows)
    cells.attrs["factors"] = ["lr", "hypergrad_lr", *names]
    result = verdict(cells)
    assert len(result.parts.query("part == 'C3'")) == len(points)
    assert set(result.parts.query("part == 'C3'")["verdict"]) == {"supported"}
    for factor in ("lr", names[0]):
        table = sensitivity_table(cells, factor=factor)
        assert len(table) == 2 * len(points) * 3 / (3 if factor == "lr" else 2)
        assert table["gap_at_best"].notna().sum() == len(table) / 2
    assert len(regret_table(cells)) == 6 * len(points)
