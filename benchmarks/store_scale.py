"""A million cells and twenty million trace rows: write, compact, and what reading them costs.

    python -m benchmarks.store_scale --folder DIR            # all of it, each step a process
    python -m benchmarks.store_scale --folder DIR --only status read_cells

Each step runs in a process of its own, so that its seconds count the imports and its peak memory is
its own. Writing goes through `Store.append`, as training does, with numbers made up in advance.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

STEPS = ("write", "compact", "expand", "status", "read_cells", "check", "read_traces")
SEEDS = 1000
PACK = 500
TRACE_ROWS = 20
N_TRAIN = 1293


def study(cells: int) -> dict[str, object]:
    """1,000 seeds of two arms on a common grid of lr: one base point to nine with HD."""
    levels = [i / 1000 for i in range(cells // SEEDS // 10)]
    factors = {"name": "scale", "seeds": SEEDS, "task": {"model": "logreg", "steps": 1000}}
    return factors | {
        "targets": {"low": {"batch_loss": 1.0}},
        "arms": [
            {"name": "sgd", "optimizer": "SGD", "lr": levels},
            {
                "name": "sgd_hd",
                "optimizer": "SGDHD",
                "baseline": "sgd",
                "lr": levels,
                "hypergrad_lr": [i / 1000 for i in range(9)],
            },
        ],
    }


def write(folder: str, cells: int) -> str:
    """As workers do: packs of 500 cells, a pair of parts each."""
    import numpy as np

    from hdsens import Study
    from hdsens.records import CellRecord, PackRecord, TracePoint
    from hdsens.store import Store
    from hdsens.study.cells import expand

    model = Study.from_dict(study(cells))
    store = Store(folder)
    store.begin(model, N_TRAIN)
    rng = np.random.default_rng(0)
    expected = expand(model, N_TRAIN)
    for start in range(0, len(expected), PACK):
        losses = rng.gamma(2.0, size=(PACK, TRACE_ROWS))
        records = tuple(
            CellRecord(
                cell, "completed", steps_run=1000, initial_loss=2.3, train_loss=row[-1],
                valid_loss=row[-1] + 0.1, valid_accuracy=0.5, best_valid_loss=row[-1],
                lr_final=0.1, lr_max=0.1, lr_min=0.01, steps_to={"low": 7},
                trace=tuple(
                    TracePoint(50 * i + 1, i / 2, 0.1, loss) for i, loss in enumerate(row)
                ),
            )
            for cell, row in zip(expected[start : start + PACK], losses.tolist(), strict=True)
        )  # fmt: skip
        store.append(model, PackRecord(records, 60.0, "cpu", "float32", "2.13.0"))
    return f"{len(expected)} cells, {store.part_count()} parts"


def compact(folder: str, _: int) -> str:
    from hdsens.store import Store

    done = Store(folder).compact()
    size = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
    return f"{done.before} parts before, {done.after} after, {size / 1e6:.0f} MB"


def expand(folder: str, _: int) -> str:
    from hdsens.store import Store

    return f"{len(Store(folder).expected())} cells"


def status(folder: str, _: int) -> str:
    return _command("status", folder)


def check(folder: str, _: int) -> str:
    return _command("status", "--check", folder)


def read_cells(folder: str, _: int) -> str:
    import hdsens

    frame = hdsens.read_cells(folder)
    return f"{frame.shape[0]} rows, {frame.shape[1]} columns"


def read_traces(folder: str, _: int) -> str:
    import hdsens

    return f"{len(hdsens.read_traces(folder))} rows"


def _command(*arguments: str) -> str:
    from click.testing import CliRunner

    from hdsens.cli import cli

    done = CliRunner().invoke(cli, list(arguments), standalone_mode=False)
    assert done.exception is None, done.exception
    return done.output.splitlines()[1]


ALL: dict[str, Callable[[str, int], str]] = {
    f.__name__: f for f in (write, compact, expand, status, read_cells, check, read_traces)
}


def alone(step: str, folder: str, cells: int) -> None:
    """One step in this process, and what it cost."""
    started = time.perf_counter()
    said = ALL[step](folder, cells)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"step": step, "seconds": seconds, "peak": peak, "said": said}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--alone", choices=STEPS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        alone(given.alone, given.folder, given.cells)
        return
    from importlib.metadata import version

    names = ("pyarrow", "pandas", "numpy")
    print(f"Python {platform.python_version()},", ", ".join(f"{n} {version(n)}" for n in names))
    print(f"{'step':<12}{'seconds':>9}{'peak GB':>9}")
    for step in given.only:
        command = [sys.executable, "-m", "benchmarks.store_scale", "--folder", given.folder]
        command += ["--cells", str(given.cells), "--alone", step]
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - started  # with the start of Python
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"{step:<12}{seconds:>9.1f}{found['peak']:>9.2f}  {found['said']}", flush=True)


if __name__ == "__main__":
    main()
