"""The report in a real Chromium: from disk, with the network refused."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

from report_studies import TRAIN_SIZE, paper_study, results

from hdsens import read_cells, run
from hdsens.report import write_report
from hdsens.store import Results
from hdsens.study import Study
from hdsens.study.cells import expand

pytestmark = pytest.mark.system
sync_api = pytest.importorskip("playwright.sync_api", reason="tox -e system installs playwright")

SIZES = {"desktop": (1280, 800), "phone": (380, 760)}
SCHEMES = ("light", "dark")


@pytest.fixture(scope="module")
def shown() -> Results:
    return results(paper_study(), failed=[3], missing=[100])


@pytest.fixture(scope="module")
def address(shown: Results, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report([shown], tmp_path_factory.mktemp("page") / "report.html").as_uri()


@pytest.fixture(scope="module")
def artifacts(pytestconfig: pytest.Config) -> Path:
    """Where screenshots stay: HDSENS_ARTIFACTS, else artifacts/ at the project's root."""
    folder = Path(os.environ.get("HDSENS_ARTIFACTS") or pytestconfig.rootpath / "artifacts")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "no Chromium on PATH; apt-get install chromium"
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page, opened; a message on the console or a request but the page's own fails the test."""
    options = getattr(request, "param", {})
    context = browser.new_context(**options)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda r: wrong.append(r.url) if r.url != address else None)
    context.set_offline(True)
    page.goto(address)
    yield page
    context.close()
    assert wrong == []


def looks() -> list[Any]:
    return [
        pytest.param(
            {"viewport": {"width": w, "height": h}, "color_scheme": scheme}, id=f"{name}-{scheme}"
        )
        for name, (w, h) in SIZES.items()
        for scheme in SCHEMES
    ]


@pytest.mark.parametrize("page", looks(), indirect=True)
def test_page_fits_its_window_and_wears_its_scheme(
    page: Any, artifacts: Path, request: pytest.FixtureRequest
) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    ink = page.evaluate("getComputedStyle(document.querySelector('.answer svg text')).fill")
    brightness = [sum(map(int, re.findall(r"\d+", color)[:3])) for color in (paper, ink)]
    dark = "dark" in request.node.callspec.id
    assert (brightness[0] < brightness[1]) == dark
    page.screenshot(path=artifacts / f"report-{request.node.callspec.id}.png", full_page=True)


@pytest.mark.parametrize("page", [{"viewport": {"width": 1280, "height": 800}}], indirect=True)
def test_answer_cost_and_what_is_missing_stand_on_the_first_screen(page: Any) -> None:
    parts = [*page.locator(".family").all(), *page.locator("h1, .account, .notice").all()]
    assert len(parts) == 6
    for part in parts:
        box = part.bounding_box()
        assert box["y"] + box["height"] <= 800


def choose(page: Any, row: float, column: float, rows: int = 7, columns: int = 4) -> Any:
    """Click a cell of the first heatmap that is shown; the panel beside it."""
    section = page.locator("section.evidence").first
    button = section.locator(".hits >> visible=true").first
    box = button.bounding_box()
    at = {"x": box["width"] * (column + 0.5) / columns, "y": box["height"] * (row + 0.5) / rows}
    button.click(position=at)
    return section.locator(".closer")


def path_points(panel: Any, figure: int, kind: str, curve: int) -> np.ndarray:
    """Points of a drawn curve, (n, 2) in pixels; `kind` is "own" or "base"."""
    lines = panel.locator("figure").nth(figure).locator(f".{kind}_marks path")
    d = lines.nth(curve).get_attribute("d")
    return np.array([[float(v) for v in p.split(",")] for p in re.split("[ML]", d)[1:]])


def symlog(values: np.ndarray, threshold: float) -> np.ndarray:
    return np.sign(values) * np.log1p(np.abs(values) / threshold)


def straightness(x: np.ndarray, y: np.ndarray) -> float:
    """Largest distance from the straight line of y over x, in pixels."""
    if not np.ptp(x):
        return float(np.ptp(y))
    return float(np.abs(np.polyval(np.polyfit(x, y, 1), x) - y).max())


def test_click_shows_the_curves_of_that_cell(page: Any, shown: Results) -> None:
    panel = choose(page, row=6, column=2)  # lr = 0, hypergrad_lr = 0.01
    assert panel.locator("h3").inner_text() == "sgd_hd, lr 0, hypergrad_lr 0.01"
    cells = shown.cells
    own = cells[(cells["arm"] == "sgd_hd") & (cells["lr"] == 0) & (cells["hypergrad_lr"] == 0.01)]
    rows = panel.locator("tbody tr")
    assert rows.count() == len(own) == 3
    for i, (_, cell) in enumerate(own.iterrows()):
        assert rows.nth(i).get_attribute("data-cell") == cell["cell_id"]
        loss = float(rows.nth(i).locator("[data-value=train_loss]").inner_text())
        assert loss == pytest.approx(cell["train_loss"], rel=1e-3)
    base = cells[(cells["arm"] == "sgd") & (cells["lr"] == 0)]
    traces = shown.traces[shown.traces["cell_id"].isin([*own["cell_id"], *base["cell_id"]])]
    threshold = traces.loc[traces["lr"] != 0, "lr"].abs().min()
    for kind, part in (("own", own), ("base", base)):
        for i, cell_id in enumerate(part["cell_id"]):
            trace = traces[traces["cell_id"] == cell_id]
            batch_loss, lr = (path_points(panel, figure, kind, i) for figure in (0, 1))
            assert len(batch_loss) == len(lr) == len(trace)
            steps = np.log10(trace["step"].to_numpy(float))
            assert straightness(steps, batch_loss[:, 0]) < 0.2
            assert straightness(np.log10(trace["batch_loss"].to_numpy()), batch_loss[:, 1]) < 0.5
            assert straightness(symlog(trace["lr"].to_numpy(), threshold), lr[:, 1]) < 0.5


def test_a_curve_can_be_read_and_zoomed(page: Any, shown: Results) -> None:
    panel = choose(page, row=6, column=2)
    chart = panel.locator(".chart").first
    chart.locator(".mark-symbol path").nth(6 * 9 + 4).hover(force=True)
    read = dict(
        row.locator("td").all_inner_texts() for row in page.locator("#vg-tooltip-element tr").all()
    )
    seed = int(read["curve"].removeprefix("sgd, ").removeprefix("seed "))
    arm = "sgd" if read["curve"].startswith("sgd,") else "sgd_hd"
    cells = shown.cells[(shown.cells["lr"] == 0) & (shown.cells["seed"] == seed)]
    cell = cells[(cells["arm"] == arm) & cells["hypergrad_lr"].isin([0.01, np.nan])].iloc[0]
    traces = shown.traces[shown.traces["cell_id"] == cell["cell_id"]]
    at = traces.set_index("step")["batch_loss"].loc[int(read["step"])]
    assert float(read["value"]) == pytest.approx(at, rel=1e-3)
    before = path_points(panel, 0, "own", 0)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    page.wait_for_timeout(200)
    zoomed = path_points(panel, 0, "own", 0)
    assert np.ptp(zoomed[:, 0]) > 1.2 * np.ptp(before[:, 0])


def test_the_library_is_read_only_when_a_chart_is_in_view(page: Any) -> None:
    page.wait_for_timeout(300)
    assert page.evaluate("typeof window.vegaEmbed") == "undefined"
    panel = page.locator("section.evidence .closer").first
    panel.scroll_into_view_if_needed()
    panel.locator(".own_marks path").first.wait_for(state="attached")
    assert page.evaluate("typeof window.vegaEmbed") == "function"


def test_arrow_keys_choose_cells(page: Any) -> None:
    panel = choose(page, row=6, column=1)
    page.keyboard.press("ArrowUp")
    assert panel.locator("h3").inner_text() == "sgd_hd, lr 1e-4, hypergrad_lr 1e-4"
    page.keyboard.press("ArrowLeft")
    assert panel.locator("h3").inner_text() == "sgd, lr 1e-4"


def test_diverged_and_failed_cells_say_what_became_of_them(page: Any) -> None:
    panel = choose(page, row=0, column=3)
    outcomes = panel.locator("tbody td:nth-child(2)").all_inner_texts()
    assert all(re.fullmatch(r"diverged: at step \d+", text) for text in outcomes)
    panel = choose(page, row=3, column=0)
    assert panel.locator("tbody td:nth-child(2)").first.inner_text() == "failed: boom"


def test_a_cell_s_study_file_names_the_same_cells(page: Any, tmp_path: Path) -> None:
    panel = choose(page, row=2, column=2)
    panel.locator("summary").click()
    file = tmp_path / "cell.toml"
    file.write_text(panel.locator("pre").inner_text(), encoding="utf-8")
    again = {cell.cell_id for cell in expand(Study.from_toml(file), TRAIN_SIZE)}
    ids = [row.get_attribute("data-cell") for row in panel.locator("tbody tr").all()]
    assert again == set(ids)
    assert len(ids) == 3


@pytest.mark.page
def test_the_command_on_the_page_trains_the_cell_again(browser: Any, tmp_path: Path) -> None:
    """A real study, its page, the file that the page offers, and the same losses once more.

    By the plain loop both times: packs of other sizes differ in the last bits.
    """
    arm = {"optimizer": "SGD", "lr": [0.0, 0.1]}
    hd = {**arm, "name": "hd", "optimizer": "SGDHD", "baseline": "sgd", "hypergrad_lr": [1e-3, 0.1]}
    task = {"model": "logreg", "data": "digits", "steps": 20}
    arms = [{**arm, "name": "sgd"}, hd]
    study = Study.from_dict({"name": "real", "seeds": 2, "task": task, "arms": arms})
    done = run(study, tmp_path / "real", executor="inline", path="plain")
    page = browser.new_page()
    page.goto(done.report.as_uri())
    panel = choose(page, row=0, column=2, rows=2, columns=3)
    assert panel.locator("h3").inner_text() == "hd, lr 0.1, hypergrad_lr 0.1"
    panel.locator("summary").click()
    with page.expect_download() as download:
        panel.locator("a[download]").click()
    assert panel.locator("code").inner_text() == "hdsens run cell.toml"
    download.value.save_as(tmp_path / download.value.suggested_filename)
    again = run(tmp_path / "cell.toml", tmp_path / "again", executor="inline", path="plain")
    ids = [row.get_attribute("data-cell") for row in panel.locator("tbody tr").all()]
    page.close()
    first, second = (read_cells(d.folder).set_index("cell_id") for d in (done, again))
    assert set(second.index) == set(ids)
    assert second["train_loss"].tolist() == first.loc[second.index, "train_loss"].tolist()


def test_switch_changes_the_measure_in_place(page: Any) -> None:
    section = page.locator("section.evidence").first
    shown = section.locator(".measure >> visible=true")
    assert shown.count() == 1
    panel = choose(page, row=6, column=2)
    before = shown.locator("svg").first.get_attribute("aria-label")
    section.locator("input[value=valid_loss]").check()
    assert shown.count() == 1
    after = shown.locator("svg").first.get_attribute("aria-label")
    assert "training loss (nats)" in before
    assert "validation loss (nats)" in after
    assert panel.locator("h3").inner_text() == "sgd_hd, lr 0, hypergrad_lr 0.01"
    at, heat = (shown.locator(x).bounding_box() for x in (".cursor.on", ".hits"))
    middle = [(at[a] + at[s] / 2 - heat[a]) / heat[s] for a, s in (("x", "width"), ("y", "height"))]
    assert middle == pytest.approx([2.5 / 4, 6.5 / 7], abs=0.01)


@pytest.mark.parametrize("page", [{"java_script_enabled": False}], indirect=True)
def test_without_scripts_figures_tables_and_switch_remain(page: Any) -> None:
    section = page.locator("section.evidence").first
    section.locator("input[value=regret]").check()
    label = section.locator(".measure >> visible=true").locator("svg").get_attribute("aria-label")
    assert ". regret. lr 10" in label
    assert page.locator("[data-table=regret] tbody tr").count() == 84
    assert not section.locator(".closer").is_visible()
    for kind, n in ((".family", 1), (".heatmaps", 8), (".paths", 3), (".sides", 4)):
        where = page.locator(kind).first if kind == ".family" else section.locator(kind)
        assert where.locator("svg[aria-label]").count() == n, kind


def test_prints_light_whole_and_without_controls(page: Any, artifacts: Path) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".pick").first.is_visible()
    clipped = (
        "[...document.querySelectorAll('.scroll')].some(e => e.scrollHeight > e.clientHeight + 1)"
    )
    assert not page.evaluate(clipped)
    pdf = page.pdf(path=artifacts / "report.pdf", format="A4")
    assert pdf.startswith(b"%PDF")


@pytest.mark.parametrize("page", [{"color_scheme": s} for s in SCHEMES], indirect=True, ids=SCHEMES)
def test_no_serious_accessibility_findings(page: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    choose(page, row=6, column=2)
    found = axe.Axe().run(page).response["violations"]
    serious = [f for f in found if f["impact"] in ("serious", "critical")]
    assert [(f["id"], f["nodes"][0]["html"][:200]) for f in serious] == []


BROKEN = {
    "nothing": {"missing": range(1000)},
    "one": {"missing": range(1, 1000)},
    "base": {"missing": range(7, 1000)},
}


@pytest.mark.parametrize("name", BROKEN)
def test_hardly_any_result_gives_a_page_without_errors(
    browser: Any, tmp_path: Path, artifacts: Path, name: str
) -> None:
    few = results(
        paper_study(arms=paper_study().model_dump(mode="json")["arms"][:2]), **BROKEN[name]
    )
    page = browser.new_page(viewport={"width": 380, "height": 760})
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(write_report([few], tmp_path / "report.html").as_uri())
    page.screenshot(path=artifacts / f"report-few-{name}.png", full_page=True)
    assert wrong == []
    assert "This report is partial" in page.locator(".notice").first.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()


def test_summary_links_to_its_studies(browser: Any, tmp_path: Path, artifacts: Path) -> None:
    arms = paper_study().model_dump(mode="json")["arms"][:2]
    tasks = [{"model": "bowl", "data": name, "steps": 20} for name in ("one", "two")]
    shown = [results(paper_study(name=t["data"], arms=arms, task=t)) for t in tasks]
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(write_report(shown, tmp_path / "report.html").as_uri())
    page.screenshot(path=artifacts / "report-summary.png")
    page.locator("[data-table=studies] a").nth(1).click()
    assert page.url.endswith("#r1")
    assert abs(page.locator("#r1").bounding_box()["y"]) < 2
    panel = page.locator("#r1 .closer")
    assert panel.locator("tbody tr").count() == 3
    page.close()
