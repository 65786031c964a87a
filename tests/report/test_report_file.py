"""The page as a file: whole, self-contained, escaped, the same each time, for any results."""

from __future__ import annotations

import base64
import gzip
import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_html import Page
from report_studies import paper_study, results

from hdsens.analysis import join_cells, regret_table, verdict
from hdsens.report import render, write_report
from hdsens.report.evidence.gather import gather
from hdsens.report.page import downloads
from hdsens.store import Results
from hdsens.study import Study
from hdsens.text import read_number

LR = {"zero": True, "log10": [-4, 0], "per_decade": 1}
SGD = {"name": "sgd", "optimizer": "SGD", "lr": LR}
HD = {"name": "hd", "optimizer": "SGDHD", "baseline": "sgd", "lr": LR, "hypergrad_lr": 1e-3}
EVERY = range(10_000)


def study(*arms: dict[str, Any], **changes: Any) -> Study:
    task = {"model": "bowl", "data": "none", "steps": 20}
    return Study.from_dict({"name": "t", "seeds": 2, "task": task, "arms": arms, **changes})


def test_page_loads_nothing_and_closes_every_tag(partial_page: Page) -> None:
    loading = {"src", "href", "xlink:href", "data", "action", "srcset"}
    references = {v for _, name, v in partial_page.attributes if name in loading}
    assert all(v.startswith(("#", "data:")) for v in references)
    assert not {tag for tag, _, _ in partial_page.attributes} & {"link", "iframe", "object"}


def test_styles_load_nothing(partial_html: str) -> None:
    assert not re.search(r"@import|url\((?!#)", partial_html)


def test_ids_are_unique_and_references_are_met(partial_page: Page, partial_html: str) -> None:
    assert len(partial_page.ids) == len(set(partial_page.ids)) > 10
    assert set(re.findall(r"url\(#([^)]+)\)", partial_html)) <= set(partial_page.ids)


def test_colours_of_figures_are_the_page_s(partial_html: str) -> None:
    assert "var(--ink)" in partial_html
    assert "var(--base)" in partial_html
    assert not re.search(r"#0(101|20[0-9a-f])[0-9a-f]{2}", partial_html)


@pytest.mark.drawn
def test_equal_results_give_equal_pages() -> None:
    first, second = (render([results(study(SGD, HD))]) for _ in range(2))
    assert first == second


@pytest.mark.drawn
def test_several_results_share_a_page_without_clashes() -> None:
    page = Page(render([results(study(SGD, HD, name="bowls")), results(study(SGD, HD))]))
    assert len(page.ids) == len(set(page.ids))
    assert {"r0", "r1"} <= set(page.ids)
    assert ("a", "href", "#r1") in page.attributes
    assert len(page.named("regret")) == 2
    (studies,) = page.named("studies")
    assert [row["study"] for row in studies.dicts()] == ["bowls", "t"]
    answer = studies.dicts()[1]
    assert answer["answer"] == "Not settled: whether hd depends much less on lr than sgd is open."
    assert (answer["compared"], answer["C1"]) == ("hd against sgd", "?")


def test_several_tasks_are_judged_together() -> None:
    protocol = {"pilot_seeds": [7, 8], "primary": {"hd": {"hypergrad_lr": 1e-3}}}
    tasks = [{"model": "bowl", "data": name, "steps": 20} for name in ("one", "two")]
    shown = [results(study(SGD, HD, name="t", task=task, protocol=protocol)) for task in tasks]
    joined = join_cells([one.cells for one in shown])
    joint = verdict(joined, shown[0].study.protocol).joint.iloc[0]
    page = Page(render(shown))
    start = {"supported": "Yes, over", "refuted": "No, over", "inconclusive": "Not settled over"}
    assert f"{start[joint['verdict']]} 2 tasks: " in page.text
    n = joint["n_settings_refuted"]
    assert f"at the setting fixed beforehand; {n} of 1 setting tried" in page.text
    alone = verdict(shown[0].cells, shown[0].study.protocol)
    line = page.named("studies")[0].dicts()[0]
    marks = {"supported": "✓", "refuted": "✗", "inconclusive": "?"}
    parts = alone.parts.set_index("part")["verdict"]
    assert {part: line[part] for part in parts.index} == {p: marks[v] for p, v in parts.items()}
    assert "at hypergrad_lr 1e-3, fixed beforehand" in line["answer"]


def test_results_that_cannot_be_joined_say_why() -> None:
    one = results(study(SGD, seeds=1))
    assert "No verdict over tasks: 1 task with a result." in Page(render([one, one])).text
    alone = [results(study(SGD, task={"model": m, "steps": 5})) for m in ("one", "two")]
    assert "verdict" not in Page(render(alone)).text  # nothing there to judge


@pytest.mark.drawn
def test_text_from_users_stays_text() -> None:
    evil = "<script>alert(1)</script> & $x_1$ '\""
    arms = {**SGD, "name": evil}, {**HD, "baseline": evil, "name": "b<b>$\\frac{$"}
    shown = results(study(*arms, name="<img src=x>"), failed=[0], error=f"E: {evil}")
    html = render([shown])
    page = Page(html)
    assert not {"img", "b<b", "frac"} & {tag for tag, _, _ in page.attributes}
    assert html.count("<script>alert") == 0
    assert page.named("failures")[0].dicts()[0]["error"] == f"E: {evil}"
    assert evil in page.text
    assert "<img src=x>" in page.text
    assert "b<b>$\\frac{$ 1e-3" in page.text  # the legend of a figure


def test_tables_can_be_taken_along(partial: Results, partial_page: Page) -> None:
    links = [dict(link) for link in partial_page.links if "download" in dict(link)]
    files = {link["download"].removeprefix("bowls-"): link["href"] for link in links}
    names = ["cells.csv", "sensitivity.csv", "regret.csv", "tunability.csv", "importance.csv"]
    assert [*files] == [*names, "steps_to_low.csv", "verdict.csv"]
    for name, expected in (("cells", partial.cells), ("regret", regret_table(partial.cells))):
        text = base64.b64decode(files[f"{name}.csv"].partition("base64,")[2]).decode()
        read, numbers = pd.read_csv(io.StringIO(text)), expected.select_dtypes("number")
        pd.testing.assert_frame_equal(read[numbers.columns], numbers, check_dtype=False, rtol=1e-5)


def test_long_tables_are_packed_and_the_longest_stay_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    partial = results(study(SGD, HD))
    monkeypatch.setattr(downloads, "PLAIN", 2000)
    evidence = gather(partial)
    packed = {d.name: d.address for d in downloads.downloads(evidence)}
    content = gzip.decompress(base64.b64decode(packed["cells.csv.gz"].partition("base64,")[2]))
    assert len(pd.read_csv(io.BytesIO(content))) == len(partial.cells)
    monkeypatch.setattr(downloads, "MOST", 0)
    assert {d.address for d in downloads.downloads(evidence) if d.name.endswith("gz")} == {None}
    assert "cells.csv.gz: too large for the page" in Page(render([partial])).text


def test_failed_cells_are_listed_with_their_reason(partial: Results, partial_page: Page) -> None:
    (table,) = partial_page.named("failures")
    assert [(row["arm"], row["lr"], row["seed"]) for row in table.dicts()] == [
        ("sgd", "0.01", "0"),
        ("sgd", "0.1", "0"),
        ("sgd", "1", "0"),
    ]
    assert {row["error"] for row in table.dicts()} == set(partial.cells["error"].dropna())


def test_provenance_shows_unknown_keys() -> None:
    shown = results(study(SGD, seeds=1))
    run = {"run_id": "r9", "flux capacitor": [1, {"gigawatts": 1.21}], "git": None}
    page = Page(render([replace(shown, runs=(run,))]))
    assert "flux capacitor" in page.text
    assert "1 and gigawatts 1.21" in page.text


def test_provenance_says_what_was_declared_in_words() -> None:
    shown = results(paper_study())
    declared = {
        "protocol": {"pilot_seeds": [20, 21]},
        "seeds": [0, 1, 2, 3, 4],
        "arms": {
            "hd": {
                "baseline": "sgd",
                "optimizer": "SGDHD",
                "settings": {"nesterov": True},
                "levels": {"lr": [0.0, 1e-4, 0.1], "hypergrad_lr": [1e-3]},
            }
        },
    }
    kept = shown.study.model_dump(mode="json")
    page = Page(render([replace(shown, runs=({"declared": declared, "study": kept},))]))
    assert (
        "seeds 0 to 4 (5 values); hd: SGDHD against sgd, nesterov true, lr 0, 1e-4 and 0.1,"
        " hypergrad_lr 1e-3; protocol: pilot_seeds 20 and 21" in page.text
    )
    assert '{"baseline"' not in page.text
    other = {**kept, "name": "before"}
    page = Page(render([replace(shown, runs=({"study": other},))]))
    assert "name before" in page.text


def test_cells_trained_unlike_are_said() -> None:
    shown = results(study(SGD, seeds=1))
    cells = shown.cells
    cells.loc[cells.index[:2], "device"] = "cuda"
    page = Page(render([shown]))
    assert "not all trained alike: device: cpu, cuda" in page.text


def test_a_base_arm_at_zero_is_said_not_to_train_where_it_does_not(partial_page: Page) -> None:
    said = "t lr = 0 sgd does not train (initial loss)"
    assert "A" + said in partial_page.text  # under the curves
    assert "over 3 seeds; a" + said in partial_page.text  # over the heatmap
    moved = results(paper_study())
    at_zero = (moved.cells["arm"] == "sgd") & (moved.cells["lr"] == 0)
    moved.cells.loc[at_zero, "train_loss"] *= 0.9
    assert said not in Page(render([moved])).text


def test_a_summary_explains_its_words_once() -> None:
    arms = paper_study().model_dump(mode="json")["arms"][:2]
    tasks = [{"model": "bowl", "data": name, "steps": 20} for name in ("one", "two")]
    shown = [results(paper_study(name=t["data"], arms=arms, task=t)) for t in tasks]
    html = render(shown)
    assert html.count("<h2>How to read this</h2>") == html.count('data-table="criteria"') == 1
    assert 'id="r0-reading"' in html
    assert html.count('<a href="#r0-reading">how to read this</a>') == 1
    strict = paper_study(
        arms=arms, protocol={"pilot_seeds": [20], "margins": {"zero": 0.01}}, task=tasks[1]
    )
    assert render([shown[0], results(strict)]).count('data-table="criteria"') == 2


BROKEN = {
    "nothing ran": (paper_study(), {"missing": EVERY}, "no cell has a result"),
    "everything failed": (paper_study(), {"failed": EVERY}, "no cell has a result"),
    "one cell": (study({**SGD, "lr": 0.1}, seeds=1), {}, "Averaged over the lr tried, sgd loses"),
    "one cell at zero": (
        study({**SGD, "lr": 0.0}, seeds=1),
        {},
        "sgd: no seed has a result at every",
    ),
    "one arm": (study(SGD), {}, "sgd stays within 5% of its best over"),
    "HD without baseline": (
        study({**HD, "baseline": None}),
        {},
        "hd stays within 5% of its best over",
    ),
    "all diverged": (
        study({**SGD, "lr": [1e6, 1e7]}, {**HD, "lr": [1e6, 1e7]}),
        {},
        "Every cell of sgd and hd diverged",
    ),
    "one seed": (study(SGD, HD, seeds=1), {}, "Not settled: whether hd"),
    "hypergrad_lr zero": (study(SGD, {**HD, "hypergrad_lr": [0.0]}), {}, "No: hd does not depend"),
    "base missing": (
        study(SGD, HD, seeds=1),
        {"missing": range(6)},
        "No verdict on hd: no cell has a baseline cell",
    ),
    "base alone": (
        study(SGD, HD, seeds=1),
        {"missing": range(6, 10_000)},
        "No verdict on hd: its cells have no result",
    ),
    "pilot seeds": (study(SGD, HD, protocol={"pilot_seeds": [7, 8]}), {}, "2 pilot seeds"),
    "other factors": (
        study(
            {**SGD, "factors": {"weight_decay": [0.0, 1e-3]}},
            {**HD, "factors": {"weight_decay": [0.0, 1e-3], "rule": ["additive", "other"]}},
        ),
        {},
        "weight_decay = 1e-3",
    ),
}


@pytest.mark.drawn
@pytest.mark.parametrize("name", BROKEN)
def test_any_results_give_a_page_that_says_so(name: str) -> None:
    declared, broken, sentence = BROKEN[name]
    page = Page(render([results(declared, **broken)]))
    assert sentence in page.text


def test_a_page_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    shown = [results(study(SGD, seeds=1))]
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_report(shown, tmp_path / "folder")
    out = tmp_path / "report.html"
    out.write_text("old", encoding="utf-8")
    assert write_report(shown, out) == out
    assert out.read_text(encoding="utf-8") == render(shown)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "report.html"]


def test_report_loads_no_torch_ray_or_optuna_and_opens_no_figure() -> None:
    code = (
        "import sys, hdsens.report, hdsens.store\n"
        "heavy = {'torch', 'ray', 'optuna'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_figures_leave_no_global_state(partial_html: str) -> None:
    import matplotlib.pyplot as plt

    assert partial_html
    assert plt.get_fignums() == []


@pytest.mark.drawn
def test_a_study_without_hd_gets_no_words_of_it() -> None:
    page = Page(render([results(study(SGD, {**SGD, "name": "adam", "optimizer": "Adam"}))]))
    said = page.text.split("Take the numbers along")[0].split("*/")[-1]
    assert "How much does the result depend on the learning rate?" in said
    assert not re.search(r"hypergrad|\bHD\b|refuted|baseline", said.split("</style>")[-1])


def test_page_says_what_changed_since_earlier_results() -> None:
    partial, before = results(study(SGD, HD)), results(study(SGD, HD))
    cells = before.cells.copy()
    cells.attrs = before.cells.attrs
    moved = (cells["arm"] == "hd") & (cells["lr"] == 0.1)
    cells.loc[moved, "train_loss"] += 1.0
    page = Page(render([partial], against=replace(before, cells=cells)))
    (row,) = page.named("changed")[0].dicts()
    mean = partial.cells.loc[moved, "train_loss"].mean()
    assert (row["arm"], row["lr"]) == ("hd", "0.1")
    assert read_number(row["after"]) == pytest.approx(mean, rel=0.005)
    assert read_number(row["change"]) == pytest.approx(-1.0, rel=0.005)
    assert "1 changed" in page.text
    now, then = (verdict(frame).parts for frame in (partial.cells, cells))
    flipped = now["verdict"] != then["verdict"]
    assert 0 < flipped.sum() < len(now)
    told = [row["was"] for row in page.named("parts")[0].dicts()]
    assert told == [
        was if flip else "–" for was, flip in zip(then["verdict"], flipped, strict=True)
    ]
    marks = [mark for row in page.named("strip")[0].rows for mark in row[1:]]
    assert sum("was" in mark for mark in marks) == flipped.sum()
    assert f"{flipped.sum()} of {len(now)} findings flipped." in page.text
    same = Page(render([partial], against=before))
    assert same.named("changed") == []
    assert "0 changed" in same.text
    assert f" 0 of {len(now)} findings flipped." in same.text.replace("\n", " ")
    assert "was" not in same.named("parts")[0].columns


def test_notebooks_show_studies_results_and_verdicts(partial: Results) -> None:
    evil = study({**SGD, "name": "s<b>gd"}, HD | {"baseline": "s<b>gd"}, name="a<b>")
    tables = [evil, replace(partial, study=evil), verdict(partial.cells)]
    html = [shown._repr_html_() for shown in tables]
    assert all("<b>" not in text and text.startswith("<table>") for text in html)
    assert "<td>hd</td><td>SGDHD</td><td>s&lt;b&gt;gd</td>" in html[0]
    counts = partial.cells.loc[partial.cells["arm"] == "sgd", "outcome"].value_counts()
    own = [counts.get(name, 0) for name in ("completed", "diverged", "failed")]
    cells = partial._repr_html_()
    assert "<td>sgd</td>" + "".join(f"<td>{n}</td>" for n in own) in cells
    assert html[2].count("<tr>") == 1 + len(verdict(partial.cells).parts)
