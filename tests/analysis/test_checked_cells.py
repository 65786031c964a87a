"""Results, a frame and the value made of them are one to every table; a value never goes stale."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cell_frames import cell, frame, small_study

from hdsens import analysis
from hdsens.analysis import CheckedCells, regret_table, sensitivity_table, verdict
from hdsens.analysis.panel.panel import Panel, build_panel
from hdsens.errors import InputError
from hdsens.store import Results
from hdsens.store.facts import Facts
from hdsens.study import Study

STUDY = Study.from_dict(
    {
        "name": "toy",
        "seeds": 2,
        "task": {"model": "logreg", "data": "digits", "steps": 100},
        "arms": [{"name": "sgd", "optimizer": "SGD", "lr": 0.1}],
    }
)
PROTOCOL = {"pilot_seeds": [100], "primary": {"sgd_hd": {"hypergrad_lr": 1e-3}}}


def two_tasks() -> pd.DataFrame:
    one = small_study().assign(steps_to_low=[*range(10, 30), *[np.nan] * 4])
    other = one.assign(task="other", cell_id="other/" + one["cell_id"])
    both = pd.concat([one, other], ignore_index=True)
    roles = both[["task", "seed", "role"]].drop_duplicates().to_dict("records")
    both.attrs = {"factors": ["lr", "hypergrad_lr"], "expected": 50, "n_rows": len(both)}
    both.attrs["trained_as"] = roles
    both.attrs["task_settings"] = {"toy": {"batch_size": 8}, "other": {"batch_size": 9}}
    return both


def traces(cells: pd.DataFrame) -> pd.DataFrame:
    """One evaluation of each cell, halfway."""
    ids = cells["cell_id"].tolist()
    return pd.DataFrame({"cell_id": ids, "step": 50, "lr": 0.5, "train_loss": 1.0})


TRACES = traces(two_tasks())
PUBLIC: dict[str, Callable[[Any], Any]] = {
    "accounting": analysis.accounting,
    "against": lambda cells: analysis.against(cells, "sgd", "sgd_hd"),
    "cells_at": lambda cells: analysis.cells_at(cells, TRACES, 0.5),
    "cross_task_table": analysis.cross_task_table,
    "importance": analysis.importance,
    "join_cells": lambda cells: analysis.join_cells([cells, cells]),
    "regret_table": analysis.regret_table,
    "sensitivity_table": analysis.sensitivity_table,
    "steps_to_target_table": analysis.steps_to_target_table,
    "trajectory_table": lambda cells: analysis.trajectory_table(cells, TRACES),
    "tunability_curve": analysis.tunability_curve,
    "verdict": lambda cells: analysis.verdict(cells, PROTOCOL).parts,
}


def test_the_list_has_every_public_function() -> None:
    assert set(PUBLIC) == {name for name in analysis.__all__ if name.islower()}


@pytest.mark.parametrize("name", PUBLIC)
def test_results_a_frame_and_checked_cells_are_one_to_every_table(name: str) -> None:
    cells = two_tasks()
    given = (cells, Results(Path("toy"), STUDY, cells, TRACES, ()), CheckedCells.of(cells))
    first, *others = (PUBLIC[name](one) for one in given)
    for other in others:
        if isinstance(first, pd.DataFrame):
            pd.testing.assert_frame_equal(first, other)
            assert first.attrs == other.attrs
        else:
            assert first == other


def test_a_value_builds_one_panel_a_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for the verdict, whose protocol gives the seeds the roles that they have already."""
    built: list[str | None] = []

    def counted(cells: pd.DataFrame, factors: Any, account: Any, metric: str | None) -> Panel:
        built.append(metric)
        return build_panel(cells, factors, account, metric)

    monkeypatch.setattr("hdsens.analysis.panel.cells.build_panel", counted)
    value = CheckedCells.of(small_study())
    for table in (regret_table, sensitivity_table, analysis.tunability_curve):
        table(value)
    verdict(value, PROTOCOL)
    assert built == ["train_loss"]
    verdict(value, PROTOCOL | {"pilot_seeds": [1]})
    assert built == ["train_loss", "train_loss"]


def test_a_frame_that_changes_gives_fresh_tables_and_leaves_a_value_alone() -> None:
    cells = small_study()
    value, before = CheckedCells.of(cells), regret_table(cells)
    cells.loc[cells["outcome"] == "completed", "train_loss"] = 0.9
    cells.attrs["expected"] = 99
    assert (regret_table(cells)["loss_mean"] != before["loss_mean"]).any()
    assert regret_table(cells).attrs["accounting"]["expected"] == 99
    pd.testing.assert_frame_equal(regret_table(value), before)
    panel = value.panel("train_loss")
    for array in (panel.runs.loss, panel.runs.used, panel.pilot.initial):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


def test_a_frame_carries_its_facts_and_hands_them_back() -> None:
    cells = two_tasks()
    cells.attrs["note"] = "mine"
    facts = Facts.of(cells)
    again = facts.carried_by(cells.assign(extra=1))
    assert again.attrs == cells.attrs
    assert Facts.of(again) == facts
    assert Facts.of(cells.iloc[1:]).expected is None
    renamed = facts.renamed({"toy": "toy (batch_size = 8)"})
    assert {role.task for role in renamed.trained_as or ()} == {"toy (batch_size = 8)", "other"}
    assert list(renamed.task_settings or {}) == ["toy (batch_size = 8)", "other"]


def test_what_is_no_frame_or_carries_what_nobody_wrote_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"must be results or a frame \(got 'str'\)"):
        regret_table("results/quickstart")
    cells = frame([cell("sgd", 0.1, 0, 1.0)])
    cells.attrs["trained_as"] = [{"seed": 0}]
    with pytest.raises(InputError) as caught:
        regret_table(cells)
    assert str(caught.value) == "cells: attrs['trained_as'] must be as read_cells gives it"
