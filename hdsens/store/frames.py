"""Results folders as pandas frames."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hdsens.cells import Cell, expand
from hdsens.store.folder import Store
from hdsens.study import Study


@dataclass(frozen=True)
class Results:
    """A store, read: its current study with cells, traces and the provenance of its runs."""

    folder: Path
    study: Study
    cells: pd.DataFrame
    traces: pd.DataFrame
    runs: tuple[dict[str, Any], ...]


def read_cells(folder: str | Path, *, all: bool = False) -> pd.DataFrame:
    """Cells of a results folder as a frame, one row each.

    Args:
        folder: what `hdsens run` printed as its last line.
        all: also the cells that do not belong to the current study.

    Returns:
        A frame with the columns described in docs/results.md; failed cells are rows too, cells
        that never ran are not. `attrs["factors"]` names the factors, `attrs["expected"]` is the
        number of cells of the study. Losses in nats; nulls are NaN.

    Raises:
        InputError: not a results folder.
    """
    store = Store(Path(folder))
    study, train_size = store.study()
    expected = expand(study, train_size)
    frame = _with_factors(store.cells_frame(), study)
    current = _of_study(frame, study, expected)
    if all:
        rest = frame[~frame["cell_id"].isin(current["cell_id"])]
        current = pd.concat([current, rest], ignore_index=True)
    current.attrs["factors"] = _factor_names(study)
    current.attrs["expected"] = len(expected)
    return current


def read_traces(folder: str | Path, *, all: bool = False) -> pd.DataFrame:
    """Traces of a results folder: one row a recorded step, in order of cell and step.

    Args:
        folder: what `hdsens run` printed as its last line.
        all: also of cells that do not belong to the current study.

    Returns:
        Columns cell_id, step, epoch, lr, batch_loss, train_loss, valid_loss, valid_accuracy; the
        last three are null where the splits were not evaluated.

    Raises:
        InputError: not a results folder.
    """
    return Store(Path(folder)).traces_frame(read_cells(folder, all=all)["cell_id"])


def read_results(folder: str | Path) -> Results:
    """Everything a report needs of a results folder.

    Raises:
        InputError: not a results folder.
    """
    store = Store(Path(folder))
    cells = read_cells(folder)
    return Results(
        folder=store.folder,
        study=store.study()[0],
        cells=cells,
        traces=store.traces_frame(cells["cell_id"]),
        runs=store.runs(),
    )


def _factor_names(study: Study) -> list[str]:
    names = [name for arm in study.arms for name in arm.factor_levels]
    return list(dict.fromkeys(["lr", "hypergrad_lr", *names]))


def _with_factors(frame: pd.DataFrame, study: Study) -> pd.DataFrame:
    """The JSON column of factors as one column each, after `hypergrad_lr`."""
    names = [name for name in _factor_names(study) if name not in ("lr", "hypergrad_lr")]
    values = [json.loads(text) for text in frame["factors"]]
    wide = frame.drop(columns="factors")
    after = list(wide.columns).index("hypergrad_lr") + 1
    for offset, name in enumerate(names):
        wide.insert(after + offset, name, [value.get(name) for value in values])
    return wide


def _of_study(frame: pd.DataFrame, study: Study, expected: Sequence[Cell]) -> pd.DataFrame:
    """The rows of the study's cells in its order; what is not hashed comes from the study."""
    by_id = frame.set_index("cell_id", drop=False)
    cells = [cell for cell in expected if cell.cell_id in by_id.index]
    current = by_id.loc[[cell.cell_id for cell in cells]].reset_index(drop=True)
    targets = [f"steps_to_{name}" for name in study.targets]
    columns = [str(column) for column in current.columns]
    stale = [c for c in columns if c.startswith("steps_to_") and c not in targets]
    current = current.drop(columns=stale)
    for target in targets:
        if target not in columns:
            current[target] = float("nan")
    baselines = {arm.name: arm.baseline for arm in study.arms}
    return current.assign(
        study=study.name,
        task=study.task.label,
        role=[cell.role for cell in cells],
        baseline=current["arm"].map(baselines),
    )
