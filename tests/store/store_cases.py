"""Records as training gives them, and cells to hang them on."""

from __future__ import annotations

import pandas as pd

from hdsens import Study, read_cells, read_traces, run
from hdsens.records import CellRecord, PackRecord, TracePoint
from hdsens.study.cells import expand

N_TRAIN = 1293


def record(cell, loss=1.0, **more):
    trace = (
        TracePoint(step=1, epoch=0.1, lr=0.5, batch_loss=2.0),
        TracePoint(12, 1.2, 0.5, 1.0, loss, loss + 0.5, 0.75),
    )
    values = {"steps_run": 12, "initial_loss": 2.3, "train_loss": loss, "trace": trace, **more}
    return CellRecord(cell, "completed", **values)


def pack(*records):
    return PackRecord(records, seconds=2.0, device="cpu", dtype="float32", torch_version="2.13.0")


def cells_of(data):
    return expand(Study.from_dict(data), N_TRAIN)


def assert_grows_as_here(uri, small, here):
    """A study in an object store gets one more level: no cell trains again, all as in a folder."""
    small["arms"][0]["lr"].append(0.5)
    finished = read_cells(uri).set_index("cell_id")["finished_at"]
    assert run(Study.from_dict(small), uri, executor="inline").status.expected == 20
    again = read_cells(uri).set_index("cell_id")["finished_at"]
    assert again[finished.index].equals(finished)
    run(Study.from_dict(small), here, executor="inline")
    drop = ["wall_s", "finished_at", "pack_size"]
    pd.testing.assert_frame_equal(
        read_cells(uri).drop(columns=drop), read_cells(here).drop(columns=drop)
    )
    pd.testing.assert_frame_equal(read_traces(uri), read_traces(here))
