"""What the page says is about what it names: the setting fixed beforehand, the target, the loss."""

from __future__ import annotations

import re

import pytest
from report_html import Page
from report_studies import paper_study, results

from hdsens.analysis import sensitivity_table
from hdsens.report import render
from hdsens.report.evidence.gather import gather
from hdsens.report.words.answer import loss_words
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


def test_the_answer_has_the_numbers_of_the_setting_fixed_beforehand() -> None:
    shown = two_levels()
    table = sensitivity_table(shown.cells).set_index(["arm", "hypergrad_lr"])
    at_good, at_bad = (table.loc[("sgd_hd", level)] for level in (GOOD, BAD))
    (said,) = re.findall(
        r"Averaged over the lr tried, sgd loses .*?\]\.", Page(render([shown])).text
    )
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


def test_each_target_has_steps_of_its_own(two_targets: Results) -> None:
    evidence = gather(two_targets)
    assert evidence is not None
    found = {name: set(table["median_steps"]) for name, table in evidence.steps.items()}
    assert found == {"low": {20.0}, "high": {5.0}}
    html = render([two_targets])
    assert re.search(r"Median steps to target low by initial lr\. sgd: 20 from lr", html)
    assert re.search(r"Median steps to target high by initial lr\. sgd: 5 from lr", html)
