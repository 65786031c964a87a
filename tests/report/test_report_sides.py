"""Arms of every kind on the page: each has its own numbers, under its own name, in its own look."""

from __future__ import annotations

import base64
import io
import itertools
import json
import re
from dataclasses import dataclass
from html import unescape
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from report_html import Page
from report_studies import paper_study, results

from hdsens.analysis import regret_table, sensitivity_table, steps_to_target_table, verdict
from hdsens.report import render
from hdsens.report.drawing.drawings import curve_drawings
from hdsens.report.drawing.palette import PRINT
from hdsens.report.drawing.side_drawings import reach_drawings, window_drawings
from hdsens.report.evidence.gather import Evidence, gather
from hdsens.store import Results
from hdsens.study import Arm
from hdsens.text import level, number, percent, read_number

LR = {"zero": True, "log10": [-3, 0], "per_decade": 1}
SGD = {"name": "sgd", "optimizer": "SGD", "lr": LR}
ADAM = {"name": "adam", "optimizer": "Adam", "lr": LR}
HD = {"name": "sgd_hd", "optimizer": "SGDHD", "lr": LR, "hypergrad_lr": [1e-4, 1e-2]}
MOMENTUM = {"name": "momentum", "optimizer": "SGD", "settings": {"momentum": 0.9}, "lr": LR}
NESTEROV = {
    "name": "nesterov",
    "optimizer": "SGD",
    "settings": {"momentum": 0.9, "nesterov": True},
    "lr": LR,
}
MOMENTA = {**MOMENTUM, "name": "heavy", "settings": {}, "factors": {"momentum": [0.5, 0.9]}}
RMSPROP = {"name": "rmsprop", "optimizer": "RMSprop", "lr": LR}


def against(base: str, *arms: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**arm, "baseline": base} for arm in arms]


STUDIES = {
    "one compared": [SGD, *against("sgd", MOMENTUM)],
    "two compared, one alone": [ADAM, *against("adam", RMSPROP, SGD), MOMENTUM],
    "four compared": [SGD, *against("sgd", MOMENTUM, NESTEROV, RMSPROP, ADAM)],
    "a base alone": [SGD],
    "HD and others": [SGD, *against("sgd", MOMENTUM, HD, RMSPROP)],
    "factors of their own": [
        SGD,
        *against("sgd", MOMENTA, {**RMSPROP, "factors": {"eps": [1, 2]}}),
    ],
}


def trained(arms: list[dict[str, Any]]) -> Results:
    shown = results(paper_study(arms=arms, seeds=2, targets={"low": {"batch_loss": 1.0}}))
    shown.cells[["valid_loss", "best_valid_loss"]] = np.nan  # one metric is enough here
    steps = 5.0 + np.arange(len(shown.cells)) % 31
    shown.cells["steps_to_low"] = np.where(shown.cells["outcome"] == "completed", steps, np.nan)
    return shown


@dataclass
class Shown:
    """Results with their page and their evidence, made once."""

    results: Results
    html: str
    page: Page
    evidence: Evidence

    @property
    def cells(self) -> pd.DataFrame:
        return self.results.cells

    @property
    def arms(self) -> tuple[Arm, ...]:
        return self.results.study.arms


@pytest.fixture(scope="module", params=STUDIES)
def shown(request: pytest.FixtureRequest) -> Shown:
    found = trained(STUDIES[request.param])
    html, evidence = render([found]), gather(found)
    assert evidence is not None
    return Shown(found, html, Page(html), evidence)


def others(cells: pd.DataFrame) -> list[str]:
    """Factors besides lr that vary anywhere."""
    return [f for f in cells.attrs["factors"] if f != "lr" and cells[f].notna().any()]


def settings(frame: pd.DataFrame, shown: Shown) -> dict[str, pd.DataFrame]:
    """Rows by the name that a setting has on the page, made here without the report."""
    found = {}
    for arm in shown.arms:
        own = frame[frame["arm"] == arm.name]
        named = [("hypergrad_lr", "")] if arm.hypergrad_lr is not None else []
        named += [(factor, f"{factor} ") for factor in arm.factors]
        for _, rows in own.groupby([f for f, _ in named]) if named else [(None, own)]:
            words = [f"{word}{level(rows.iloc[0][factor])}" for factor, word in named]
            found[" ".join([arm.name, *words])] = rows.sort_values("lr")
    return found


def families_by_hand(shown: Shown) -> dict[str, list[str]]:
    arms = shown.arms
    return {
        arm.name: [arm.name, *(a.name for a in arms if a.baseline == arm.name)]
        for arm in arms
        if arm.baseline is None
    }


DRAWERS = {"loss": curve_drawings, "steps": reach_drawings, "window": window_drawings}


def axes_of(shown: Shown, kind: str) -> dict[str, Axes]:
    """The figure of each family by its base arm."""
    return {
        family.base: next(DRAWERS[kind](shown.evidence, family, PRINT)).figure.axes[0]
        for family in shown.evidence.families
    }


def looks(lines: list[Any]) -> list[tuple[Any, Any, Any]]:
    """Colour, marker and dash of named lines."""
    return [(ln.get_color(), str(ln.get_marker()), str(ln._dash_pattern)) for ln in lines]


def named_lines(ax: Any) -> dict[str, Any]:
    lines = [line for line in ax.get_lines() if not line.get_label().startswith("_")]
    assert len({line.get_label() for line in lines}) == len(lines)
    return {line.get_label(): line for line in lines}


def arms_of(names: list[str], arms: list[str]) -> dict[str, list[str]]:
    return {arm: [n for n in names if n == arm or n.startswith(f"{arm} ")] for arm in arms}


@pytest.mark.parametrize(("kind", "column"), [("loss", "loss_mean"), ("steps", "median_steps")])
def test_each_curve_bears_its_name_and_its_numbers(shown: Shown, kind: str, column: str) -> None:
    table = (
        regret_table(shown.cells) if kind == "loss" else steps_to_target_table(shown.cells, "low")
    )
    expected = settings(table, shown)
    for base, ax in axes_of(shown, kind).items():
        lines = named_lines(ax)
        arms = families_by_hand(shown)[base]
        assert [*lines] == [n for arm in arms for n in expected if n.split()[0] == arm]
        legends = [text.get_text() for legend in ax.figure.legends for text in legend.texts]
        assert legends == [*lines] or len(lines) == 1
        for name, line in lines.items():
            rows = expected[name][expected[name]["lr"] > 0]
            drawn = np.asarray(line.get_ydata(), float)
            want = rows[column].to_numpy(float)
            np.testing.assert_allclose(drawn, np.where(np.isinf(want), np.nan, want))


@pytest.mark.parametrize("kind", ["loss", "steps"])
def test_no_two_arms_look_alike(shown: Shown, kind: str) -> None:
    for base, ax in axes_of(shown, kind).items():
        lines = named_lines(ax)
        arms = families_by_hand(shown)[base]
        by_arm = {
            arm: looks([lines[name] for name in names])
            for arm, names in arms_of([*lines], arms).items()
        }
        for one, other in itertools.combinations(by_arm.values(), 2):
            for channel in range(3):
                assert not {a[channel] for a in one} & {b[channel] for b in other}
        colors = [color for own in by_arm.values() for color, _, _ in own]
        assert len(set(colors)) == len(colors)


def test_good_levels_stand_in_the_row_of_their_setting(shown: Shown) -> None:
    expected = settings(regret_table(shown.cells), shown)
    for base, ax in axes_of(shown, "window").items():
        names = [text.get_text() for text in ax.get_yticklabels()]
        arms = families_by_hand(shown)[base]
        assert names == [n for arm in arms for n in expected if n.split()[0] == arm]
        large = [line for line in ax.get_lines() if line.get_markersize() >= 7]
        large = [line for line in large if line.get_transform() == ax.transData]
        for row, name in enumerate(names):
            own = [line for line in large if len(line.get_ydata()) and line.get_ydata()[0] == row]
            good = expected[name]["regret_mean"] <= 0.05
            assert sum(len(line.get_ydata()) for line in own) == good.sum()
        seen = {(ln.get_color(), ln.get_marker()) for ln in large if len(ln.get_ydata())}
        rows = {ln.get_ydata()[0] for ln in large if len(ln.get_ydata())}
        assert len(seen) == len(rows)


def heatmaps(html: str) -> list[dict[str, Any]]:
    """Each heatmap of the page: its labels, its points row by row, and its words."""
    found = []
    for attributes, svg in re.findall(r'<div class="heat" ([^>]*)>(<svg.*?</svg>)', html, re.S):
        given = {k: unescape(v) for k, v in re.findall(r'data-([a-z]+)="([^"]*)"', attributes)}
        words = unescape(re.search(r'aria-label="([^"]*)"', svg)[1])
        texts = [unescape(t) for t in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]
        found.append({**given, "words": words, "texts": texts})
    return found


def test_heatmaps_hold_each_arm_s_numbers_in_a_column_of_its_own(shown: Shown) -> None:
    expected = settings(regret_table(shown.cells), shown)
    data = json.loads(re.search(r'id="r0-data">(.*?)</script>', shown.html, re.S)[1])
    seen = set()
    for heat in heatmaps(shown.html):
        if ". training loss (nats). " not in heat["words"]:
            continue
        points = np.array([int(p) for p in heat["points"].split()])
        points = points.reshape(int(heat["rows"]), int(heat["columns"]))
        lines = re.findall(
            r"lr ([^:]+): ([^:]*?)\.(?= lr|$)", heat["words"].partition("(nats). ")[2]
        )
        assert len(lines) == len(points)
        assert len(set(points.ravel())) == points.size
        for (lr, said), row in zip(lines, points, strict=True):
            for text, point in zip(said.split(", "), row, strict=True):
                name, _, value = text.partition(" (")[0].rpartition(" ")
                own = expected[name]
                at = own[own["lr"] == read_number(lr)].iloc[0]
                assert value in (number(at["loss_mean"]), "diverged"), (name, lr)
                assert (value == "diverged") == (at["n_diverged"] == at["n_seeds"])
                embedded = data["points"][str(point)]
                assert (embedded["arm"], embedded["at"]["lr"]) == (at["arm"], at["lr"])
                seen.add((name, lr))
        for column in dict.fromkeys(data["points"][str(p)]["arm"] for p in points.ravel()):
            assert any(column in text for text in heat["texts"])
    assert len(seen) == sum(len(rows) for rows in expected.values())


def test_numbers_in_the_cells_stand_under_their_column(shown: Shown) -> None:
    for heat in heatmaps(shown.html):
        if ". training loss (nats). " not in heat["words"]:
            continue
        said = heat["words"].partition("(nats). ")[2]
        spoken = re.findall(r" (\S*\d\S*)(?: \(no better than untrained\))?(?=, |\. |\.$)", said)
        spoken = [s for s in spoken if s != "diverged"]
        drawn = [t.removeprefix("≥") for t in heat["texts"]]
        assert drawn[-len(spoken) :] == spoken or all(s in drawn for s in spoken)


def test_the_script_knows_each_point_s_baseline(shown: Shown) -> None:
    data = json.loads(re.search(r'id="r0-data">(.*?)</script>', shown.html, re.S)[1])
    baselines = {arm.name: arm.baseline for arm in shown.arms}
    for point in data["points"].values():
        if baselines[point["arm"]] is None:
            assert "base" not in point
        else:
            base = data["points"][str(point["base"])]
            assert base["arm"] == baselines[point["arm"]]
            assert base["at"]["lr"] == point["at"]["lr"]


@pytest.mark.parametrize("table", ["sensitivity", "regret", "parts"])
def test_tables_hold_each_arm_s_rows(shown: Shown, table: str) -> None:
    if table == "parts":
        compared = any(arm.baseline for arm in shown.arms)
        frame = verdict(shown.cells).parts if compared else pd.DataFrame()
        columns = ["effect"]
    else:
        make = {"sensitivity": sensitivity_table, "regret": regret_table}[table]
        frame, columns = make(shown.cells), ["regret_mean"]
    rows = [row for one in shown.page.named(table) for row in one.dicts()]
    assert len(rows) == len(frame)
    for row in rows:
        own = frame[frame["arm"] == row["arm"]]
        own = own[own["part"] == row["part"]] if "part" in row else own
        for factor in ("lr", *others(shown.cells)):
            if factor in row:
                at = read_number(row[factor])
                own = own[own[factor].isna() if np.isnan(at) else own[factor] == at]
        assert len(own) == 1
        for column in columns:
            value = read_number(row[column].split(" [")[0])
            assert value == pytest.approx(float(own.iloc[0][column]), abs=6e-4, nan_ok=True)


def test_sentences_quote_each_arm_s_regret(shown: Shown) -> None:
    table = sensitivity_table(shown.cells).dropna(subset="regret_mean")
    for arm in shown.arms:
        own = table[table["arm"] == arm.name]
        if len(own) == 1:
            value = f"{percent(own.iloc[0]['regret_mean'])}%"
            assert re.search(rf"\b{arm.name} (loses )?{re.escape(value)}", shown.page.text), (
                arm.name
            )


def test_words_of_hypergradients_stand_only_where_an_arm_has_one(shown: Shown) -> None:
    said = shown.page.text.split("</style>")[-1].split("*/")[-1].split("Take the numbers along")[0]
    has_hd = any(arm.optimizer.endswith("HD") for arm in shown.arms)
    assert bool(re.search(r"hypergrad|\bHD\b", said)) == has_hd


def test_strips_have_a_column_a_setting(shown: Shown) -> None:
    parts = verdict(shown.cells).parts if any(a.baseline for a in shown.arms) else None
    strips = shown.page.named("strip")
    compared = [arm for arm in shown.arms if arm.baseline is not None]
    assert len(strips) == len(compared)
    for arm, strip in zip(compared, strips, strict=True):
        own = parts[parts["arm"] == arm.name]
        marks = [text[1:] for row in strip.rows for text in row[1:]]
        assert sorted(marks) == sorted(own["verdict"])


def test_downloads_hold_the_cells_as_they_are(shown: Shown) -> None:
    links = {
        dict(ln)["download"]: dict(ln)["href"] for ln in shown.page.links if "download" in dict(ln)
    }
    text = base64.b64decode(links["bowls-cells.csv"].partition("base64,")[2]).decode()
    read = pd.read_csv(io.StringIO(text))
    assert read["arm"].tolist() == shown.cells["arm"].tolist()
    np.testing.assert_allclose(read["train_loss"], shown.cells["train_loss"], rtol=1e-5)
