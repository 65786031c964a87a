"""What the headline must not say: a result where there is none, more than one side shows."""

from __future__ import annotations

from report_html import Page
from report_studies import paper_study, results

from hdsens.report import render
from hdsens.store import Results

PILOTS = [20, 21]


def pilots_alone() -> Results:
    """SGD and SGDHD with pilots; every confirmatory cell failed."""
    arms = paper_study().model_dump(mode="json")["arms"][:2]
    arms[1]["hypergrad_lr"] = [1e-4, 1e-3]
    study = paper_study(arms=arms, protocol={"pilot_seeds": PILOTS})
    whole = results(study).cells
    judging = [i for i, seed in enumerate(whole["seed"]) if seed not in PILOTS]
    return results(study, failed=judging)


def test_pilots_alone_are_no_result() -> None:
    page = Page(render([pilots_alone()]))
    assert "No confirmatory cell of sgd and sgd_hd has a result yet." in page.text
    assert "diverged: nothing" not in page.text
