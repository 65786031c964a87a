"""Records as training gives them, and cells to hang them on."""

from __future__ import annotations

from hdsens import Study
from hdsens.cells import expand
from hdsens.records import CellRecord, PackRecord, TracePoint

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
