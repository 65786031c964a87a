"""Frames of cells made ready for the tables: joined, two arms at a time, at an earlier budget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from hdsens.analysis.arrays import Floats
from hdsens.analysis.panel.accounting import one_row_a_cell
from hdsens.analysis.panel.cells import CellsLike, CheckedCells
from hdsens.analysis.panel.checks import check_columns, floats, texts, with_numbers
from hdsens.analysis.panel.tasks import check_same_arms, tell_tasks_apart
from hdsens.errors import InputError
from hdsens.store.facts import Facts


def join_cells(results: Iterable[CellsLike]) -> pd.DataFrame:
    """Put the cells of several studies into one frame, with all their factors.

    Results of one task are one task; where two have the same label and differ in batch size, steps,
    weight decay, validation, dtype, stop rule or seeds, the label is extended by what differs. A
    cell that two results hold counts once. `attrs["expected"]` is the sum over the results, where
    each tells it; absent where results overlap and lack cells, as both may lack the same.

    Raises:
        InputError: nothing to join; a column is missing or holds what it should not; two results of
            one task declare an arm of one name differently.
    """
    parts = tell_tasks_apart([CheckedCells.of(part) for part in results])
    if not parts:
        raise InputError("results", "must be at least one")
    check_same_arms(parts)
    rows = pd.concat(
        [part.frame.dropna(axis="columns", how="all") for part in parts], ignore_index=True
    )
    rows = rows.reindex(columns=list(dict.fromkeys(c for part in parts for c in part.frame)))
    joined = one_row_a_cell(rows).reset_index(drop=True)
    return _joined_facts(parts, overlap=len(rows) - len(joined)).carried_by(joined)


def _joined_facts(parts: Sequence[CheckedCells], overlap: int) -> Facts:
    """The facts of several results together, which share `overlap` cells."""
    facts = [part.facts for part in parts]
    numbers = [one.expected for one in facts if one.expected is not None]
    whole = numbers == [len(part.frame) for part in parts]
    is_known = len(numbers) == len(parts) and (not overlap or whole)
    settings = [one.task_settings for one in facts if one.task_settings is not None]
    return Facts(
        factors=tuple(dict.fromkeys(name for part in parts for name in part.factors)),
        expected=sum(numbers) - overlap if is_known else None,
        protocol_history=tuple(e for one in facts for e in one.protocol_history or ()) or None,
        trained_as=tuple(role for one in facts for role in one.trained_as or ()) or None,
        task_settings={label: one for tasks in settings for label, one in tasks.items()}
        if settings
        else None,
    )


def against(cells: CellsLike, arm: str, baseline: str) -> pd.DataFrame:
    """Cells of two arms, one as the other's baseline: any table or verdict then compares them.

    Raises:
        InputError: an arm that has no cells.
    """
    cells = CheckedCells.of(cells)
    arms = cells.frame["arm"]
    for name in (arm, baseline):
        if not (arms == name).any():
            raise InputError("arm", f"must be one of {', '.join(sorted(set(arms)))}", name)
    two = cells.frame[arms.isin([arm, baseline])]
    pair = two.assign(baseline=pd.Series(baseline, index=two.index).where(two["arm"] == arm))
    return replace(cells.facts, factors=cells.factors, expected=None).carried_by(pair)


def cells_at(cells: CellsLike, traces: pd.DataFrame, share: float) -> pd.DataFrame:
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
    cells = CheckedCells.of(cells)
    targets = [str(column) for column in cells.frame if str(column).startswith("steps_to_")]
    now = with_numbers(cells.frame, ["steps", "diverged_step", *targets])
    seen = _evaluations(traces)
    step = np.ceil(np.round(share * now["steps"].to_numpy(), 9))
    wanted = pd.DataFrame({"cell_id": texts(now, "cell_id").to_numpy(), "step": step})
    found = wanted.merge(seen, on=["cell_id", "step"], how="left")
    then = now.copy()
    later = (now["outcome"] == "diverged") & ~(now["diverged_step"] <= step)
    then["outcome"] = now["outcome"].mask(later, "completed")
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
        then[target] = now[target].where(now[target] <= step)
    then["steps"] = step
    if "steps_run" in now:
        then["steps_run"] = np.minimum(floats(now, "steps_run"), step)
    if "best_valid_loss" in now:
        then["best_valid_loss"] = _best_until(wanted, seen)
    then = then.assign(**{c: np.nan for c in ("lr_final", "lr_max", "lr_min") if c in now})
    return cells.facts.carried_by(then)


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
