"""How the store beside this file was written: once, with the code of commit aef8aaf.

Run there as ``python write.py FOLDER`` beside the study files. It is kept as a record and does not
run with later versions, whose rooms have other names.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
from hdsens.cells import expand
from hdsens.packs import pack_cells

from hdsens import Study, read_cells, read_traces, run
from hdsens.launch import Safeguards
from hdsens.launch.provenance import provenance
from hdsens.launch.resources import Resources
from hdsens.launch.work import PackWork
from hdsens.records import PackRecord, failure
from hdsens.store import Store
from hdsens.store.parts import encode
from hdsens.training.check import examples_to_train

HERE = Path(__file__).parent
OFTEN = Safeguards(checkpoint_every_s=1e-9)


def write(folder):
    first, second = (Study.from_toml(HERE / f"{name}.toml") for name in ("first", "second"))
    n_train = examples_to_train(second.task)
    store = Store(folder)
    store.begin(first, n_train)
    old_plan(store, first, expand(first, n_train))
    run(first, folder, executor="inline")
    store.compact()
    store.begin(second, n_train)
    store.write_run(provenance("inline", Resources(), second))
    done = store.outcomes()
    fresh = [cell for cell in expand(second, n_train) if cell.cell_id not in done]
    whole, one_failed, interrupted = store.plan(fresh, pack_cells(fresh, second, 4))
    train(second, store, whole).commit()
    records = train(second, store, one_failed)._training.record()
    cells = (failure(records.cells[0].cell, "its worker was killed twice"), *records.cells[1:])
    rest = (records.seconds, records.device, records.dtype, records.torch_version)
    store.append(second, PackRecord(cells, *rest))
    work = PackWork(second, store, interrupted, Resources(), OFTEN)
    steps = work.by_steps()
    for _ in range(3):
        next(steps)
    steps.close()


def old_plan(store, study, cells):
    """A plan.parquet, as versions before aef8aaf wrote it: one file for all packs."""
    rows = [
        {"pack": i, "cell_id": cell.cell_id, "path": ("plain", "fused")[i % 2]}
        for i, pack in enumerate(pack_cells(cells, study, 5))
        for cell in pack.cells
    ]
    store.place.write("plan.parquet", encode(pa.Table.from_pylist(rows), {"part": "plan"}))


def train(study, store, pack):
    work = PackWork(study, store, pack, Resources(), Safeguards(checkpoint_every_s=0))
    for _ in work:
        pass
    return work


def seen(folder):
    """What readers of aef8aaf give, as JSON that keeps every bit."""
    cells, traces = read_cells(folder, all=True), read_traces(folder, all=True)
    return {
        "own": read_cells(folder)["cell_id"].tolist(),
        "factors": cells.attrs["factors"],
        "expected": cells.attrs["expected"],
        "cell_columns": list(cells.columns),
        "cells": rows(cells),
        "trace_columns": list(traces.columns),
        "traces": rows(traces),
        "planned": sorted(Store(folder).planned()),
    }


def rows(frame):
    """Values row by row, null where there is none."""
    times = frame.select_dtypes("datetimetz").columns
    text = frame.assign(**{name: frame[name].map(lambda t: t.isoformat()) for name in times})
    objects = text.astype(object).where(text.notna(), None)
    return [[v.item() if hasattr(v, "item") else v for v in row] for row in objects.to_numpy()]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    write(folder)
    (folder / "report.html").unlink()
    lines = json.dumps(seen(folder), allow_nan=False).replace("], [", "],\n[")
    (HERE / "expected.json").write_text(lines + "\n")
