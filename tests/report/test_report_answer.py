"""What the headline must not say: a result where there is none, more than one side shows."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest
from report_html import Page
from report_studies import paper_study, results

from hdsens.analysis import regret_table, sensitivity_table, tunability_curve, verdict
from hdsens.analysis.measures.common_levels import over_common_levels
from hdsens.report import render
from hdsens.report.page.overview import joint_sentences
from hdsens.report.page.strip import strip
from hdsens.report.words.answer import confirmed, loss_words, only_on
from hdsens.store import Results
from hdsens.text import share

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


@pytest.mark.parametrize(
    ("sides", "words"),
    [
        (["both", "both"], ""),
        (["below"], " (only below sgd's best lr)"),
        (["above", "below"], " (only above or only below sgd's best lr)"),
        (["both", "below"], " (once only below sgd's best lr)"),
    ],
)
def test_words_say_on_which_side_alone_c1_holds(sides: list[str], words: str) -> None:
    rows = pd.DataFrame({"part": "C1", "verdict": "supported", "side": sides})
    assert only_on(rows, "sgd") == words
    assert only_on(rows.assign(verdict="refuted"), "sgd") == ""


def test_sentence_and_mark_say_the_side(partial: Results) -> None:
    found = verdict(partial.cells)
    is_c1 = (found.parts["arm"] == "sgd_hd") & (found.parts["part"] == "C1")
    own = found.parts[is_c1].head(1).assign(verdict="supported", side="below", primary=True)
    said = confirmed("sgd_hd", "sgd", "supported", own)
    assert said.endswith("depends much less on lr than sgd (only below sgd's best lr).")
    shown = strip(replace(found, parts=own), "sgd_hd")
    assert shown is not None
    (mark,) = shown.rows[0][1]
    assert mark is not None
    assert mark.evidence.endswith("; only below sgd's best lr")


def test_each_part_says_the_confidence_of_its_bracket(partial_html: str) -> None:
    assert "C3: 90%, whose ends are one-sided 95% bounds" in partial_html
    assert "] (90%); " in partial_html


def test_results_of_one_label_that_differ_in_settings_are_two_tasks() -> None:
    arms = paper_study().model_dump(mode="json")["arms"][:2]
    frames = [results(paper_study(arms=arms)) for _ in range(2)]
    for one, batch_size in zip(frames, (32, 64), strict=True):
        one.cells["cell_id"] += str(batch_size)
        label = one.study.task.label
        one.cells.attrs["task_settings"] = {label: {"batch_size": batch_size}}
    assert "over 2 tasks: " in joint_sentences(frames)[0]


def test_tuning_figure_says_what_c4_compares(partial: Results, partial_html: str) -> None:
    assert "C4 compares pools of equal size instead" in partial_html
    curve = tunability_curve(partial.cells).dropna(subset="difference")
    for row in curve[curve["arm"] == "sgd_hd"].itertuples():
        draws = "1 draw" if row.draws == 1 else f"{row.draws} draws"
        (said,) = re.findall(r"sgd_hd minus sgd: [^\"]*", partial_html)
        assert f"{share(row.difference)} after {draws}" in said


def test_arms_are_averaged_over_the_lr_that_they_share() -> None:
    arms = paper_study().model_dump(mode="json")["arms"][:2]
    arms[1]["lr"] = [0.0, 1e-3, 1e-2, 1e-1]  # the base has 1e-4, 1 and 10 besides
    shown = results(paper_study(arms=arms))
    cells = shown.cells
    regrets = regret_table(cells)
    shared = regrets[regrets["lr"].isin([1e-3, 1e-2, 1e-1])]
    own = sensitivity_table(cells)
    found = over_common_levels(cells, "train_loss", own)
    for label, row in found.iterrows():
        at = shared[shared["arm"] == row["arm"]]
        at = at[at["hypergrad_lr"].isna() | (at["hypergrad_lr"] == row["hypergrad_lr"])]
        assert row["regret_mean"] == pytest.approx(at["regret_mean"].mean(), abs=1e-12)
        assert (row["n_common"], row["n_uncommon"]) == (3, 3)
        if row["arm"] == "sgd":
            assert row["regret_mean"] != pytest.approx(own.loc[label, "regret_mean"], abs=0.01)
    base = found[found["arm"] == "sgd"].iloc[0]
    said = "Averaged over the 3 nonzero lr that all these arms were run at, sgd loses "
    assert said + loss_words(base) in Page(render([shown])).text


def test_common_levels_are_all_levels_where_arms_have_the_same(
    partial: Results, partial_page: Page
) -> None:
    own = sensitivity_table(partial.cells)
    found = over_common_levels(partial.cells, "train_loss", own)
    pd.testing.assert_frame_equal(found[own.columns], own, check_flags=False)
    assert "Averaged over the lr tried, " in partial_page.text
