"""Which settings the page judges at: those that were fixed beforehand, not the first ones."""

from __future__ import annotations

import pytest
from report_html import Page
from report_studies import paper_study, results

from hdsens.analysis import verdict
from hdsens.report import render
from hdsens.store import Results


def with_momentum(primary: dict[str, float] | None) -> Results:
    """HD at two levels of momentum; at 0.9 HD always ends untrained, at 0.5 always at the best."""
    arms = paper_study().model_dump(mode="json")["arms"][:2]
    arms[1]["hypergrad_lr"] = [1e-4]
    arms = [{**arm, "factors": {"momentum": [0.5, 0.9]}} for arm in arms]
    protocol = {"pilot_seeds": [20, 21], "primary": {"sgd_hd": primary}} if primary else None
    shown = results(paper_study(arms=arms, seeds=10, protocol=protocol))
    cells = shown.cells
    hd = (cells["arm"] == "sgd_hd") & (cells["outcome"] == "completed")
    bad = hd & (cells["momentum"] == 0.9)
    best = cells.loc[cells["arm"] == "sgd", "train_loss"].min()
    cells.loc[hd & ~bad, "train_loss"] = best
    cells.loc[bad, "train_loss"] = cells.loc[bad, "initial_loss"]
    return shown


@pytest.fixture(scope="module")
def frozen() -> Results:
    return with_momentum({"momentum": 0.9})


def test_the_page_judges_at_the_frozen_level_of_another_factor(frozen: Results) -> None:
    page = Page(render([frozen]))
    parts = verdict(frozen.cells, frozen.study.protocol).parts
    tested = parts[parts["primary"]].set_index("part")["verdict"]
    assert tested["C1"] == "refuted"
    assert "No: at hypergrad_lr 1e-4 and momentum 0.9, fixed beforehand, sgd_hd" in page.text
    (strip,) = page.named("strip")
    assert {row[0][:2]: row[1][1:] for row in strip.rows} == tested.to_dict()
    assert "here momentum = 0.9" in page.text


def test_several_settings_that_fit_the_frozen_one_are_all_told() -> None:
    shown = with_momentum({"hypergrad_lr": 1e-4})
    page = Page(render([shown]))
    assert (
        "No: sgd_hd was tested at 2 settings fixed beforehand (hypergrad_lr 1e-4 and momentum 0.5;"
        " hypergrad_lr 1e-4 and momentum 0.9): “depends much less on lr than sgd” is" in page.text
    )
    assert "supported once and refuted once" in page.text
    assert len(page.named("strip")) == 2


def test_what_is_explored_is_counted_over_every_setting() -> None:
    page = Page(render([with_momentum(None)]))
    assert (
        "Partly: sgd_hd depends much less on lr than sgd (only below sgd's best lr) at 1 of 2"
        in page.text
    )
