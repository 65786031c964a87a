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
    against,
    cells_at,
    cross_task_table,
    importance,
    join_cells,
    regret_table,
    sensitivity_table,
    steps_to_target_table,
    trajectory_table,
    tunability_curve,
    verdict,
)
from hdsens.analysis.measures.cross_task import cross_task_measures

STUDY = small_study().assign(
    steps_to_goal=30.0, valid_loss=1.0, best_valid_loss=1.0, finished_at="2026-01-01T00:00:00Z"
)
TRACES = pd.DataFrame(
    {"cell_id": STUDY["cell_id"], "step": 50, "lr": 0.1, "train_loss": 1.0, "valid_loss": 1.0}
)
NO_LOSS = {"train_loss": np.nan}
OTHER = STUDY.assign(task="other", cell_id="other/" + STUDY["cell_id"])
HD = STUDY["arm"] == "sgd_hd"
READ = [name for name in STUDY if name not in ("study", "optimizer", "error", "valid_loss")]
CATEGORIES = ("arm", "task", "baseline", "role", "outcome", "cell_id", "lr", "hypergrad_lr", "seed")
LABELS = ("cell_id", "task", "arm", "baseline", "outcome", "finished_at", "steps")


def with_factors(cells: pd.DataFrame, *names: str) -> pd.DataFrame:
    named = cells.copy()
    named.attrs["factors"] = list(names)
    return named


FRAMES = {
    "nothing": STUDY.iloc[:0],
    "no columns": pd.DataFrame(),
    "no columns but rows": pd.DataFrame(index=range(3)),
    "a column twice": pd.concat([STUDY, STUDY[["lr"]]], axis=1),
    "one cell": STUDY.iloc[:1],
    "one seed": STUDY[STUDY["seed"] == 0],
    "equal seeds": STUDY.assign(train_loss=1.0),
    "all diverged": STUDY.assign(outcome="diverged", **NO_LOSS),
    "all failed": STUDY.assign(outcome="failed", **NO_LOSS),
    "pilot seeds alone": STUDY.assign(role="pilot"),
    "base alone": STUDY[~HD],
    "HD alone": STUDY[HD],
    "lr = 0 alone": STUDY[STUDY["lr"] == 0],
    "completed without a loss": STUDY.assign(**NO_LOSS),
    "an untrained loss of zero": STUDY.assign(initial_loss=0.0),
    "an untrained loss near the largest number": STUDY.assign(initial_loss=1e308),
    "a loss of -inf": STUDY.assign(train_loss=-np.inf),
    "a loss near the lowest number": STUDY.assign(train_loss=-1e308),
    "complex losses": STUDY.assign(train_loss=STUDY["train_loss"] + 0j),
    "twice the same": pd.concat([STUDY, STUDY]),
    "categories": STUDY.astype(dict.fromkeys(CATEGORIES, "category")),
    "arrow": STUDY.convert_dtypes(dtype_backend="pyarrow"),
    "nullable": STUDY.convert_dtypes(),
    "objects": STUDY.astype(object),
    "two tasks": pd.concat([STUDY, OTHER]),
    "a task that failed": pd.concat([STUDY, OTHER.assign(outcome="failed", **NO_LOSS)]),
    "a task that diverged": pd.concat([STUDY, OTHER.assign(outcome="diverged", **NO_LOSS)]),
    "two baselines": STUDY.assign(baseline=STUDY["baseline"].mask(HD & (STUDY["lr"] > 0.1), "x")),
    "no baseline in some cells": STUDY.assign(baseline=STUDY["baseline"].mask(STUDY["lr"] > 0.1)),
    "a baseline of itself": STUDY.assign(baseline=STUDY["arm"]),
    "numbers as arms": STUDY.assign(arm=STUDY["arm"].astype(object).mask(HD, 1)),
    "numbers as tasks": STUDY.assign(task=3),
    "a role that none knows": STUDY.assign(role="judge"),
    "half a seed": STUDY.assign(seed=STUDY["seed"] + 0.5),
    "lr of inf": STUDY.assign(lr=STUDY["lr"].replace(1.0, np.inf)),
    "a factor that is not there": with_factors(STUDY, "lr", "momentum"),
    "lr is no factor": with_factors(STUDY[STUDY["lr"] == 0.1], "hypergrad_lr"),
    **{f"without {name}": STUDY.drop(columns=name) for name in READ},
    **{f"null {name}": STUDY.assign(**{name: None}) for name in READ},
    **{f"half of {name}": STUDY.assign(**{name: STUDY[name].iloc[::2]}) for name in LABELS},
    **{f"text as {name}": STUDY.assign(**{name: "?"}) for name in READ},
    **{f"lists as {name}": STUDY.assign(**{name: [[1]] * len(STUDY)}) for name in LABELS},
}
TABLES: dict[str, Callable[[pd.DataFrame], object]] = {
    "regret": regret_table,
    "sensitivity": sensitivity_table,
    "cross-task": cross_task_table,
    "tunability": tunability_curve,
    "steps": steps_to_target_table,
    "importance": importance,
    "trajectory": lambda cells: trajectory_table(cells, TRACES),
    "cells_at": lambda cells: cells_at(cells, TRACES, 0.5),
    "against": lambda cells: against(cells, "sgd_hd", "sgd"),
    "join": lambda cells: join_cells([cells, cells]),
    "accounting": accounting,
    "verdict": lambda cells: str(verdict(cells)),
    "verdict by a protocol": lambda cells: str(verdict(cells, {"pilot_seeds": [100]})),
}


OWN = {  # tables that read a column of their own
    "steps": ("steps_to_goal", "steps", "steps_run"),
    "trajectory": ("cell_id",),
    "cells_at": ("cell_id", "steps", "diverged_step"),
    "join": ("finished_at",),
}
FAULTS = ("without ", "null ", "half of ", "text as ", "lists as ")
MEETINGS = 4


def tables_for(frame: str) -> list[str]:
    """All tables for a frame that has next to nothing in it, where each fails in a way of its own.

    Faults of one column are found in the one place where frames are checked: such a frame meets
    four tables in turn, and those that read that column besides.
    """
    names, at = [*TABLES], MEETINGS * [*FRAMES].index(frame)
    if not frame.startswith(FAULTS):
        return names
    in_turn = [names[(at + i) % len(names)] for i in range(MEETINGS)]
    return [*in_turn, *(n for n in OWN if frame.endswith(OWN[n]) and n not in in_turn)]


@pytest.mark.parametrize("frame", FRAMES)
def test_a_table_or_one_line(frame):
    for table in tables_for(frame):
        assert "\n" not in result_or_line(lambda t=table: TABLES[t](FRAMES[frame].copy())), table


def test_each_table_meets_each_kind_of_fault():
    met = {(t, k) for k in FAULTS for f in FRAMES if f.startswith(k) for t in tables_for(f)}
    assert len(met) == len(TABLES) * len(FAULTS)


BAD_TRACES = {
    "no columns": pd.DataFrame(),
    "nothing": TRACES.iloc[:0],
    "no losses": TRACES.drop(columns="train_loss"),
    "the same rows twice": pd.concat([TRACES, TRACES]),
    "a step twice": pd.concat([TRACES, TRACES.assign(train_loss=2.0)]),
    "arrow": TRACES.convert_dtypes(dtype_backend="pyarrow"),
    "nullable": TRACES.convert_dtypes(),
    "objects": TRACES.astype(object),
    "of other cells": TRACES.assign(cell_id="x"),
    **{f"null {name}": TRACES.assign(**{name: None}) for name in TRACES},
    **{f"text as {name}": TRACES.assign(**{name: "?"}) for name in TRACES},
}


@pytest.mark.parametrize("traces", BAD_TRACES)
def test_a_table_or_one_line_of_strange_traces(traces):
    for table in (trajectory_table, lambda cells, rows: cells_at(cells, rows, 0.5)):
        assert "\n" not in result_or_line(lambda t=table: t(STUDY, BAD_TRACES[traces]))


def result_or_line(work: Callable[[], object]) -> str:
    """The error's text, empty for a result; a warning or another exception passes through."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            work()
        except InputError as error:
            return str(error)
    return ""


SAID = {
    "no columns": "cells: column 'cell_id' must be there; pass a frame as read_cells returns it",
    "a column twice": "cells: column 'lr' must be there once",
    "two baselines": "cells: task 'toy': arm 'sgd_hd': baseline must be the same in every cell"
    " (got ['sgd', 'x']); give the cells two arm names",
    "half a seed": "cells: column 'seed' must hold whole numbers (got 0.5)",
    "text as train_loss": "cells: column 'train_loss' must hold numbers (got '?')",
    "half of task": "cells: column 'task' must have no nulls (got 12 of 24)",
    "numbers as arms": "cells: column 'arm' must hold text (got 1)",
    "a role that none knows": "cells: role must be one of pilot, confirmatory (got 'judge')",
    "text as finished_at": "cells: column 'finished_at' must hold times (got '?')",
    "a loss of -inf": "metric 'train_loss' must be above -inf for every completed cell",
}


@pytest.mark.parametrize("frame", SAID)
def test_the_line_says_what_is_wrong(frame):
    with pytest.raises(InputError) as raised:
        regret_table(FRAMES[frame])
    assert str(raised.value) == SAID[frame]


def test_what_a_trace_or_an_earlier_budget_needs_is_said():
    lines = {
        "traces: cell 'toy/sgd/0.0/nan/0': step 50 must be there once": lambda: cells_at(
            STUDY, BAD_TRACES["a step twice"], 0.5
        ),
        "share must be above 0 and at most 1 (got 2)": lambda: cells_at(STUDY, TRACES, 2),
        "cells: column 'cell_id' must have no nulls (got 16 of 16)": lambda: trajectory_table(
            FRAMES["null cell_id"], TRACES
        ),
        "cells: factors must include lr (got ['hypergrad_lr'])": lambda: trajectory_table(
            FRAMES["lr is no factor"], TRACES
        ),
        "results must be at least one": lambda: join_cells([]),
    }
    assert [result_or_line(work) for work in lines.values()] == [*lines]


@pytest.mark.parametrize("dtypes", ["categories", "arrow", "nullable", "objects"])
def test_other_dtypes_give_the_same_tables(dtypes):
    for name in ("regret", "sensitivity", "tunability", "steps", "trajectory", "importance"):
        one, other = (TABLES[name](cells) for cells in (STUDY, FRAMES[dtypes]))
        pd.testing.assert_frame_equal(one, other, check_dtype=False)
    assert str(verdict(STUDY)) == str(verdict(FRAMES[dtypes]))


@pytest.mark.parametrize("frame", ["HD alone", "lr = 0 alone", "all failed"])
def test_a_verdict_on_nothing_has_the_columns_of_another(frame):
    empty, full = verdict(FRAMES[frame]), verdict(STUDY)
    for name in ("parts", "levels", "window", "joint"):
        wanted = set(getattr(full, name).columns) - {"hypergrad_lr"}
        assert wanted <= set(getattr(empty, name).columns), name


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
