"""The store: a folder, or a prefix in an object store, that holds cells and traces.

    study.json            the study as run, with what turns it into cells
    plan/*.parquet        which cells train together, and by which path: `hdsens.store.plan`
    runs/<run>.json       provenance, one file a run
    checkpoints/*         of packs in training: `hdsens.store.checkpoints`
    parts/*.parquet       cells and traces: `hdsens.store.parts`
    report.html           the page

Each pack writes its own parts, each in one step: traces first, cells last, and the cells part is
the commit. Nothing here unpickles or imports what a store names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from hdsens.errors import InputError
from hdsens.records import CellRecord, PackRecord
from hdsens.store.check import Damage, find_damage, set_aside
from hdsens.store.compact import Compaction, compact
from hdsens.store.documents import STUDY, read_runs, read_study, write_document, write_study
from hdsens.store.parts import Part, list_parts, write_part
from hdsens.store.place import Location, Place, as_location, place_of
from hdsens.store.plan import add_to_plan, plan_names, read_plan
from hdsens.store.rows import cells_rows, in_order, settled, traces_rows
from hdsens.store.status import COLUMNS, Status, status_of
from hdsens.store.tables import cells_table, traces_table
from hdsens.study import Study
from hdsens.study.cells import Cell, expand
from hdsens.study.packs import Pack, hash_of_ids, make_pack

PAGE = "report.html"
LEFTOVER_S = 3600.0
"""Age at which a temporary file has no writer any more."""


@dataclass(frozen=True)
class Store:
    """A results folder, or the URI of a prefix such as ``s3://bucket/mine``; it may not exist yet.

    Every method may raise InputError: for a location that cannot be reached, and for files that
    are not what a run wrote.
    """

    folder: Location

    @cached_property
    def place(self) -> Place:
        """Where the files lie."""
        return place_of(self.folder)

    @property
    def address(self) -> str:
        """The location as another process on another path understands it."""
        location = as_location(self.folder)
        return str(location.resolve()) if isinstance(location, Path) else location

    @property
    def page(self) -> Location:
        """Where the report is, once it is written."""
        return as_location(self.place.show(PAGE))

    # Writing

    def begin(self, study: Study, train_size: int) -> None:
        """Make this the store's current study; cells of earlier ones stay.

        Raises:
            InputError: it cannot be written.
        """
        try:
            self.place.prepare()
            write_study(self.place, study, train_size)
        except OSError as error:
            raise InputError(
                f"results {str(self.folder)!r}",
                f"cannot be written: {error.strerror or error}",
                remedy="choose another folder with --out",
            ) from None

    def append(self, study: Study, pack: PackRecord, source: str | None = None) -> None:
        """Write the records of a pack, results and failures in separate parts.

        Args:
            study: that the cells are of.
            pack: its records.
            source: name of the search that asked for the cells; None for cells of the grid.

        Raises:
            OSError: the disk is full or gone; a cell is in the store wholly or not at all.
        """
        results = [r for r in pack.cells if r.outcome != "failed"]
        failures = [r for r in pack.cells if r.outcome == "failed"]
        if results:
            write_part(self.place, _part("traces", results), traces_table(results))
            write_part(
                self.place, _part("cells", results), cells_table(study, results, pack, source)
            )
        if failures:
            write_part(
                self.place, _part("failed", failures), cells_table(study, failures, pack, source)
            )

    def write_run(self, run: Mapping[str, Any]) -> None:
        """Keep the provenance of a run, under its `run_id`."""
        write_document(self.place, f"runs/{run['run_id']}.json", run)

    def write_page(self, page: str) -> Location:
        """Write the report beside the results, and return its location."""
        self.place.write(PAGE, page.encode())
        return self.page

    def plan(self, cells: Sequence[Cell], packs: Iterable[Pack]) -> tuple[Pack, ...]:
        """Return the packs to train for `cells`, as an earlier run planned them where one did.

        `packs` covers the same cells; those that no earlier plan holds join the plan.
        """
        wanted = {cell.cell_id: cell for cell in cells}
        known = self.planned()
        fresh = [
            ([c.cell_id for c in pack.cells if c.cell_id not in known], pack.path) for pack in packs
        ]
        fresh = [(ids, path) for ids, path in fresh if ids]
        if fresh:
            add_to_plan(self.place, fresh)
        return tuple(
            make_pack((wanted[i] for i in ids if i in wanted), path)
            for ids, path in read_plan(self.place)  # again: a rival may have planned meanwhile
            if any(i in wanted for i in ids)
        )

    def replan(self, packs: Iterable[Pack]) -> None:
        """Change the plan: from now on these cells train in these packs."""
        add_to_plan(self.place, [([c.cell_id for c in pack.cells], pack.path) for pack in packs])

    def committed(self, cells: Iterable[Cell]) -> bool:
        """Whether a pack with exactly these cells, none of them failed, has been written."""
        part = Part("cells", hash_of_ids(cell.cell_id for cell in cells))
        names = (part.name, part.of("traces").name)
        return all(self.place.entry(name) is not None for name in names)

    def sweep(self) -> None:
        """Delete temporary files and checkpoints of finished cells that killed runs left."""
        self.place.sweep(older_than_s=LEFTOVER_S)
        if self.place.entries("checkpoints"):
            from hdsens.store.checkpoints import delete_checkpoints  # readers need no safetensors

            found = self.outcomes()
            delete_checkpoints(self.place, {i for i, o in found.items() if o != "failed"})

    def set_aside(self, damage: Damage) -> tuple[str, ...]:
        """Rename damaged files, so that a run can go on without them, and return the new names."""
        return set_aside(self.place, damage)

    def compact(self) -> Compaction:
        """Merge small parts into large ones; safe to kill, and beside runs and readers."""
        return compact(self.place)

    # Reading

    def exists(self) -> bool:
        """Whether a run has begun here."""
        return self.place.entry(STUDY) is not None

    def has_parts_or_plan(self) -> bool:
        """Whether a run has written parts or a plan here, even if study.json is lost."""
        return self.part_count() > 0 or bool(plan_names(self.place))

    def study(self) -> tuple[Study, int]:
        """The current study and its number of training examples."""
        return read_study(self.place)

    def holds(self, study: Study) -> bool:
        """Whether this is the current study."""
        return self.exists() and self.study()[0] == study

    def expected(self) -> tuple[Cell, ...]:
        """The cells of the current study."""
        return expand(*self.study())

    def planned(self) -> frozenset[str]:
        """The cell_ids that a plan holds."""
        return frozenset(i for ids, _ in read_plan(self.place) for i in ids)

    def damage(self) -> tuple[Damage, ...]:
        """Read every file, and return what is wrong."""
        return find_damage(self.place)

    def part_count(self) -> int:
        """The number of parts; reading slows with it."""
        return len(list_parts(self.place))

    def page_is_current(self) -> bool:
        """Whether the report is there and newer than the study and the parts."""
        page = self.place.entry(PAGE)
        return page is not None and page.changed > self._changed()

    def outcomes(self, without: Collection[str] = ()) -> dict[str, str]:
        """Return the outcome of every cell in the store, of any study, by cell_id.

        Cells whose traces part is gone have none, because a run trains them again.

        Args:
            without: files to leave out, relative to the store.
        """
        rows = self._counted(["outcome"], without)
        columns = (rows[name].to_pylist() for name in ("cell_id", "outcome"))
        return dict(zip(*columns, strict=True))

    def status(self, expected: Iterable[Cell], without: Collection[str] = ()) -> Status:
        """Count the expected cells by outcome; `without` as in `outcomes`."""
        return status_of(self._counted(COLUMNS, without), expected)

    def runs(self) -> tuple[dict[str, Any], ...]:
        """Read the provenance of all runs, oldest first."""
        return read_runs(self.place)

    def cells_frame(self) -> pd.DataFrame:
        """Read all cells of the store, one row each, with other factors in one JSON column."""
        frame: pd.DataFrame = cells_rows(self.place).to_pandas()
        return frame

    def traces_frame(self, cell_ids: Iterable[str]) -> pd.DataFrame:
        """Read the traces of cells, in order of cell and step."""
        return in_order(traces_rows(self.place, set(cell_ids)))

    def _counted(self, columns: Sequence[str], without: Collection[str]) -> pa.Table:
        return settled(lambda: cells_rows(self.place, columns, self._whole(without)))

    def _whole(self, without: Collection[str]) -> list[Part]:
        """List the parts that a run counts: committed, and with their traces."""
        listed = list_parts(self.place)
        return [
            part
            for part in listed
            if part.name not in without and (part.kind != "cells" or self._traced(part, listed))
        ]

    def _traced(self, part: Part, listed: Collection[Part]) -> bool:
        """Whether the traces are there; a listing may be older than they are."""
        traces = part.of("traces")
        return traces in listed or self.place.entry(traces.name) is not None

    def _changed(self) -> float:
        entries = [self.place.entry(STUDY), *list_parts(self.place).values()]
        return max((entry.changed for entry in entries if entry is not None), default=0.0)


def _part(kind: str, records: Sequence[CellRecord]) -> Part:
    return Part(kind, hash_of_ids(record.cell.cell_id for record in records))
