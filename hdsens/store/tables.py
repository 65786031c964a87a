"""Records as Arrow tables, in the columns that every part has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from hdsens.records import CellRecord, PackRecord
from hdsens.store.schema import KINDS, TRACES_SCHEMA, arrow_schema
from hdsens.study import Study
from hdsens.study.cells import floats
from hdsens.study.task_factors import task_label
from hdsens.version import __version__


def cells_table(
    study: Study, records: Sequence[CellRecord], pack: PackRecord, source: str | None = None
) -> pa.Table:
    """Make the table of cells, one row each; `wall_s` is the pack's seconds / pack size."""
    shared = {
        "study": study.name,
        "source": source,
        "wall_s": pack.seconds / len(pack.cells),
        "pack_size": len(pack.cells),
        "device": pack.device,
        "dtype": pack.dtype,
        "torch_version": pack.torch_version,
        "hdsens_version": __version__,
        "finished_at": datetime.now(UTC),
    }
    schema = arrow_schema(KINDS["cells"].columns, study)
    rows = [_row(study, record) | shared for record in records]
    unknown = {name for row in rows for name in row} - set(schema.names)
    assert not unknown, f"columns that hdsens.study.columns does not declare: {sorted(unknown)}"
    return pa.Table.from_pylist(rows, schema)


def _row(study: Study, record: CellRecord) -> dict[str, Any]:
    cell, arm = record.cell, study.arm(record.cell.arm)
    own = ("cell", "trace", "steps_to", "more")
    return {
        **{name: getattr(record, name) for name in record.__slots__ if name not in own},
        **{f"steps_to_{name}": step for name, step in record.steps_to.items()},
        **record.more,
        "cell_id": cell.cell_id,
        "task": task_label(study.task, cell.factors),
        "arm": cell.arm,
        "baseline": arm.baseline,
        "optimizer": arm.optimizer,
        "lr": cell.factors["lr"],
        "hypergrad_lr": cell.factors.get("hypergrad_lr"),
        "factors": json.dumps(floats(cell.factors)),
        "seed": cell.seed,
        "role": cell.role,
        "steps": cell.steps,
    }


def traces_table(records: Sequence[CellRecord]) -> pa.Table:
    """Make the table of traces, one row a recorded step."""
    rows = [
        {"cell_id": record.cell.cell_id, **{n: getattr(point, n) for n in point.__slots__}}
        for record in records
        for point in record.trace
    ]
    return pa.Table.from_pylist(rows, TRACES_SCHEMA)
