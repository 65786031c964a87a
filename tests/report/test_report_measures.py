"""What the switch offers and what the script gets, against the cells and traces themselves."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_studies import TRAIN_SIZE, paper_study, results

from hdsens.analysis import CheckedCells, regret_table, steps_to_target_table
from hdsens.analysis.measures.points import point_table
from hdsens.analysis.panel.families import Family
from hdsens.report.drawing.heatmap import color_scale, heatmap
from hdsens.report.evidence.heatmap_measures import measures
from hdsens.report.evidence.points import METRICS, point_of_cells
from hdsens.report.page import cell_curves as curves
from hdsens.report.page.cell_curves import cell_curves
from hdsens.store import Results
from hdsens.study.cells import expand

SGD = Family("sgd", ("sgd_hd",))
BASELINES = {"sgd_hd": "sgd", "sgdn_hd": "sgdn", "adam_hd": "adam"}


def by_name(shown: Results) -> dict[str, Any]:
    cells = CheckedCells.of(shown)
    points = {metric: point_table(cells, metric) for metric in METRICS}
    steps = {target: steps_to_target_table(cells, target) for target in shown.study.targets}
    return {one.name: one for one in measures(cells, points, steps, BASELINES)}


def test_switch_offers_every_measure_of_the_cells(partial: Results) -> None:
    assert list(by_name(partial)) == [
        *("train_loss", "valid_loss", "best_valid_loss", "regret", "difference", "lr_final"),
        *("diverged", "steps_to_low"),
    ]


def test_difference_is_regret_minus_the_baseline_s_at_the_same_lr(partial: Results) -> None:
    rows = by_name(partial)["difference"].rows
    regret = regret_table(partial.cells).set_index(["arm", "lr", "hypergrad_lr"])["regret_mean"]
    assert set(rows["arm"]) == set(BASELINES)
    for row in rows.itertuples():
        base = regret.loc[BASELINES[row.arm], row.lr].iloc[0]
        own = regret.loc[row.arm, row.lr, row.hypergrad_lr]
        assert row.value == pytest.approx(own - base)


def test_difference_pairs_shared_factors_and_leaves_out_what_has_no_baseline() -> None:
    decay = {"weight_decay": [0.0, 1e-3]}
    arms = paper_study().model_dump(mode="json")["arms"][:2]
    both = [{**arms[0], "factors": decay}, {**arms[1], "factors": decay, "hypergrad_lr": 0.0}]
    study = paper_study(arms=both, seeds=1)
    first = [i for i, c in enumerate(expand(study, TRAIN_SIZE)) if c.factors["weight_decay"] == 0]
    shown = results(study, missing=first[:3])
    rows = by_name(shown)["difference"].rows
    assert len(rows) == 14
    assert rows["value"].isna().sum() == 3
    assert rows["value"].dropna().abs().max() == pytest.approx(0, abs=1e-12)
    state = heatmap(rows[rows["weight_decay"] == 0], SGD, "value").state
    assert (state == "missing").sum() == 3


def test_lr_at_the_end_is_the_median_of_completed_cells(partial: Results) -> None:
    rows = by_name(partial)["lr_final"].rows
    cells = partial.cells[partial.cells["outcome"] == "completed"]
    keys = ["arm", "lr", "hypergrad_lr"]
    expected = cells.groupby(keys, dropna=False)["lr_final"].median()
    found = rows.dropna(subset="value").set_index(keys)["value"]
    pd.testing.assert_series_equal(found, expected, check_names=False, check_dtype=False)


def test_points_that_never_reach_a_target_lie_beyond_the_budget() -> None:
    shown = results(paper_study(seeds=2))
    cells = shown.cells
    fast = (cells["arm"] == "adam") & (cells["lr"] == 0.1)
    cells.loc[fast, "steps_to_low"] = 7.0
    rows = by_name(shown)["steps_to_low"].rows
    steps = steps_to_target_table(cells, "low")["median_steps"]
    assert rows["value"].tolist() == steps.tolist()
    assert rows.loc[(rows["arm"] == "adam") & (rows["lr"] == 0.1), "value"].tolist() == [7.0]
    drawn = heatmap(rows, Family("adam"), "value")
    assert drawn.state.ravel().tolist() == ["beyond", "beyond", "completed"] + ["beyond"] * 4


def test_share_that_diverged_hides_no_point(partial: Results) -> None:
    rows = by_name(partial)["diverged"].rows
    cells = partial.cells[partial.cells["outcome"] != "failed"]
    keys = ["arm", "lr", "hypergrad_lr"]
    share = (cells["outcome"] == "diverged").groupby([cells[k] for k in keys], dropna=False).mean()
    found = rows.set_index(keys)["value"]
    pd.testing.assert_series_equal(found, share, check_names=False)
    drawn = heatmap(rows, SGD, "value", capped=False)
    assert set(drawn.state.ravel()) == {"completed"}
    assert drawn.value.max() == 1.0


def test_differences_are_scaled_alike_on_both_sides_of_zero(partial: Results) -> None:
    measure = by_name(partial)["difference"]
    norm = color_scale([heatmap(measure.rows, Family("adam", ("adam_hd",)), "value")], measure).norm
    assert norm.vmin == -norm.vmax < 0
    assert norm(0.0) == 0.5


def read(shown: Results) -> tuple[dict[str, Any], pd.DataFrame]:
    points = point_table(shown.cells)
    return json.loads(str(cell_curves(shown, points))), points


def test_script_gets_every_cell_with_its_own_trace(partial: Results) -> None:
    data, points = read(partial)
    assert data["by"] == "cell"
    assert len(data["runs"]) == len(partial.cells)
    cells = partial.cells.set_index("cell_id")
    for run in data["runs"]:
        row, point = cells.loc[run["id"]], points.loc[run["point"]]
        assert (row["arm"], row["lr"], row["seed"]) == (point["arm"], point["lr"], run["seed"])
        assert data["points"][str(run["point"])]["at"]["lr"] == row["lr"]
        if row["outcome"] == "completed":
            assert run["train_loss"] == pytest.approx(row["train_loss"], rel=1e-3)
    for cell_id, trace in partial.traces.groupby("cell_id"):
        steps, lr, batch_loss = data["curves"]["of"][cell_id]
        at = trace.set_index("step").loc[data["curves"]["steps"][steps]]
        assert lr == pytest.approx(at["lr"].tolist(), rel=1e-3)
        assert batch_loss == pytest.approx(at["batch_loss"].tolist(), rel=1e-3)
        assert at.index[-1] == trace["step"].max()


def test_many_cells_get_medians_of_their_point_within_the_budget(
    partial: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves, "MAX_CELLS", 100)
    monkeypatch.setattr(curves, "NUMBERS", 84 * 10)
    data, points = read(partial)
    assert data["by"] == "point"
    assert data["runs"] == []
    cells = partial.cells.assign(point=point_of_cells(partial.cells, points))
    traces = partial.traces.merge(cells[["cell_id", "point"]], on="cell_id")
    assert set(data["curves"]["of"]) == {str(p) for p in traces["point"].unique()}
    for point, (steps, lr, _) in data["curves"]["of"].items():
        kept = data["curves"]["steps"][steps]
        assert len(kept) <= 10
        own = traces[traces["point"] == int(point)]
        every = own.pivot_table(index="step", columns="cell_id", values="lr")
        median = every.loc[kept]
        assert not median.isna().any(axis=None)  # it ends with the first seed that does
        assert kept[-1] == every.dropna().index[-1]
        assert lr == pytest.approx(np.median(median, axis=1), rel=1e-3)


def test_script_data_cannot_end_its_element() -> None:
    study = paper_study(name="<b><script><b>", seeds=1)
    text = str(cell_curves(results(study), point_table(results(study).cells)))
    assert "<" not in text
    assert json.loads(text)["study"]["name"] == "<b><script><b>"
