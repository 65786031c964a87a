"""Rows of all parts together, each cell once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hdsens.store.parts import DamagedError, Part, damaged, list_parts, read_part
from hdsens.store.place import Place
from hdsens.store.schema import CELLS_SCHEMA, KINDS, TRACES_SCHEMA

_ATTEMPTS = 10
_KEYS = ("cell_id", "outcome", "finished_at")

T = TypeVar("T")


def settled(read: Callable[[], T]) -> T:
    """Call `read` until no part vanishes meanwhile, because a compaction may run beside it."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return read()
        except FileNotFoundError:
            continue
    return read()


def cells_rows(
    place: Place, columns: Sequence[str] | None = None, parts: Collection[Part] | None = None
) -> pa.Table:
    """Read one row a cell: completed or diverged beats failed, then the earliest wins.

    Args:
        place: of the store.
        columns: those wanted besides cell_id, outcome and finished_at; None for all.
        parts: the parts to read; None for all of them.
    """
    wanted = None if columns is None else list(dict.fromkeys([*_KEYS, *columns]))
    return settled(lambda: first_rows(_tables(place, wanted, parts)))


def first_rows(tables: Sequence[pa.Table]) -> pa.Table:
    """Join tables, and keep the row of each cell that counts."""
    empty = CELLS_SCHEMA.empty_table()
    if tables and len(tables[0].column_names) < len(CELLS_SCHEMA):
        empty = empty.select([n for n in tables[0].column_names if n in CELLS_SCHEMA.names])
    table = pa.concat_tables([empty, *tables], promote_options="default")
    failed = pc.equal(table["outcome"], "failed").to_numpy()
    codes, known = pd.factorize(table["cell_id"].to_pandas())
    if len(known) == len(table):
        return table
    order = np.lexsort((table["finished_at"].cast(pa.int64()).to_numpy(), failed))
    _, first = np.unique(codes[order], return_index=True)
    return table.take(np.sort(order[first]))


def traces_rows(place: Place, cell_ids: Collection[str]) -> pa.Table:
    """Read the traces of cells, each from the part that holds the cell's first result."""
    return settled(lambda: _traces(place, cell_ids))


def in_order(traces: pa.Table) -> pd.DataFrame:
    """Sort traces by cell and step into a frame; each cell_id is compared once, not once a row."""
    ids = traces["cell_id"].dictionary_encode().unify_dictionaries().combine_chunks()
    names = ids.dictionary.cast(pa.large_string())
    rank = np.empty(len(names), dtype=np.int32)
    rank[pc.sort_indices(names).to_numpy()] = np.arange(len(names), dtype=np.int32)
    codes = ids.indices.to_numpy()
    order = np.lexsort((traces["step"].to_numpy(), rank[codes]))
    columns = {"cell_id": names.take(pa.array(codes[order])).to_pandas()}
    for name in traces.column_names[1:]:
        columns[name] = traces[name].to_numpy()[order]
        traces = traces.drop_columns(name)
    return pd.DataFrame(columns, copy=False)


def _tables(
    place: Place, columns: Sequence[str] | None, parts: Collection[Part] | None
) -> list[pa.Table]:
    found = list_parts(place) if parts is None else parts
    return [read_part(place, part, columns) for part in found if KINDS[part.kind].outcomes]


def _traces(place: Place, cell_ids: Collection[str]) -> pa.Table:
    parts = [part for part in list_parts(place) if part.kind == "cells"]
    held = [owned(read_part(place, part, _KEYS), i) for i, part in enumerate(parts)]
    rows = first_rows(held)
    rows = rows.filter(pc.is_in(rows["cell_id"], pa.array(list(cell_ids), pa.string())))
    tables = [_named_once(TRACES_SCHEMA.empty_table())]
    for i, part in enumerate(parts):
        ids = rows.filter(pc.equal(rows["owner"], i))["cell_id"]
        if len(ids):
            traces = traces_of(place, part, ids, whole=len(ids) == len(held[i]))
            tables.append(_named_once(traces))
    return pa.concat_tables(tables)


def _named_once(traces: pa.Table) -> pa.Table:
    """Encode cell_ids as a dictionary: as text in each row they are half of all bytes."""
    ids = traces["cell_id"].dictionary_encode()
    return traces.select(TRACES_SCHEMA.names).set_column(0, "cell_id", ids)


def traces_of(
    place: Place, part: Part, ids: pa.ChunkedArray, *, whole: bool, carried: bool = False
) -> pa.Table:
    """Read the traces of some cells of a cells part; `whole` says that these are all.

    `carried` asks for columns that this version does not know, too.

    Raises:
        DamagedError: the cells part is there, its traces are not.
    """
    try:
        table = read_part(place, part.of("traces"), carried=carried)
    except FileNotFoundError:
        if place.entry(part.name) is None:
            raise
        raise lost_traces(place, part) from None
    return table if whole else table.filter(pc.is_in(table["cell_id"], ids.combine_chunks()))


def lost_traces(place: Place, part: Part) -> DamagedError:
    """Make the error for a cells part without its traces."""
    return damaged(place, part.of("traces").name, "must be there, because its cells are")


def owned(table: pa.Table, owner: int) -> pa.Table:
    """Select the columns that decide which row of a cell counts, and add the index of its part."""
    return table.select(_KEYS).append_column(
        "owner", pa.repeat(pa.scalar(owner, pa.int32()), len(table))
    )
