"""The store: a folder of Parquet parts that holds cells and traces. Append, read, resume.

    study.json            the study as run, with what turns it into cells
    plan.parquet          which cells train together
    runs/<run>.json       provenance, one file a run
    parts/traces-*.parquet, parts/cells-*.parquet, parts/failed-*.parquet

Each pack writes its own parts to a temporary name and renames them: traces first, cells last, and
the cells part is the commit. A part is named after its cells, so that writing it again replaces it
by equal content. Nothing here unpickles or imports what a store names.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hdsens.cells import Cell, expand
from hdsens.errors import InputError
from hdsens.packs import Pack, hash_of_ids, make_pack
from hdsens.records import CellRecord, PackRecord
from hdsens.study import Study
from hdsens.version import __version__

SCHEMA_VERSION = 1

_TEXT, _INT, _REAL = pa.string(), pa.int64(), pa.float64()
CELLS_SCHEMA = pa.schema(
    {
        **dict.fromkeys(("cell_id", "study", "task", "arm", "baseline", "optimizer"), _TEXT),
        **dict.fromkeys(("lr", "hypergrad_lr"), _REAL),
        "factors": _TEXT,
        "seed": _INT,
        **dict.fromkeys(("role", "outcome", "error"), _TEXT),
        **dict.fromkeys(("diverged_step", "steps", "steps_run"), _INT),
        **dict.fromkeys(("initial_loss", "train_loss", "valid_loss", "valid_accuracy"), _REAL),
        **dict.fromkeys(("best_valid_loss", "lr_final", "lr_max", "lr_min", "wall_s"), _REAL),
        "pack_size": _INT,
        **dict.fromkeys(("device", "dtype", "torch_version", "hdsens_version"), _TEXT),
        "finished_at": pa.timestamp("us", tz="UTC"),
    }
)
TRACES_SCHEMA = pa.schema(
    {
        "cell_id": _TEXT,
        "step": _INT,
        **dict.fromkeys(("epoch", "lr", "batch_loss"), _REAL),
        **dict.fromkeys(("train_loss", "valid_loss", "valid_accuracy"), _REAL),
    }
)


@dataclass(frozen=True)
class Results:
    """A store, read: its current study with cells, traces and the provenance of its runs."""

    folder: Path
    study: Study
    cells: pd.DataFrame
    traces: pd.DataFrame
    runs: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Status:
    """How far a study is: counts of cells. `other` cells belong to another study of the store."""

    expected: int
    completed: int
    diverged: int
    failed: int
    other: int = 0

    @property
    def missing(self) -> int:
        """Cells with neither a result nor a failure."""
        return self.expected - self.completed - self.diverged - self.failed

    @property
    def whole(self) -> bool:
        """Whether every cell has a result."""
        return self.failed == 0 and self.missing == 0


@dataclass(frozen=True)
class Store:
    """A results folder; it need not exist yet."""

    folder: Path

    # Writing

    def begin(self, study: Study, train_size: int) -> None:
        """Make this the store's current study; cells of earlier ones stay."""
        (self.folder / "parts").mkdir(parents=True, exist_ok=True)
        (self.folder / "runs").mkdir(exist_ok=True)
        self._write_json(
            "study.json",
            {
                "schema_version": SCHEMA_VERSION,
                "train_size": train_size,
                "study": study.model_dump(mode="json"),
            },
        )

    def append(self, study: Study, pack: PackRecord) -> None:
        """Write what a pack gave; results and failures apart, so that neither hides the other."""
        results = [r for r in pack.cells if r.outcome != "failed"]
        failures = [r for r in pack.cells if r.outcome == "failed"]
        if results:
            name = hash_of_ids(r.cell.cell_id for r in results)
            self._write_part(f"traces-{name}", _traces_table(results))
            self._write_part(f"cells-{name}", _cells_table(study, results, pack))
        if failures:
            name = hash_of_ids(r.cell.cell_id for r in failures)
            self._write_part(f"failed-{name}", _cells_table(study, failures, pack))

    def write_run(self, run: Mapping[str, Any]) -> None:
        """Keep the provenance of a run, under its `run_id`."""
        self._write_json(f"runs/{run['run_id']}.json", run)

    def plan(self, cells: Sequence[Cell], packs: Iterable[Pack]) -> tuple[Pack, ...]:
        """The packs to train for `cells`: as planned at an earlier run where there was one.

        `packs` covers the same cells; those that no earlier plan holds join the plan.
        """
        planned = self._read_plan()
        wanted = {cell.cell_id: cell for cell in cells}
        chosen = [
            make_pack(wanted[i] for i in ids if i in wanted)
            for ids in planned
            if any(i in wanted for i in ids)
        ]
        known = {i for ids in planned for i in ids}
        fresh = [make_pack(c for c in pack.cells if c.cell_id not in known) for pack in packs]
        fresh = [pack for pack in fresh if pack.cells]
        if fresh:
            self._write_plan([*planned, *([c.cell_id for c in pack.cells] for pack in fresh)])
        return (*chosen, *fresh)

    # Reading

    def exists(self) -> bool:
        """Whether a run has begun here."""
        return (self.folder / "study.json").is_file()

    def study(self) -> tuple[Study, int]:
        """The current study and its number of training examples.

        Raises:
            InputError: not a store, or one of an unknown version.
        """
        path = self.folder / "study.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise InputError(
                f"results {str(self.folder)!r}",
                "must be a folder that `hdsens run` wrote",
                remedy="check the path",
            ) from None
        version = content.get("schema_version") if isinstance(content, dict) else None
        if version != SCHEMA_VERSION:
            raise InputError(
                f"results {str(self.folder)!r}",
                f"must have schema version {SCHEMA_VERSION}",
                version,
                "read it with the hdsens that wrote it",
            )
        return Study.from_dict(content["study"]), int(content["train_size"])

    def outcomes(self) -> dict[str, str]:
        """Outcome of every cell in the store, of any study, by cell_id."""
        frame = self._deduplicated(["cell_id", "outcome", "finished_at"])
        return dict(zip(frame["cell_id"], frame["outcome"], strict=True))

    def status(self, expected: Iterable[Cell]) -> Status:
        """Counts over the expected cells."""
        found = self.outcomes()
        ids = {cell.cell_id for cell in expected}
        of = [found[i] for i in ids if i in found]
        return Status(
            expected=len(ids),
            completed=of.count("completed"),
            diverged=of.count("diverged"),
            failed=of.count("failed"),
            other=len(found) - len(of),
        )

    def runs(self) -> tuple[dict[str, Any], ...]:
        """Provenance of the runs, oldest first."""
        paths = sorted((self.folder / "runs").glob("*.json"))
        return tuple(json.loads(path.read_text(encoding="utf-8")) for path in paths)

    def cells_frame(self) -> pd.DataFrame:
        """All cells of the store, one row each, other factors still in one JSON column."""
        return self._deduplicated(None)

    def traces_frame(self, cell_ids: Iterable[str]) -> pd.DataFrame:
        """Traces of those cells, in order of cell and step."""
        table = self._table("traces", TRACES_SCHEMA, None)
        frame = table.to_pandas()
        frame = frame[frame["cell_id"].isin(set(cell_ids))]
        frame = frame.drop_duplicates(["cell_id", "step"])
        return frame.sort_values(["cell_id", "step"], ignore_index=True)

    def _deduplicated(self, columns: list[str] | None) -> pd.DataFrame:
        """Completed or diverged beats failed, then the earliest."""
        kinds = [self._table(kind, CELLS_SCHEMA, columns) for kind in ("cells", "failed")]
        frame = pa.concat_tables(kinds, promote_options="default").to_pandas()
        order = frame.assign(_failed=frame["outcome"] == "failed")
        order = order.sort_values(["_failed", "finished_at"], kind="stable")
        return frame.loc[order.drop_duplicates("cell_id").index]

    def _table(self, kind: str, schema: pa.Schema, columns: list[str] | None) -> pa.Table:
        parts = sorted((self.folder / "parts").glob(f"{kind}-*.parquet"))
        tables = [_read_part(part, columns) for part in parts]
        empty = schema.empty_table() if columns is None else schema.empty_table().select(columns)
        return pa.concat_tables([empty, *tables], promote_options="default")

    # The files

    def _write_part(self, name: str, table: pa.Table) -> None:
        path = self.folder / "parts" / f"{name}.parquet"
        with _Replacing(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        with _Replacing(self.folder / name) as temporary:
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")

    def _read_plan(self) -> list[list[str]]:
        path = self.folder / "plan.parquet"
        if not path.exists():
            return []
        plan = _read_part(path, None).to_pandas()
        return [group.tolist() for _, group in plan.groupby("pack", sort=True)["cell_id"]]

    def _write_plan(self, packs: Sequence[Sequence[str]]) -> None:
        rows = [(i, cell_id) for i, ids in enumerate(packs) for cell_id in ids]
        table = pa.table({"pack": [r[0] for r in rows], "cell_id": [r[1] for r in rows]})
        with _Replacing(self.folder / "plan.parquet") as temporary:
            pq.write_table(table, temporary, compression="zstd")


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


class _Replacing:
    """A temporary path that takes the place of `path` in one step, or leaves no trace."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")

    def __enter__(self) -> Path:
        return self.temporary

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.temporary.unlink(missing_ok=True)
            return
        with self.temporary.open("rb") as file:
            os.fsync(file.fileno())
        self.temporary.replace(self.path)


def _read_part(path: Path, columns: list[str] | None) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"part {str(path)!r}",
            f"must be readable Parquet: {error}",
            remedy="remove that file; the next run trains its cells again",
        ) from None


def _cells_table(study: Study, records: Sequence[CellRecord], pack: PackRecord) -> pa.Table:
    now = datetime.now(UTC)
    shared = {
        "study": study.name,
        "task": study.task.label,
        "wall_s": pack.seconds / len(pack.cells),
        "pack_size": len(pack.cells),
        "device": pack.device,
        "dtype": pack.dtype,
        "torch_version": pack.torch_version,
        "hdsens_version": __version__,
        "finished_at": now,
    }
    targets = [pa.field(f"steps_to_{name}", _INT) for name in study.targets]
    schema = pa.schema([*CELLS_SCHEMA, *targets])
    return pa.Table.from_pylist([_row(study, record) | shared for record in records], schema)


def _row(study: Study, record: CellRecord) -> dict[str, Any]:
    cell, arm = record.cell, study.arm(record.cell.arm)
    own = ("cell", "trace", "steps_to")
    return {
        **{name: getattr(record, name) for name in record.__slots__ if name not in own},
        **{f"steps_to_{name}": step for name, step in record.steps_to.items()},
        "cell_id": cell.cell_id,
        "arm": cell.arm,
        "baseline": arm.baseline,
        "optimizer": arm.optimizer,
        "lr": cell.factors["lr"],
        "hypergrad_lr": cell.factors.get("hypergrad_lr"),
        "factors": json.dumps(cell.factors),
        "seed": cell.seed,
        "role": cell.role,
        "steps": cell.steps,
    }


def _traces_table(records: Sequence[CellRecord]) -> pa.Table:
    rows = [
        {"cell_id": record.cell.cell_id, **{n: getattr(point, n) for n in point.__slots__}}
        for record in records
        for point in record.trace
    ]
    return pa.Table.from_pylist(rows, TRACES_SCHEMA)


def _factor_names(study: Study) -> list[str]:
    names = [name for arm in study.arms for name in arm.factor_levels]
    return list(dict.fromkeys(["lr", "hypergrad_lr", *names]))


def _with_factors(frame: pd.DataFrame, study: Study) -> pd.DataFrame:
    """The JSON column of factors as one column each, after `hypergrad_lr`."""
    names = [name for name in _factor_names(study) if name not in ("lr", "hypergrad_lr")]
    values = [json.loads(text) for text in frame["factors"]]
    columns = {name: [value.get(name) for value in values] for name in names}
    at = frame.columns.get_loc("factors")
    head, tail = frame.iloc[:, :at], frame.iloc[:, at + 1 :]
    return pd.concat([head, pd.DataFrame(columns, index=frame.index), tail], axis=1)


def _of_study(frame: pd.DataFrame, study: Study, expected: Sequence[Cell]) -> pd.DataFrame:
    """The rows of the study's cells in its order; what is not hashed comes from the study."""
    by_id = frame.set_index("cell_id", drop=False)
    cells = [cell for cell in expected if cell.cell_id in by_id.index]
    current = by_id.loc[[cell.cell_id for cell in cells]].reset_index(drop=True)
    other_targets = [c for c in current if c.startswith("steps_to_") and c[9:] not in study.targets]
    return current.drop(columns=other_targets).assign(
        study=study.name,
        task=study.task.label,
        role=[cell.role for cell in cells],
        baseline=[study.arm(cell.arm).baseline for cell in cells],
        **{
            f"steps_to_{name}": current.get(f"steps_to_{name}", float("nan"))
            for name in study.targets
        },
    )
