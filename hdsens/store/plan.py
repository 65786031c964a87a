"""The plan: which cells train together, and by which path. Written once, only added to."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from hdsens.packs import Path
from hdsens.store.parts import damaged, decode, encode
from hdsens.store.place import Place

PLAN = "plan.parquet"
_SCHEMA = pa.schema({"pack": pa.int64(), "cell_id": pa.string(), "path": pa.string()})
_PATHS = ("plain", "fused")

Planned = tuple[Sequence[str], Path]
"""The cell_ids of a pack, and how it trains."""


def read_plan(place: Place) -> list[Planned]:
    """The packs in the order of planning; none where nothing was planned.

    Raises:
        DamagedError: the file is not what a run wrote.
    """
    if place.entry(PLAN) is None:
        return []
    table, label = decode(place, PLAN)
    if label.get("part") != "plan" or not table.schema.equals(_SCHEMA):
        raise damaged(place, PLAN, f"must have the columns {', '.join(_SCHEMA.names)}")
    known = pc.all(pc.is_in(table["path"], pa.array(_PATHS)), min_count=0).as_py()
    if any(column.null_count for column in table.columns) or not known:
        raise damaged(place, PLAN, f"must name a cell and a path in each row: {_PATHS}")
    packs = table.to_pandas().groupby("pack", sort=True)
    return [(pack["cell_id"].tolist(), pack["path"].iloc[0]) for _, pack in packs]


def write_plan(place: Place, packs: Sequence[Planned]) -> None:
    """Put the plan there, in place of what there was."""
    rows = [
        {"pack": i, "cell_id": cell_id, "path": path}
        for i, (ids, path) in enumerate(packs)
        for cell_id in ids
    ]
    place.write(PLAN, encode(pa.Table.from_pylist(rows, _SCHEMA), {"part": "plan"}))
