"""How far a study is, and what its results have in common, from one reading of the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from hdsens.store.learned import NEEDED, count_unlearned
from hdsens.study.cells import Cell

VERSIONS = ("hdsens_version", "torch_version", "device", "dtype")
COLUMNS = ("error", "source", *NEEDED, *VERSIONS)


@dataclass(frozen=True)
class Status:
    """How far a study is: counts of cells.

    Of the cells that are not the study's, searches asked for `searched`; `other` ones belong to
    another study of the store. Of the completed ones, `unlearned` ended no better than untrained,
    apart from those at lr = 0 that cannot learn.
    """

    expected: int
    completed: int
    diverged: int
    failed: int
    other: int = 0
    searched: int = 0
    unlearned: int = 0

    @property
    def missing(self) -> int:
        """Cells with neither a result nor a failure."""
        return self.expected - self.completed - self.diverged - self.failed

    @property
    def whole(self) -> bool:
        """Whether every cell has a result."""
        return self.failed == 0 and self.missing == 0


@dataclass(frozen=True)
class Summary:
    """Counts over the expected cells.

    Attributes:
        status: how many ended how.
        reasons: why cells failed.
        mixtures: versions and devices of the results, those in which they differ.
    """

    status: Status
    reasons: Counter[str]
    mixtures: Mapping[str, Counter[str]]


def summarise(rows: pa.Table, expected: Iterable[Cell]) -> Summary:
    """Count the rows of the expected cells."""
    ids = pa.array({cell.cell_id for cell in expected}, pa.string())
    of = rows.filter(pc.is_in(rows["cell_id"], ids))
    outcomes = _counts(of["outcome"])
    failed = pc.equal(of["outcome"], "failed")
    results = of.filter(pc.invert(failed))
    beside = rows.filter(pc.invert(pc.is_in(rows["cell_id"], ids)))
    searched = len(beside) - beside["source"].null_count
    versions = {name: _counts(results[name]) for name in VERSIONS}
    return Summary(
        Status(
            expected=len(ids),
            completed=outcomes["completed"],
            diverged=outcomes["diverged"],
            failed=outcomes["failed"],
            other=len(beside) - searched,
            searched=searched,
            unlearned=count_unlearned(of.select(NEEDED).to_pandas()),
        ),
        _counts(of.filter(failed)["error"]),
        {name: found for name, found in versions.items() if len(found) > 1},
    )


def _counts(column: pa.ChunkedArray) -> Counter[str]:
    return Counter({row["values"]: row["counts"] for row in column.value_counts().to_pylist()})
