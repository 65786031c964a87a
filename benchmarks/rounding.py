"""One study trained by both paths: how many cells and findings differ by rounding alone.

    python -m benchmarks.rounding [--study studies/quickstart.toml] [--out DIR]

The same cells with the same seeds, one by one (`--path plain`) and in packs (`--path fused`). Sums
in another order differ in the last bits; past the edge of stability training enlarges that to any
size.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch

from hdsens import Study, run
from hdsens.report import compare
from hdsens.store import Results, read_results
from hdsens.text import count, join, level, number
from hdsens.version import __version__

APART = 1e-4
"""Relative difference of a cell's training loss that is more than the last bits."""


def train_both(study: Study, out: Path) -> tuple[Results, Results]:
    """Results of a study by the plain and by the fused path."""
    for path in ("plain", "fused"):
        run(study, out / path, executor="inline", path=path)
    return read_results(out / "plain"), read_results(out / "fused")


def apart(plain: pd.DataFrame, fused: pd.DataFrame) -> pd.DataFrame:
    """Cells that differ by more than `APART`, or in outcome, with both losses and outcomes."""
    both = plain.merge(
        fused[["cell_id", "outcome", "train_loss"]], on="cell_id", suffixes=("", "_f")
    )
    difference = (both["train_loss"] - both["train_loss_f"]).abs()
    largest = both[["train_loss", "train_loss_f"]].abs().max(axis=1)
    differs = (difference > APART * largest) | (both["outcome"] != both["outcome_f"])
    return both[differs].assign(difference=difference[differs] / largest[differs])


def told(plain: Results, fused: Results) -> Iterator[str]:
    """The list, a line each."""
    cells = apart(plain.cells, fused.cells)
    found = compare(plain, fused)
    yield f"torch {torch.__version__}, hdsens {__version__}, one CPU thread"
    levels = join([level(lr) for lr in sorted(cells["lr"].unique())])
    at = f", all at lr {levels}" if len(cells) else ""
    yield f"{len(cells)} of {count(len(plain.cells), 'cell')} differ beyond {level(APART)}{at}"
    outcomes = (cells["outcome"] != cells["outcome_f"]).sum()
    yield f"{count(int(outcomes), 'of them differs', 'of them differ')} in outcome"
    yield ""
    yield "| arm | lr | cells | median difference | largest |"
    yield "|---|---|---|---|---|"
    for (arm, lr), rows in cells.groupby(["arm", "lr"], sort=False):
        middle, largest = (number(rows["difference"].agg(how)) for how in ("median", "max"))
        yield f"| {arm} | {level(lr)} | {len(rows)} | {middle} | {largest} |"
    yield ""
    yield str(found)


def main() -> None:
    """Train a study by both paths and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, default=Path("studies/quickstart.toml"))
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for line in told(*train_both(Study.from_toml(asked.study), asked.out or Path(folder))):
            print(line)


if __name__ == "__main__":
    main()
