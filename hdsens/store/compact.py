"""Compaction: many small parts become few large ones, safe to stop at any moment.

A group of parts is merged in this order: the merged traces, the merged cells (which name in their
metadata the keys that they replace, and so commit the merge), then the old parts are deleted, cells
before traces. Whatever is deleted is held by a part that is already there, and readers count each
cell once, so neither a crash, nor a run that appends, nor another compaction loses or doubles
anything. What a crash left undeleted, the next compaction deletes, once it has read the merged part
from end to end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from hdsens.store.parts import (
    Header,
    Part,
    check_part,
    list_parts,
    part_of,
    read_label,
    read_part,
    write_part,
)
from hdsens.store.place import Place
from hdsens.store.rows import first_rows, lost_traces, owned, settled, traces_of
from hdsens.study.packs import hash_of_ids

MAX_CELLS = 50_000
MAX_TRACE_ROWS = 2_000_000
ABANDONED_S = 86_400.0
"""After so long nobody is still writing."""


@dataclass(frozen=True)
class Compaction:
    """The number of parts before and after a compaction."""

    before: int
    after: int


def compact(place: Place) -> Compaction:
    """Merge small parts, and delete leftovers of earlier compactions and killed writers.

    Raises:
        DamagedError: a part is not what a run wrote; nothing of its group has been deleted.
        OSError: the store cannot be written; nothing is lost.
    """
    before = len(list_parts(place))
    settled(lambda: _delete_leftovers(place))
    settled(lambda: _merge_results(place))
    settled(lambda: _merge_failures(place))
    _delete_abandoned(place)
    return Compaction(before, len(list_parts(place)))


def _merge_results(place: Place) -> None:
    for group in _groups(place):
        _merge(place, group)


def _groups(place: Place) -> list[list[Part]]:
    """Group neighbouring parts that together stay within the limits, each to be merged into one."""
    groups: list[list[Part]] = []
    cells = traces = 0
    columns: tuple[pa.Schema | None, ...] = ()
    for part in _kind(place, "cells"):
        headers = read_label(place, part), _traces_label(place, part)
        more, own = tuple(h.rows for h in headers), tuple(h.schema for h in headers)
        cells, traces = cells + more[0], traces + more[1]
        columns = tuple(map(_together, columns, own))
        if not groups or cells > MAX_CELLS or traces > MAX_TRACE_ROWS or None in columns:
            groups.append([])
            (cells, traces), columns = more, own
        groups[-1].append(part)
    return [group for group in groups if len(group) > 1]


def _together(schema: pa.Schema | None, more: pa.Schema) -> pa.Schema | None:
    """Return the columns of both; None where they give one name to two types."""
    try:
        return pa.unify_schemas([schema, more])
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None


def _merge(place: Place, group: Sequence[Part]) -> None:
    """Write one part of each kind in place of several."""
    tables = [read_part(place, part, carried=True) for part in group]
    rows = first_rows(tables)
    owners = first_rows([owned(table, i) for i, table in enumerate(tables)])
    kept = [owners.filter(pc.equal(owners["owner"], i))["cell_id"] for i in range(len(group))]
    traces = [
        traces_of(place, part, ids, whole=len(ids) == len(table), carried=True)
        for part, ids, table in zip(group, kept, tables, strict=True)
    ]
    merged = Part("cells", hash_of_ids(rows["cell_id"].to_pylist()))
    old = [part for part in group if part != merged]
    write_part(place, merged.of("traces"), pa.concat_tables(traces, promote_options="default"))
    write_part(place, merged, rows, (part.key for part in old))
    _delete(place, old)


def _merge_failures(place: Place) -> None:
    """Merge the failures of cells that have no result yet into one part."""
    parts = _kind(place, "failed")
    if not parts:
        return
    results = [read_part(place, part, ["cell_id"])["cell_id"] for part in _kind(place, "cells")]
    known = pa.chunked_array([c for ids in results for c in ids.chunks], pa.string())
    for group in _alike(place, parts):
        _merge_failed(place, group, known.combine_chunks())


def _alike(place: Place, parts: Sequence[Part]) -> list[list[Part]]:
    """Group neighbouring parts whose columns fit into one part."""
    groups: list[list[Part]] = []
    columns: pa.Schema | None = None
    for part in parts:
        own = read_label(place, part).schema
        columns = _together(columns, own) if groups else None
        if columns is None:
            groups.append([])
            columns = own
        groups[-1].append(part)
    return groups


def _merge_failed(place: Place, parts: Sequence[Part], with_results: pa.Array) -> None:
    rows = first_rows([read_part(place, part, carried=True) for part in parts])
    rows = rows.filter(pc.invert(pc.is_in(rows["cell_id"], with_results)))
    merged = Part("failed", hash_of_ids(rows["cell_id"].to_pylist()))
    if list(parts) == [merged]:
        return
    if len(rows):
        write_part(place, merged, rows, (part.key for part in parts if part != merged))
    for part in parts:
        if part != merged:
            place.delete(part.name)


def _delete_leftovers(place: Place) -> None:
    """Finish compactions that stopped between their commit and their last deletion."""
    listed = list_parts(place)
    for part, label in _labels(place, listed):
        replaced = [Part("cells", key) for key in label.replaces]
        left = [p for p in replaced if p in listed or p.of("traces") in listed]
        if left:
            check_part(place, part)
            check_part(place, part.of("traces"))
            _delete(place, left)


def _delete(place: Place, cells: Sequence[Part]) -> None:
    """Delete parts, cells before traces: nothing reads traces without their cells."""
    for part in cells:
        place.delete(part.name)
        place.delete(part.of("traces").name)


def _delete_abandoned(place: Place) -> None:
    """Delete temporary files, and traces without cells, that killed writers left."""
    for file, entry in place.entries("parts").items():
        if entry.changed < time.time() - ABANDONED_S:
            part = part_of(file)
            uncommitted = part is not None and part.kind == "traces" and not _committed(place, part)
            if file.startswith(".") or uncommitted:
                place.delete(f"parts/{file}")


def _committed(place: Place, traces: Part) -> bool:
    return place.entry(traces.of("cells").name) is not None


def _kind(place: Place, kind: str) -> list[Part]:
    return [part for part in list_parts(place) if part.kind == kind]


def _labels(place: Place, listed: Mapping[Part, object]) -> Iterator[tuple[Part, Header]]:
    return ((part, read_label(place, part)) for part in listed if part.kind == "cells")


def _traces_label(place: Place, part: Part) -> Header:
    try:
        return read_label(place, part.of("traces"))
    except FileNotFoundError:
        if place.entry(part.name) is None:
            raise
        raise lost_traces(place, part) from None
