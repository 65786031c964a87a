"""What the page says is about what it names: the setting fixed beforehand, the target, the loss."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from report_html import Page
from report_studies import paper_study, results

from hdsens.analysis import accounting, sensitivity_table
from hdsens.analysis.measures.table import N_SEEDS
from hdsens.analysis.panel.panel import Panel, build_panel
from hdsens.report import render
from hdsens.report.drawing.level_axis import level_axis
from hdsens.report.drawing.shares import shown_shares
from hdsens.report.evidence.gather import gather
from hdsens.report.page.tables import MAX_ROWS, table
from hdsens.report.words.answer import loss_words
from hdsens.report.words.sentences import how_far
from hdsens.store import Results

GOOD, BAD = 1e-2, 1e-4


def two_levels() -> Results:
    """HD at two levels: at the one fixed beforehand it ends at the best loss, else untrained."""
    arms = paper_study().model_dump(mode="json")["arms"][:2]
    arms[1]["hypergrad_lr"] = [BAD, GOOD]
    protocol = {"pilot_seeds": [20, 21], "primary": {"sgd_hd": {"hypergrad_lr": GOOD}}}
    shown = results(paper_study(arms=arms, seeds=10, protocol=protocol))
    cells = shown.cells
    hd = (cells["arm"] == "sgd_hd") & (cells["outcome"] == "completed")
    bad = hd & (cells["hypergrad_lr"] == BAD)
    cells.loc[hd & ~bad, "train_loss"] = cells.loc[cells["arm"] == "sgd", "train_loss"].min()
    cells.loc[bad, "train_loss"] = cells.loc[bad, "initial_loss"]
    return shown


def test_the_answer_has_the_numbers_of_the_setting_fixed_beforehand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of all tables, figures and the verdict of the page, each metric has one panel."""
    shown = two_levels()
    table = sensitivity_table(shown.cells).set_index(["arm", "hypergrad_lr"])
    at_good, at_bad = (table.loc[("sgd_hd", level)] for level in (GOOD, BAD))
    built: list[str | None] = []

    def counted(cells: pd.DataFrame, factors: Any, account: Any, metric: str | None) -> Panel:
        built.append(metric)
        return build_panel(cells, factors, account, metric)

    monkeypatch.setattr("hdsens.analysis.panel.cells.build_panel", counted)
    page = Page(render([shown]))
    assert sorted(map(str, built)) == ["None", "best_valid_loss", "train_loss", "valid_loss"]
    (said,) = re.findall(r"Averaged over the lr tried, sgd loses .*?\]\.", page.text)
    assert said.endswith(f", sgd_hd {loss_words(at_good)}.")
    assert loss_words(at_bad) not in said


@pytest.fixture(scope="module")
def two_targets() -> Results:
    """sgd reaches `low` at step 20 and `high` at step 5, from every lr and seed."""
    arms = paper_study().model_dump(mode="json")["arms"][:1]
    targets = {"low": {"batch_loss": 0.5}, "high": {"batch_loss": 1.5}}
    shown = results(paper_study(arms=arms, targets=targets))
    shown.cells["steps_to_low"], shown.cells["steps_to_high"] = 20.0, 5.0
    return shown


@pytest.fixture(scope="module")
def two_targets_html(two_targets: Results) -> str:
    return render([two_targets])


def test_each_target_has_steps_of_its_own(two_targets: Results, two_targets_html: str) -> None:
    evidence = gather(two_targets)
    assert evidence is not None
    found = {name: set(table["median_steps"]) for name, table in evidence.steps.items()}
    assert found == {"low": {20.0}, "high": {5.0}}
    for words in ("low by initial lr. sgd: 20 from lr", "high by initial lr. sgd: 5 from lr"):
        assert f"Median steps to target {words}" in two_targets_html


def test_results_of_two_devices_are_called_mixed(
    two_targets: Results, two_targets_html: str
) -> None:
    assert "device: cpu, cuda" not in two_targets_html
    cells = two_targets.cells.assign(device=["cuda", *["cpu"] * (len(two_targets.cells) - 1)])
    cells.attrs = two_targets.cells.attrs
    assert "device: cpu, cuda" in render([replace(two_targets, cells=cells)])


@pytest.mark.parametrize("failed", [1, 2])
def test_one_failed_cell_is_a_gap_as_two_are(failed: int) -> None:
    account = accounting(results(paper_study(), failed=range(failed)).cells)
    cells = "1 cell failed and has" if failed == 1 else "2 cells failed and have"
    assert how_far(account) == f"This report is partial: {cells} no result."


def test_an_arm_with_one_factor_has_no_shares_to_draw() -> None:
    terms = ["lr", "lr", "hypergrad_lr", "lr x hypergrad_lr"]
    rows = pd.DataFrame({"arm": ["sgd", *["sgd_hd"] * 3], "term": terms, "share": 0.3})
    assert shown_shares(rows)["arm"].tolist() == ["sgd_hd"] * 3


def test_a_long_table_says_how_many_rows_it_leaves_out() -> None:
    frame = pd.DataFrame({"arm": "sgd", "n_seeds": range(MAX_ROWS + 7)})
    assert table(frame, ["arm"], [N_SEEDS]).left_out == 7


def test_an_interval_is_told_from_three_seeds_on() -> None:
    row = {"regret_mean": 0.5, "regret_mean_lower": 0.4, "regret_mean_upper": 0.6}
    assert [loss_words({**row, "n_seeds": n}) for n in (2, 3)] == ["50%", "50% [40, 60]"]


def test_zero_stands_apart_from_the_lowest_level() -> None:
    axis = level_axis([0.0, 1e-5, 1.0])
    assert axis.positions([0.0]).tolist() == pytest.approx([-5 - 0.16 * 5])
