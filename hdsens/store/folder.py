"""The store: a folder of Parquet parts that holds cells and traces. Append, read, resume.

    study.json            the study as run, with what turns it into cells
    plan.parquet          which cells train together, and by which path
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
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hdsens.cells import Cell
from hdsens.errors import InputError
from hdsens.packs import Pack, hash_of_ids, make_pack
from hdsens.packs import Path as PackPath
from hdsens.records import PackRecord
from hdsens.store.tables import CELLS_SCHEMA, TRACES_SCHEMA, cells_table, traces_table
from hdsens.study import Study

SCHEMA_VERSION = 1


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
        """Make this the store's current study; cells of earlier ones stay.

        Raises:
            InputError: the folder cannot be made.
        """
        try:
            (self.folder / "parts").mkdir(parents=True, exist_ok=True)
            (self.folder / "runs").mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(
                f"results {str(self.folder)!r}",
                f"cannot be written: {error.strerror}",
                remedy="choose another folder with --out",
            ) from None
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
            self._write_part(f"traces-{name}", traces_table(results))
            self._write_part(f"cells-{name}", cells_table(study, results, pack))
        if failures:
            name = hash_of_ids(r.cell.cell_id for r in failures)
            self._write_part(f"failed-{name}", cells_table(study, failures, pack))

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
            make_pack((wanted[i] for i in ids if i in wanted), path)
            for ids, path in planned
            if any(i in wanted for i in ids)
        ]
        known = {i for ids, _ in planned for i in ids}
        fresh = [
            make_pack((c for c in pack.cells if c.cell_id not in known), pack.path)
            for pack in packs
        ]
        fresh = [pack for pack in fresh if pack.cells]
        if fresh:
            added = [([c.cell_id for c in pack.cells], pack.path) for pack in fresh]
            self._write_plan([*planned, *added])
        return (*chosen, *fresh)

    def planned(self) -> frozenset[str]:
        """The cell_ids that a plan holds."""
        return frozenset(i for ids, _ in self._read_plan() for i in ids)

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

    def changed_at(self) -> float:
        """When the study or its parts last changed, as a file's modification time."""
        places = (self.folder / "study.json", self.folder / "parts")
        return max(place.stat().st_mtime for place in places)

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
        frame: pd.DataFrame = table.to_pandas()
        frame = frame[frame["cell_id"].isin(set(cell_ids))]
        frame = frame.drop_duplicates(["cell_id", "step"])
        return frame.sort_values(["cell_id", "step"], ignore_index=True)

    def _deduplicated(self, columns: list[str] | None) -> pd.DataFrame:
        """Completed or diverged beats failed, then the earliest."""
        kinds = [self._table(kind, CELLS_SCHEMA, columns) for kind in ("cells", "failed")]
        frame: pd.DataFrame = pa.concat_tables(kinds, promote_options="default").to_pandas()
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
        path, text = self.folder / name, json.dumps(content, indent=1)
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return
        with _Replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def _read_plan(self) -> list[tuple[list[str], PackPath]]:
        path = self.folder / "plan.parquet"
        if not path.exists():
            return []
        packs = _read_part(path, None).to_pandas().groupby("pack", sort=True)
        return [(pack["cell_id"].tolist(), pack["path"].iloc[0]) for _, pack in packs]

    def _write_plan(self, packs: Sequence[tuple[Sequence[str], PackPath]]) -> None:
        rows = [(i, cell_id, path) for i, (ids, path) in enumerate(packs) for cell_id in ids]
        columns = dict(zip(("pack", "cell_id", "path"), zip(*rows, strict=True), strict=True))
        table = pa.table({name: list(values) for name, values in columns.items()})
        with _Replacing(self.folder / "plan.parquet") as temporary:
            pq.write_table(table, temporary, compression="zstd")


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
