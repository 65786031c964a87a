"""Frames with next to nothing in them: a table or one line, never another error or a warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from cell_frames import small_study

from hdsens import InputError
from hdsens.analysis import (
    accounting,
    cross_task_table,
    regret_table,
    sensitivity_table,
    steps_to_target_table,
    tunability_curve,
    verdict,
)
from hdsens.analysis.cross_task import cross_task_measures

STUDY = small_study().assign(steps_to_goal=30.0)
NO_LOSS = {"train_loss": np.nan}
OTHER = STUDY.assign(task="other", cell_id="other/" + STUDY["cell_id"])

FRAMES = {
    "nothing": STUDY.iloc[:0],
    "one cell": STUDY.iloc[:1],
    "one seed": STUDY[STUDY["seed"] == 0],
    "equal seeds": STUDY.assign(train_loss=1.0),
    "all diverged": STUDY.assign(outcome="diverged", **NO_LOSS),
    "all failed": STUDY.assign(outcome="failed", **NO_LOSS),
    "pilots alone": STUDY.assign(role="pilot"),
    "base alone": STUDY[STUDY["arm"] == "sgd"],
    "HD alone": STUDY[STUDY["arm"] != "sgd"],
    "lr = 0 alone": STUDY[STUDY["lr"] == 0],
    "completed without a loss": STUDY.assign(**NO_LOSS),
    "twice the same": pd.concat([STUDY, STUDY]),
    "categories": STUDY.astype({"arm": "category", "outcome": "category"}),
    "two tasks": pd.concat([STUDY, OTHER]),
    "a task that failed": pd.concat([STUDY, OTHER.assign(outcome="failed", **NO_LOSS)]),
    "a task that diverged": pd.concat([STUDY, OTHER.assign(outcome="diverged", **NO_LOSS)]),
    "no steps": STUDY.drop(columns=["steps", "steps_run"]),
}
TABLES: dict[str, Callable[[pd.DataFrame], object]] = {
    "regret": regret_table,
    "regret to all": lambda cells: regret_table(cells, reference="all"),
    "sensitivity": sensitivity_table,
    "cross-task": cross_task_table,
    "tunability": tunability_curve,
    "steps": steps_to_target_table,
    "accounting": accounting,
    "verdict": lambda cells: str(verdict(cells)),
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("frame", FRAMES)
def test_a_table_or_one_line(frame, table):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            TABLES[table](FRAMES[frame].copy())
        except InputError as error:
            message = str(error)
        else:
            message = ""
    assert "\n" not in message


def test_means_over_other_levels_than_the_baselines_are_named():
    told = "other levels than sgd; each mean is over its own"
    fewer = STUDY[(STUDY["arm"] == "sgd_hd") | (STUDY["lr"] != 0.01)]
    found = [
        any(told in note for note in sensitivity_table(cells).attrs["restrictions"])
        for cells in (STUDY, fewer)
    ]
    assert found == [False, True]


def test_a_score_that_is_not_known_has_no_dimensionality():
    assert np.isnan(cross_task_measures(np.full((2, 3), np.nan), 1).dimensionality)


def test_a_task_without_a_result_is_left_out_and_named():
    table = cross_task_table(FRAMES["a task that failed"])
    assert table.empty
    assert "task other: left out, no cell has a result" in table.attrs["restrictions"]
