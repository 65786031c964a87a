"""Every number on the page is the analysis' number, and the pictures' numbers are the cells'."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from report_html import Page
from report_studies import paper_study, results

from hdsens.analysis import (
    accounting,
    importance,
    regret_table,
    sensitivity_table,
    steps_to_target_table,
    tunability_curve,
    verdict,
)
from hdsens.analysis.claims.catalogue import rules
from hdsens.analysis.measures.points import REGRET, point_table
from hdsens.analysis.measures.seed_pairs import seed_pairs
from hdsens.analysis.measures.sensitivity import SENSITIVITY
from hdsens.analysis.measures.table import Column
from hdsens.analysis.panel.families import Family, families_of_study
from hdsens.report import render
from hdsens.report.drawing.good_levels import Levels, levels_of
from hdsens.report.drawing.heatmap import heatmap
from hdsens.report.drawing.reach import reaches, reaches_text
from hdsens.report.drawing.trajectories import lost_words, lr_paths, path_words
from hdsens.report.evidence.arm_settings import ArmSetting
from hdsens.report.evidence.curves import loss_curves, thin
from hdsens.report.evidence.points import family_points
from hdsens.report.page.tables import FINDINGS
from hdsens.report.words.answer import answer, confirmed, loss_words
from hdsens.store import Results
from hdsens.text import read_number, share

SGD = Family("sgd", ("sgd_hd",))


def capped(cells: pd.DataFrame) -> pd.Series:
    """The loss that counts: a diverged cell's, or a worse one's, is the untrained model's."""
    loss = cells["train_loss"].where(cells["outcome"] == "completed", cells["initial_loss"])
    return loss.clip(upper=cells["initial_loss"])


def assert_reads(text: str, row: pd.Series, column: Column) -> None:
    """`text` is the value to the digits written, with its interval where it has one."""
    shown = re.findall(r"[^\[\],\s]+", text)
    lower, upper = column.bounds or (f"{column.name}_lower", f"{column.name}_upper")
    has_bounds = lower in row and not np.isnan(row[lower])
    names = [column.name, lower, upper] if has_bounds else [column.name]
    assert len(shown) == len(names)
    for word, name in zip(shown, names, strict=True):
        value = float(row[name])
        rough = abs(value) * 0.005 if column.unit == "nats" else 0.0
        assert read_number(word.replace(",", "")) == pytest.approx(
            value, abs=max(rough, 0.0005), nan_ok=True
        ), (name, text)


def labelled(frame: pd.DataFrame, row: dict[str, str]) -> pd.Series:
    rows = frame[frame["arm"] == row["arm"]]
    for factor in ("lr", "hypergrad_lr"):
        if factor in row:
            level = read_number(row[factor])
            rows = rows[rows[factor].isna() if np.isnan(level) else rows[factor] == level]
    assert len(rows) == 1
    return rows.iloc[0]


def test_regret_tables_hold_every_point_with_the_analysis_numbers(
    partial: Results, partial_page: Page
) -> None:
    regret = regret_table(partial.cells)
    loss = capped(partial.cells).groupby(
        [partial.cells[c] for c in ("arm", "lr", "hypergrad_lr")], dropna=False
    )
    regret["loss_low"], regret["loss_high"] = loss.min().to_numpy(), loss.max().to_numpy()
    shown = [row for table in partial_page.named("regret") for row in table.dicts()]
    assert len(shown) == len(regret) == 84
    for row in shown:
        expected = labelled(regret, row)
        for column in REGRET.columns:
            assert_reads(row[column.name], expected, column)


def test_sensitivity_tables_hold_every_setting(partial: Results, partial_page: Page) -> None:
    sensitivity = sensitivity_table(partial.cells)
    shown = [row for table in partial_page.named("sensitivity") for row in table.dicts()]
    assert len(shown) == len(sensitivity) == 12
    for row in shown:
        expected = labelled(sensitivity, row)
        for column in SENSITIVITY.columns:
            if column.name != "best_level":
                assert_reads(row[column.name], expected, column)
        assert read_number(row["best_level"]) == expected["best_level"]


def test_verdict_tables_and_marks_hold_every_part(partial: Results, partial_page: Page) -> None:
    parts = verdict(partial.cells).parts
    shown = [row for table in partial_page.named("parts") for row in table.dicts()]
    assert len(shown) == len(parts) == 30
    for row in shown:
        expected = labelled(parts[parts["part"] == row["part"]], row)
        assert row["verdict"] == expected["verdict"]
        for column in ("decided_by", "quantity", "threshold"):
            assert row[column] == expected[column]
        assert row["held_back"] == (expected["held_back"] or "–")
        assert row["side"] == ("–" if pd.isna(expected["side"]) else expected["side"])
        assert row["confidence"] == ("90%" if row["part"] == "C3" else "95%")
        for column in FINDINGS:
            if column.name in ("effect", "check_effect", "p_refuted"):
                assert_reads(row[column.name], expected, column)
    marks = [
        text[1:] for table in partial_page.named("strip") for row in table.rows for text in row
    ]
    assert sorted(m for m in marks if m in set(parts["verdict"])) == sorted(parts["verdict"])


@pytest.mark.parametrize(
    ("outcomes", "sentence"),
    [
        ("sss", "Yes: hd depends much less on lr than sgd at each of 3 settings of hypergrad_lr."),
        ("rrr", "No: hd does not depend much less on lr than sgd at any of 3 settings of"
         " hypergrad_lr."),
        ("iii", "Not settled: whether hd depends much less on lr than sgd is open at each of 3"),
        ("ssr", "Partly: hd depends much less on lr than sgd at 2 of 3 settings of hypergrad_lr;"
         " 1 is refuted."),
        ("sri", "Partly: hd depends much less on lr than sgd at 1 of 3 settings of hypergrad_lr;"
         " 1 is refuted and 1 is open."),
        ("rri", "Not shown: hd depends much less on lr than sgd at none of 3 settings of"
         " hypergrad_lr; 2 are refuted and 1 is open."),
        ("s", "Yes: hd depends much less on lr than sgd."),
    ],
)  # fmt: skip
def test_answer_says_at_how_many_settings_what_holds(
    partial: Results, outcomes: str, sentence: str
) -> None:
    kinds = {"s": "supported", "r": "refuted", "i": "inconclusive"}
    parts = verdict(partial.cells).parts
    parts = parts[(parts["arm"] == "sgd_hd") & (parts["part"] == "C1")].head(len(outcomes))
    parts = parts.assign(side="both", verdict=[kinds[letter] for letter in outcomes], arm="hd")
    judged = replace(verdict(partial.cells), parts=parts)
    arms = paper_study().model_dump(mode="json")["arms"][:2]
    arms[1]["name"] = "hd"
    family = families_of_study(paper_study(arms=arms))[0]
    rows = sensitivity_table(partial.cells)
    assert answer(rows.iloc[:0], family, judged).verdicts[0].startswith(sentence)


def test_windows_name_the_levels_where_the_parts_hold_together(
    partial: Results, partial_page: Page
) -> None:
    window = verdict(partial.cells).window.drop_duplicates("arm").set_index("arm")["supported"]
    for arm, levels in window.items():
        where = f"hypergrad_lr {levels[0]:g}" if levels else "no level of hypergrad_lr"
        start = f"{arm}: C1, C2 and C3 are supported together at {where}"
        assert start in partial_page.text


def test_answers_quote_the_regret_they_rest_on(partial: Results, partial_page: Page) -> None:
    rows = sensitivity_table(partial.cells).set_index("arm")
    for base in ("sgd", "sgdn", "adam"):
        own = rows.loc[f"{base}_hd"].sort_values("regret_mean")
        ends = [loss_words(own.iloc[i]) for i in (0, -1)]
        said = (
            f"Averaged over the lr tried, {base} loses {loss_words(rows.loc[base])},"
            f" {base}_hd between {ends[0]} and {ends[1]}."
        )
        assert said in partial_page.text


@pytest.mark.parametrize(
    ("n_seeds", "words"), [(2, "47%"), (3, "47% [46, 48]"), (10, "47% [46, 48]")]
)
def test_losses_are_percent_of_regret_without_an_interval_of_two_seeds(
    n_seeds: int, words: str
) -> None:
    row = {"regret_mean": 0.4712, "regret_mean_lower": 0.4649, "regret_mean_upper": 0.4775}
    assert loss_words({**row, "n_seeds": n_seeds}) == words


def test_the_fixed_setting_is_told_part_by_part() -> None:
    tested = pd.DataFrame(
        {
            "baseline": "sgd",
            "hypergrad_lr": [0.01, 0.01, 0.01, np.nan],
            "primary": True,
            "part": ["C1", "C2", "C3", "C4"],
            "verdict": ["supported", "inconclusive", "refuted", "supported"],
            "side": ["both", None, None, None],
        }
    )
    assert confirmed("sgd_hd", "sgd", "refuted", tested) == (
        "No: at hypergrad_lr 0.01, fixed beforehand, sgd_hd depends much less on lr than sgd and is"
        " no harder to tune, but is worse than sgd at some lr; whether it works from lr = 0 is"
        " open."
    )
    open_ = tested.assign(verdict="inconclusive")
    assert confirmed("sgd_hd", "sgd", "inconclusive", open_) == (
        "Not settled: at hypergrad_lr 0.01, fixed beforehand, whether sgd_hd depends much less on"
        " lr than sgd, works from lr = 0, is never worse than sgd and is no harder to tune is open."
    )


def test_many_settings_are_counted_instead_of_shown_one_by_one() -> None:
    arms = paper_study().model_dump(mode="json")["arms"][:2]
    arms[1]["hypergrad_lr"] = [10.0**-e for e in range(9)]
    shown = results(paper_study(arms=arms, seeds=2))
    (strip,) = Page(render([shown])).named("strip")
    parts = verdict(shown.cells).parts
    for row in strip.dicts():
        own = parts.loc[parts["part"] == row.pop("claim")[:2], "verdict"].value_counts()
        assert {kind: int(n) for kind, n in row.items()} == {k: own.get(k, 0) for k in row}
    assert len(strip.rows) == 4


def test_thresholds_on_the_page_are_those_of_the_study(
    partial: Results, partial_page: Page
) -> None:
    shown = [row["supported"] for row in partial_page.named("criteria")[0].dicts()]
    assert "less than 0.5 ×" in shown[0]
    margins = {"ratio": 0.7, "best": 0.03, "zero": 0.04, "worse": 0.05, "tuning": 0.06}
    protocol = {"pilot_seeds": [7], "margins": margins}
    said = [rule.supported.words for rule in rules(paper_study(protocol=protocol).protocol)]
    for text, numbers in zip(
        said, (["0.7 ×", "3 points"], ["4 points"], ["5 points", "50%"], ["6 points"]), strict=True
    ):
        assert all(n in text for n in numbers)


def test_tuning_curves_say_their_numbers(partial: Results, partial_html: str) -> None:
    curve = tunability_curve(partial.cells).dropna(subset="best")
    said = re.findall(r'aria-label="Expected best regret[^"]*"', partial_html)
    assert len(said) == 3
    for row in curve.itertuples():
        draws = "1 draw" if row.draws == 1 else f"{row.draws} draws"
        ours = next(s for s in said if f"{row.baseline or row.arm}_hd:" in s)
        words = ours.split(f" {row.arm}: ")[1]
        assert f"{share(row.best)} after {draws}" in words


def test_restrictions_of_the_analysis_are_said(partial: Results, partial_page: Page) -> None:
    for text in regret_table(partial.cells).attrs["restrictions"]:
        assert text in partial_page.text
    for text in verdict(partial.cells).deviations:
        assert text in partial_page.text


def test_counts_are_the_analysis_counts(partial: Results, partial_page: Page) -> None:
    account = accounting(partial.cells)
    assert partial_page.counts == {
        name: str(getattr(account, name))
        for name in ("expected", "completed", "diverged", "failed", "missing")
    }
    assert (account.expected, account.failed, account.missing) == (252, 3, 2)
    assert "2 cells of 252 did not run yet and 3 cells failed" in partial_page.text


@pytest.mark.parametrize(
    ("base", "levels"), [("sgd", (None, 1e-4, 1e-2, 1.0)), ("sgdn", (None, 1e-4, 1e-3, 1e-2))]
)
def test_heatmap_holds_mean_capped_loss_and_state_of_every_point(
    partial: Results, base: str, levels: tuple[float | None, ...]
) -> None:
    cells = partial.cells.assign(counted=capped(partial.cells))
    rows = point_table(partial.cells)
    shown = heatmap(rows, Family(base, (f"{base}_hd",)))
    assert shown.lr == (10.0, 1.0, 0.1, 0.01, 0.001, 0.0001, 0.0)
    assert [dict(c.levels).get("hypergrad_lr") for c in shown.columns] == [*levels]
    for (i, j), value in np.ndenumerate(shown.value):
        arm = base if j == 0 else f"{base}_hd"
        at = cells[(cells["arm"] == arm) & (cells["lr"] == shown.lr[i])]
        at = at if j == 0 else at[at["hypergrad_lr"] == levels[j]]
        used = at[at["outcome"] != "failed"]
        assert value == pytest.approx(used["counted"].mean())
        lost = int((used["outcome"] == "diverged").sum())
        assert (shown.n_seeds[i, j], shown.n_diverged[i, j]) == (len(used), lost)
        assert shown.state[i, j] == ("diverged" if lost == len(used) else "completed")
        none_learnt = (used["counted"] >= used["initial_loss"]).all()
        assert shown.untrained[i, j] == (none_learnt and lost < len(used))
    assert "diverged" in shown.state
    assert shown.untrained[-1, 0]  # the base arm at lr = 0
    assert not shown.untrained.all()
    assert shown.expected == 3


def test_heatmap_writes_what_is_unusual_about_the_seeds_of_a_cell(partial_html: str) -> None:
    label = 'aria-label="sgdn_hd, with sgdn beside it. training loss.*?</svg>'
    (figure,) = re.findall(label, partial_html, re.S)
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", figure)
    assert "×1/3" in texts  # one of three seeds diverged
    label = 'aria-label="sgd_hd, with sgd beside it. training loss.*?</svg>'
    (figure,) = re.findall(label, partial_html, re.S)
    assert "n=2" in re.findall(r"<text[^>]*>([^<]*)</text>", figure)  # one of three failed


def test_heatmap_tells_failed_from_missing() -> None:
    study = paper_study(seeds=1)
    shown = results(study, failed=[1, 8], missing=[2])
    rows = point_table(shown.cells)
    state = heatmap(rows, SGD).state
    assert state[-2, 0] == "failed"  # lr 1e-4
    assert state[-1, 2] == "failed"  # lr 0, second level of hypergrad_lr
    whole = heatmap(rows, SGD)
    assert whole.state[whole.lr.index(1e-3), 0] == "missing"


def test_numbers_in_the_heatmap_figures_are_the_means(partial: Results, partial_html: str) -> None:
    figures = re.findall(
        r'aria-label="sgd_hd, with sgd beside it. training loss.*?</svg>', partial_html, re.S
    )
    assert len(figures) == 1
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", figures[0])
    rows = point_table(partial.cells)
    shown = heatmap(rows, SGD)
    numbers = [t.removeprefix("≥") for t in texts if re.fullmatch(r"≥?\d+\.\d\d+", t)]
    drawn = [float(t) for t in numbers][-int((shown.state == "completed").sum()) :]
    assert drawn == pytest.approx(shown.value[shown.state == "completed"], rel=0.006)


def test_curves_hold_mean_and_extremes_over_seeds(partial: Results) -> None:
    cells = partial.cells.assign(counted=capped(partial.cells))
    family = families_of_study(partial.study)[1]
    curves = loss_curves(family_points(point_table(partial.cells), family), family)
    assert [c.setting.name for c in curves] == [
        "sgdn",
        "sgdn_hd 1e-4",
        "sgdn_hd 1e-3",
        "sgdn_hd 0.01",
    ]
    own = cells[(cells["arm"] == "sgdn_hd") & (cells["hypergrad_lr"] == 1e-2)]
    by_lr = own.groupby("lr")["counted"]
    assert curves[3].lr.tolist() == [0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0]
    assert curves[3].mean == pytest.approx(by_lr.mean().to_numpy())
    assert curves[3].low == pytest.approx(by_lr.min().to_numpy())
    assert curves[3].high == pytest.approx(by_lr.max().to_numpy())
    assert curves[3].n_diverged.sum() == (own["outcome"] == "diverged").sum() > 0


def test_thinned_curves_keep_the_base_and_both_ends() -> None:
    levels = [10.0**-e for e in range(12)]
    arms = paper_study().model_dump(mode="json")["arms"][:2]
    arms[1]["hypergrad_lr"] = levels
    study = paper_study(arms=arms, seeds=1)
    family = families_of_study(study)[0]
    few = thin(loss_curves(point_table(results(study).cells), family))
    assert [c.setting.arm for c in few] == ["sgd"] + ["sgd_hd"] * 6
    assert [c.setting.label for c in (few[1], few[-1])] == ["1e-11", "1"]


def test_lr_paths_are_medians_over_seeds_from_every_initial_lr(partial: Results) -> None:
    cells = partial.cells
    own = cells[(cells["arm"] == "adam_hd") & (cells["hypergrad_lr"] == 1e-2)]
    paths = lr_paths(own, partial.traces)
    assert [p.initial_lr for p in paths] == [10.0, 1.0, 0.1, 0.01, 0.001, 0.0001, 0.0]
    ids = own.loc[own["lr"] == 0, "cell_id"]
    lr = partial.traces[partial.traces["cell_id"].isin(ids)].pivot_table(
        index="step", columns="cell_id", values="lr"
    )
    assert paths[-1].lr == pytest.approx(np.median(lr, axis=1))
    assert paths[-1].lr[0] == 0 < paths[-1].lr[-1]
    assert paths[-1].n_seeds == 3


def test_lr_paths_end_where_the_first_seed_is_lost() -> None:
    cells = pd.DataFrame(
        {
            "cell_id": list("abcd"),
            "lr": [0.1, 0.1, 0.1, 1.0],
            "seed": [0, 1, 2, 0],
            "outcome": ["completed", "diverged", "completed", "diverged"],
        }
    )
    runs = {"a": [0.1, 0.2, 0.3, 0.4], "b": [0.1, 9.0], "c": [0.1, 0.4, 0.5, 0.6]}
    traces = pd.DataFrame(
        [{"cell_id": c, "step": i + 1, "lr": v} for c, lr in runs.items() for i, v in enumerate(lr)]
    )
    at_once, path = lr_paths(cells, traces)
    assert (path.step.tolist(), path.lr.tolist()) == ([1, 2], [0.1, 0.4])
    assert (path.n_seeds, path.n_diverged) == (3, 1)
    assert path_words(path) == (
        "from 0.1 to 0.400 at step 2, where the first of 1 of 3 seeds diverged"
    )
    assert lost_words([at_once, path]) == "seeds diverged from lr 1 (1/1), 0.1 (1/3)"
    assert len(at_once.step) == 0
    whole = lr_paths(cells.assign(outcome="completed").iloc[[0, 2]], traces)
    assert (whole[0].step.tolist(), whole[0].n_diverged) == ([1, 2, 3, 4], 0)
    assert path_words(whole[0]) == "from 0.1 to 0.500"


def test_steps_to_a_target_say_what_was_not_reached(partial: Results) -> None:
    cells = partial.cells.copy()
    cells.attrs = partial.cells.attrs
    fast = (cells["arm"] == "adam") & (cells["lr"] == 0.1)
    cells.loc[fast, "steps_to_low"] = 7.0
    family = families_of_study(partial.study)[2]
    shown = reaches(steps_to_target_table(cells, "low"), family)
    assert [one.setting.name for one in shown][:2] == ["adam", "adam_hd 1e-6"]
    assert shown[0].steps.tolist() == [np.inf] * 4 + [7.0] + [np.inf] * 2
    assert "adam: not reached from lr 0," in reaches_text(shown)
    assert "7 from lr 0.1" in reaches_text(shown)


def test_seed_pairs_are_capped_losses_of_the_same_seed_and_lr(partial: Results) -> None:
    cells = partial.cells.assign(counted=capped(partial.cells))
    cells = cells[cells["outcome"] != "failed"].set_index(["arm", "lr", "seed"])
    cells = cells.sort_index()
    found = seed_pairs(partial.cells, "train_loss")
    assert set(found["arm"]) == {"sgd_hd", "sgdn_hd", "adam_hd"}
    for row in found.sample(60, random_state=0).itertuples():
        base = cells.loc[[(row.arm.removesuffix("_hd"), row.lr, row.seed)]].iloc[0]
        own = cells.loc[[(row.arm, row.lr, row.seed)]]
        own = own[own["hypergrad_lr"] == row.hypergrad_lr].iloc[0]
        assert (row.own, row.base) == (own["counted"], base["counted"])
        assert row.lost == ("diverged" in {own["outcome"], base["outcome"]})
    hd = cells[cells["baseline"].notna()].reset_index()
    with_base = [(r.arm.removesuffix("_hd"), r.lr, r.seed) in cells.index for r in hd.itertuples()]
    assert len(found) == sum(with_base)


def test_good_levels_are_those_with_a_regret_of_at_most_five_percent(partial: Results) -> None:
    regret = regret_table(partial.cells)
    family = families_of_study(partial.study)[1]
    for one in levels_of(family_points(point_table(partial.cells), family), family):
        own = regret[regret["arm"] == one.setting.arm]
        if one.setting.side == "compared":
            own = own[own["hypergrad_lr"] == dict(one.setting.levels)["hypergrad_lr"]]
        good = own.loc[own["regret_mean"] <= 0.05, "lr"]
        assert one.lr[one.good].tolist() == good.tolist()
    edge = np.array([0.05, 0.0501])
    assert Levels(ArmSetting("x", "alone"), np.ones(2), edge, edge > 1).good.tolist() == [
        True,
        False,
    ]


def test_bars_say_the_importance_of_each_factor(partial: Results, partial_html: str) -> None:
    table = importance(partial.cells)
    table = table[table["arm"].str.endswith("_hd")].dropna(subset="share")
    assert len(table) == 9
    for row in table.itertuples():
        assert f"{row.arm}, {row.term}: {share(row.share)} [" in partial_html
