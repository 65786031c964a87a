"""The page as a file: whole, self-contained, escaped, the same each time, for any results."""

from __future__ import annotations

import base64
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
from hdsens.store import Results
from hdsens.study import Study

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
    assert not re.search(r"#010[123][0-9a-f]{2}", partial_html)


def test_equal_results_give_equal_pages() -> None:
    first, second = (render([results(study(SGD, HD))]) for _ in range(2))
    assert first == second


def test_several_results_share_a_page_without_clashes(partial: Results) -> None:
    page = Page(render([partial, results(study(SGD, HD))]))
    assert len(page.ids) == len(set(page.ids))
    assert {"r0", "r1"} <= set(page.ids)
    assert ("a", "href", "#r1") in page.attributes
    assert len(page.named("regret")) == 4
    (studies,) = page.named("studies")
    assert [row["study"] for row in studies.dicts()] == ["bowls", "t"]
    assert "is not settled" in studies.dicts()[1]["answer"]


def test_several_tasks_are_judged_together() -> None:
    protocol = {"pilot_seeds": [7, 8], "primary": {"hd": {"hypergrad_lr": 1e-3}}}
    tasks = [{"model": "bowl", "data": name, "steps": 20} for name in ("one", "two")]
    shown = [results(study(SGD, HD, name="t", task=task, protocol=protocol)) for task in tasks]
    joined = join_cells([one.cells for one in shown])
    joint = verdict(joined, shown[0].study.protocol).joint.iloc[0]
    text = Page(render(shown)).text
    assert f"hd against sgd over 2 tasks: {joint['verdict']} (" in text
    alone = verdict(shown[0].cells, shown[0].study.protocol).joint.iloc[0]
    assert f"{alone['verdict'].capitalize()}: hd depends much less on lr than sgd" in text
    assert "at hypergrad_lr 1e-3, fixed beforehand" in text
    assert f"({alone['not_supported']} not supported)" in text


def test_results_that_cannot_be_joined_say_why() -> None:
    one = results(study(SGD, seeds=1))
    assert "No verdict over tasks: 1 task with a result." in Page(render([one, one])).text
    alone = [results(study(SGD, task={"model": m, "steps": 5})) for m in ("one", "two")]
    assert "No verdict over tasks: verdict has nothing to judge: no arm" in Page(render(alone)).text


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
    files = [value for _, name, value in partial_page.attributes if name == "download"]
    assert files == [
        f"bowls-{name}.csv" for name in ("regret", "sensitivity", "tunability", "verdict")
    ]
    first = next(v for _, name, v in partial_page.attributes if v.startswith("data:text/csv"))
    text = base64.b64decode(first.partition("base64,")[2]).decode()
    read, expected = pd.read_csv(io.StringIO(text)), regret_table(partial.cells)
    numbers = expected.select_dtypes("number")
    pd.testing.assert_frame_equal(read[numbers.columns], numbers, check_dtype=False, rtol=1e-5)


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
    assert '[1, {"gigawatts": 1.21}]' in page.text


def test_cells_trained_unlike_are_said() -> None:
    shown = results(study(SGD, seeds=1))
    cells = shown.cells
    cells.loc[cells.index[:2], "device"] = "cuda"
    page = Page(render([shown]))
    assert "not all trained alike: device: cpu, cuda" in page.text


BROKEN = {
    "nothing ran": (paper_study(), {"missing": EVERY}, "no cell has a result"),
    "everything failed": (paper_study(), {"failed": EVERY}, "no cell has a result"),
    "one cell": (study({**SGD, "lr": 0.1}, seeds=1), {}, "sgd has no arm to compare with"),
    "one cell at zero": (study({**SGD, "lr": 0.0}, seeds=1), {}, "no seed has a result at every"),
    "one arm": (study(SGD), {}, "sgd has no arm to compare with"),
    "HD without baseline": (study({**HD, "baseline": None}), {}, "hd has no arm to compare with"),
    "all diverged": (
        study({**SGD, "lr": [1e6, 1e7]}, {**HD, "lr": [1e6, 1e7]}),
        {},
        "Every cell of sgd and hd diverged",
    ),
    "one seed": (study(SGD, HD, seeds=1), {}, "is not settled"),
    "hypergrad_lr zero": (study(SGD, {**HD, "hypergrad_lr": [0.0]}), {}, "is refuted"),
    "base missing": (
        study(SGD, HD, seeds=1),
        {"missing": range(6)},
        "No verdict on hd: no cell has a baseline cell",
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
