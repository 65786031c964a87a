"""Frames of cells made ready for the tables: joined, two arms at a time, at an earlier budget."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from hdsens.analysis.arrays import Floats
from hdsens.analysis.panel.accounting import expected_of, factor_names, one_row_a_cell
from hdsens.analysis.panel.checks import check_columns, checked, floats, texts
from hdsens.analysis.panel.tasks import LISTS_BY_TASK, check_same_arms, tell_tasks_apart
from hdsens.errors import InputError


def join_cells(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Put the cells of several studies into one frame, with all their factors.

    Results of one task are one task; where two have the same label and differ in batch size, steps,
    weight decay, validation, dtype, stop rule or seeds, the label is extended by what differs. A
    cell that two results hold counts once. `attrs["expected"]` is the sum over the frames, where
    every frame has it; absent where results overlap and lack cells, as both may lack the same.

    Raises:
        InputError: no frame; a column is missing or holds what it should not; two results of one
            task declare an arm of one name differently.
    """
    parts = tell_tasks_apart([checked(part) for part in frames])
    if not parts:
        raise InputError("results", "must be at least one")
    check_same_arms(parts)
    joined = pd.concat(
        [part.dropna(axis="columns", how="all") for part in parts], ignore_index=True
    )
    joined = joined.reindex(columns=list(dict.fromkeys(c for part in parts for c in part.columns)))
    total = len(joined)
    joined = one_row_a_cell(joined).reset_index(drop=True)
    joined.attrs = {"factors": list(dict.fromkeys(n for part in parts for n in factor_names(part)))}
    expected = [expected_of(part) for part in parts]
    overlap = total - len(joined)
    if None not in expected and (not overlap or expected == [len(part) for part in parts]):
        joined.attrs["expected"] = sum(filter(None, expected)) - overlap
        joined.attrs["n_rows"] = len(joined)
    for name in LISTS_BY_TASK:
        found = [entry for part in parts for entry in part.attrs.get(name, [])]
        if found:
            joined.attrs[name] = found
    settings = [part.attrs["task_settings"] for part in parts if "task_settings" in part.attrs]
    if settings:
        joined.attrs["task_settings"] = {k: v for told in settings for k, v in told.items()}
    return joined


def against(cells: pd.DataFrame, arm: str, baseline: str) -> pd.DataFrame:
    """Cells of two arms, one as the other's baseline: any table or verdict then compares them.

    Raises:
        InputError: an arm that has no cells.
    """
    cells = checked(cells)
    for name in (arm, baseline):
        if not (cells["arm"] == name).any():
            raise InputError("arm", f"must be one of {', '.join(sorted(set(cells['arm'])))}", name)
    two = cells[cells["arm"].isin([arm, baseline])]
    pair = two.assign(baseline=pd.Series(baseline, index=two.index).where(two["arm"] == arm))
    kept: dict[Hashable, Any] = {
        name: cells.attrs[name] for name in (*LISTS_BY_TASK, "task_settings") if name in cells.attrs
    }
    pair.attrs = kept | {"factors": list(factor_names(cells))}
    return pair


def cells_at(cells: pd.DataFrame, traces: pd.DataFrame, share: float) -> pd.DataFrame:
    """Cells as they stood at a share of their budget, where the trace has a full evaluation.

    `train_loss` and the validation columns are those of step ceil(share · steps), which is the
    budget `steps` then; a cell that diverged later is completed there, one that diverged by then is
    diverged. A target counts where it was reached by then. `best_valid_loss` is that of the
    evaluations until then; extremes of lr are null.

    Raises:
        InputError: a share that is not above 0 and at most 1; a column is missing or holds what it
            should not; two rows of a trace are of one step; a cell that was still training has no
            evaluation at that step.
    """
    _check_share(share)
    targets = [str(column) for column in cells if str(column).startswith("steps_to_")]
    cells = checked(cells, ["steps", "diverged_step", *targets])
    seen = _evaluations(traces)
    step = np.ceil(np.round(share * cells["steps"].to_numpy(), 9))
    wanted = pd.DataFrame({"cell_id": texts(cells, "cell_id").to_numpy(), "step": step})
    found = wanted.merge(seen, on=["cell_id", "step"], how="left")
    then = cells.copy()
    later = (cells["outcome"] == "diverged") & ~(cells["diverged_step"] <= step)
    then["outcome"] = cells["outcome"].mask(later, "completed")
    running = (then["outcome"] == "completed").to_numpy(dtype=bool)
    lost = int(np.isnan(found["train_loss"].to_numpy()[running]).sum())
    if lost:
        raise InputError(
            f"traces: {lost} cells",
            f"must be evaluated at {share:g} of the budget",
            remedy=f"add {share:g} to the study's trace.evaluate",
        )
    for column in seen.columns.drop(["cell_id", "step"]):
        then[column] = np.where(running, found[column].to_numpy(), np.nan)
    for target in targets:
        then[target] = cells[target].where(cells[target] <= step)
    then["steps"] = step
    if "steps_run" in cells:
        then["steps_run"] = np.minimum(floats(cells, "steps_run"), step)
    if "best_valid_loss" in cells:
        then["best_valid_loss"] = _best_until(wanted, seen)
    return then.assign(**{c: np.nan for c in ("lr_final", "lr_max", "lr_min") if c in cells})


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise InputError("share", "must be above 0 and at most 1", share)


def _evaluations(traces: pd.DataFrame) -> pd.DataFrame:
    """Steps of traces and the losses there, as plain numbers."""
    check_columns(traces, ["cell_id", "step", "train_loss"], "traces")
    kept = ("step", "train_loss", "valid_loss", "valid_accuracy")
    numbers = {name: floats(traces, name, "traces") for name in kept if name in traces}
    rows = pd.DataFrame({"cell_id": texts(traces, "cell_id", kind="traces").to_numpy(), **numbers})
    rows = rows.drop_duplicates()
    twice = rows[rows.duplicated(["cell_id", "step"])]
    if len(twice):
        raise InputError(
            f"traces: cell {twice['cell_id'].iloc[0]!r}: step {twice['step'].iloc[0]:g}",
            "must be there once",
        )
    return rows


def _best_until(wanted: pd.DataFrame, seen: pd.DataFrame) -> Floats:
    """Lowest validation loss of each wanted cell at its step or before."""
    if "valid_loss" not in seen:
        return np.full(len(wanted), np.nan)
    until = wanted.drop_duplicates("cell_id").set_index("cell_id")["step"]
    early = seen[seen["step"] <= seen["cell_id"].map(until)]
    best = early.groupby("cell_id")["valid_loss"].min()
    return wanted["cell_id"].map(best).to_numpy(dtype=np.float64)
