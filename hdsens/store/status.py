"""How far a study is, and what its results have in common, from one reading of the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from hdsens.store.learned import NEEDED, count_unlearned
from hdsens.study.cells import Cell

VERSIONS = ("hdsens_version", "torch_version", "device", "dtype")
COLUMNS = ("error", "source", *NEEDED, *VERSIONS)


@dataclass(frozen=True)
class Status:
    """How far a study is, and what its results have in common.

    Attributes:
        expected: cells of the study.
        completed, diverged, failed: how many of them ended so.
        other: cells in the store that are neither the study's nor a search's.
        searched: cells beside the study's that searches asked for.
        unlearned: completed cells that ended no better than untrained, apart from those at lr = 0
            that cannot learn.
        reasons: why cells failed, with how many did for each reason.
        mixtures: versions and devices in which the results differ, with how many have which.
    """

    expected: int
    completed: int
    diverged: int
    failed: int
    other: int = 0
    searched: int = 0
    unlearned: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    mixtures: Mapping[str, Counter[str]] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """Cells with neither a result nor a failure."""
        return self.expected - self.completed - self.diverged - self.failed

    @property
    def whole(self) -> bool:
        """Whether every cell has a result."""
        return self.failed == 0 and self.missing == 0


def status_of(rows: pa.Table, expected: Iterable[Cell]) -> Status:
    """Count the rows of the expected cells by outcome, and the other rows."""
    ids = pa.array({cell.cell_id for cell in expected}, pa.string())
    of = rows.filter(pc.is_in(rows["cell_id"], ids))
    outcomes = _counts(of["outcome"])
    failed = pc.equal(of["outcome"], "failed")
    results = of.filter(pc.invert(failed))
    beside = rows.filter(pc.invert(pc.is_in(rows["cell_id"], ids)))
    searched = len(beside) - beside["source"].null_count
    versions = {name: _counts(results[name]) for name in VERSIONS}
    return Status(
        expected=len(ids),
        completed=outcomes["completed"],
        diverged=outcomes["diverged"],
        failed=outcomes["failed"],
        other=len(beside) - searched,
        searched=searched,
        unlearned=count_unlearned(of.select(NEEDED).to_pandas()),
        reasons=_counts(of.filter(failed)["error"]),
        mixtures={name: counts for name, counts in versions.items() if len(counts) > 1},
    )


def _counts(column: pa.ChunkedArray) -> Counter[str]:
    return Counter({row["values"]: row["counts"] for row in column.value_counts().to_pylist()})
