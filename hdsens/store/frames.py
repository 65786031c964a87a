"""Results folders as pandas frames."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hdsens.notebook import html_table
from hdsens.store.declared import TrainedRole, protocol_history, task_settings
from hdsens.store.facts import Facts
from hdsens.store.learned import learned
from hdsens.store.place import Location
from hdsens.store.store import Store
from hdsens.study import Study
from hdsens.study.cells import Cell, canonical_json, expand
from hdsens.study.columns import CELLS
from hdsens.study.task_factors import task_label, task_point, task_points


@dataclass(frozen=True)
class Results:
    """A store, read: its current study with cells, traces and the provenance of its runs."""

    folder: Location
    study: Study
    cells: pd.DataFrame
    traces: pd.DataFrame
    runs: tuple[dict[str, Any], ...]

    @property
    def facts(self) -> Facts:
        """What the study tells about the cells beside their rows."""
        return Facts.of(self.cells)

    def _repr_html_(self) -> str:
        """What a notebook shows: cells by arm and outcome, and the lowest loss."""
        rows = []
        for name in (arm.name for arm in self.study.arms):
            own = self.cells[self.cells["arm"] == name]
            outcomes = own["outcome"].value_counts()
            counts = (int(outcomes.get(o, 0)) for o in ("completed", "diverged", "failed"))
            rows.append([name, *counts, float(own["train_loss"].astype("float64").min())])
        expected = self.facts.expected
        of = f"{len(self.cells) if expected is None else expected:,}"
        caption = f"{self.study.name}: {len(self.cells):,} of {of} cells in {self.folder}"
        head = ["arm", "completed", "diverged", "failed", "lowest train_loss"]
        return html_table(caption, head, rows)


def read_cells(folder: Location, *, all: bool = False) -> pd.DataFrame:
    """Cells of a results folder as a frame, one row each.

    Args:
        folder: what `hdsens run` printed as its last line: a path, or a URI of an object store.
        all: also the cells that do not belong to the current study's grid, with their factors, and
            the column ``source``: the search that asked for a cell.

    Returns:
        A frame with the columns of docs/results.md; failed cells are rows too, cells that never
        ran are not. A factor keeps its name where a column of a later version has it too: that
        column is left out. `attrs["factors"]` names the factors, `attrs["expected"]` is the
        number of cells of the study, with `all` also the others that are there, which counts as
        long as the frame has its `attrs["n_rows"]`, so no longer once you filter it;
        `attrs["protocol_history"]`, `attrs["trained_as"]` and `attrs["task_settings"]` are what
        `verdict` and `join_cells` check. Losses in nats; nulls are NaN.

    Raises:
        InputError: not a results folder, or a damaged one.
    """
    store = Store(folder)
    study, train_size = store.study()
    expected = expand(study, train_size)
    frame = store.cells_frame()
    own, rest = _split(frame, expected)
    names = _factor_names(study, rest["factors"].unique() if all else ())
    current = _of_study(_with_factors(own, names), study, expected)
    trained_as = _trained_as(own.assign(task=current["task"]))
    if all:
        current = pd.concat([current, _with_factors(rest, names)], ignore_index=True)
    elif "source" not in names:
        current = current.drop(columns="source")
    if "learned" not in names:
        current["learned"] = learned(current)
    facts = Facts(
        factors=tuple(names),
        expected=len(expected) + (len(rest) if all else 0),
        protocol_history=protocol_history(study, store.runs()),
        trained_as=trained_as,
        task_settings=task_settings(study, train_size),
    )
    return facts.carried_by(current)


def read_traces(folder: Location, *, all: bool = False) -> pd.DataFrame:
    """Traces of a results folder: one row a recorded step, in order of cell and step.

    Args:
        folder: what `hdsens run` printed as its last line: a path, or a URI of an object store.
        all: also of cells that do not belong to the current study.

    Returns:
        Columns cell_id, step, epoch, lr, batch_loss, train_loss, valid_loss, valid_accuracy; the
        last three are null where the splits were not evaluated.

    Raises:
        InputError: not a results folder, or a damaged one.
    """
    return Store(folder).traces_frame(read_cells(folder, all=all)["cell_id"])


def read_results(folder: Location) -> Results:
    """Read everything that a report needs of a results folder.

    Raises:
        InputError: not a results folder, or a damaged one.
    """
    store = Store(folder)
    cells = read_cells(folder)
    return Results(
        folder=store.folder,
        study=store.study()[0],
        cells=cells,
        traces=store.traces_frame(cells["cell_id"]),
        runs=store.runs(),
    )


def _labels(study: Study, cells: Sequence[Cell]) -> list[str]:
    """Name the task of each cell."""
    labels = {canonical_json(p): task_label(study.task, p) for p in task_points(study)}
    if len(labels) == 1:
        return list(labels.values()) * len(cells)
    return [labels[canonical_json(task_point(cell.factors))] for cell in cells]


_OWN_COLUMNS = ("lr", "hypergrad_lr")


def _trained_as(frame: pd.DataFrame) -> tuple[TrainedRole, ...]:
    """Role of each seed when its cells were trained, which the present study may have changed."""
    results = frame[frame["outcome"] != "failed"]
    roles = results[["task", "seed", "role"]].drop_duplicates()
    roles = roles.sort_values(["role", "seed"], kind="stable")
    return tuple(
        TrainedRole(task=str(task), seed=int(seed), role=str(role))
        for task, seed, role in roles.itertuples(index=False)
    )


def _split(frame: pd.DataFrame, expected: Sequence[Cell]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split a frame into the rows of the expected cells, in their order, and the other rows."""
    ids = pd.Index(frame["cell_id"])
    positions = ids.get_indexer(pd.Index([cell.cell_id for cell in expected], dtype=ids.dtype))
    positions = positions[positions >= 0]
    others = np.setdiff1d(np.arange(len(frame)), positions, assume_unique=True)
    return frame.take(positions).reset_index(drop=True), frame.take(others)


def _factor_names(study: Study, texts: Iterable[str]) -> list[str]:
    """List the factors of the study's arms, then those that only other cells have."""
    own = [name for arm in study.arms for name in arm.factor_levels]
    others = [name for text in texts for name in json.loads(text)]
    return list(dict.fromkeys([*_OWN_COLUMNS, *own, *others]))


def _with_factors(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Replace the JSON column of factors by one column each, after `hypergrad_lr`."""
    codes, texts = pd.factorize(frame["factors"])
    points = [json.loads(text) for text in texts]
    others = [name for name in names if name not in _OWN_COLUMNS]
    wide = frame.drop(columns={"factors", *others} & set(frame.columns))
    after = list(wide.columns).index("hypergrad_lr") + 1
    for offset, name in enumerate(others):
        levels = [point.get(name) for point in points]
        wide.insert(after + offset, name, [levels[code] for code in codes])
    return wide


def _of_study(frame: pd.DataFrame, study: Study, expected: Sequence[Cell]) -> pd.DataFrame:
    """Give the study's cells its present name, label, roles, baselines and families of columns."""
    families = [column for column in CELLS if column.prefix is not None]
    members = [name for family in families for name in family.names(study)]
    single = {name for column in CELLS for name in column.names()}
    stale = [
        name
        for name in map(str, frame.columns)
        if name not in {*members, *single} and any(family.has(name) for family in families)
    ]
    current = frame.drop(columns=stale)
    for name in members:
        if name not in current:
            current[name] = float("nan")
    baselines = {arm.name: arm.baseline for arm in study.arms}
    present = set(frame["cell_id"])
    cells = [cell for cell in expected if cell.cell_id in present]
    return current.assign(
        study=study.name,
        task=_labels(study, cells),
        role=[cell.role for cell in cells],
        baseline=current["arm"].map(baselines),
    )
