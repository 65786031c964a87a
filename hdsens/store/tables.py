"""Records as Arrow tables, in the columns that every part has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from hdsens.records import CellRecord, PackRecord
from hdsens.study import Study
from hdsens.study.cells import floats
from hdsens.version import __version__

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
SCHEMAS = {"cells": CELLS_SCHEMA, "failed": CELLS_SCHEMA, "traces": TRACES_SCHEMA}


def cells_table(study: Study, records: Sequence[CellRecord], pack: PackRecord) -> pa.Table:
    """One row a cell; `wall_s` is the pack's seconds / pack size."""
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
        "factors": json.dumps(floats(cell.factors)),
        "seed": cell.seed,
        "role": cell.role,
        "steps": cell.steps,
    }


def traces_table(records: Sequence[CellRecord]) -> pa.Table:
    """One row a recorded step."""
    rows = [
        {"cell_id": record.cell.cell_id, **{n: getattr(point, n) for n in point.__slots__}}
        for record in records
        for point in record.trace
    ]
    return pa.Table.from_pylist(rows, TRACES_SCHEMA)
