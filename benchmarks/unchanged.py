"""Do two commits give the same numbers? Cells, tables and verdict, compared by name and value.

    python -m benchmarks.unchanged aef8aaf             # that commit beside the working tree
    python -m benchmarks.unchanged aef8aaf 4a412ba     # two commits

Each side trains the same studies in a process of its own, by the plain loop, and a fused study from
a plan that the first side stored; then it makes every table of `hdsens.analysis`. Numbers must be
equal bit for bit, and so must the labels of rows. Words may differ: a column of sentences is not
compared. What only the second side has (a new column) is listed and no fault.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LABELS = (
    "cell_id", "task", "arm", "baseline", "optimizer", "role", "outcome", "part", "verdict",
    "factor", "factors", "target", "side", "metric",
)  # fmt: skip
"""Text columns that say which row it is or what was decided; other text is words."""

PASSING = ("wall_s", "finished_at", "hdsens_version")  # of the run, not of the study


def with_protocol() -> dict[str, Any]:
    """Two families, a second factor, pilots, a target, levels that diverge."""
    lr = [0.0, 0.01, 0.1, 1.0, 10.0]
    return {
        "name": "with_protocol",
        "seeds": 5,
        "task": {"model": "logreg", "data": "digits", "steps": 60, "weight_decay": 1e-4},
        "targets": {"low": {"batch_loss": 0.6}},
        "protocol": {
            "pilot_seeds": [100, 101, 102],
            "primary": {"sgd_hd": {"hypergrad_lr": 0.01}, "adam_hd": {"hypergrad_lr": 1e-5}},
        },
        "arms": [
            {"name": "sgd", "optimizer": "SGD", "lr": lr, "factors": {"momentum": [0.0, 0.9]}},
            {
                "name": "sgd_hd",
                "optimizer": "SGDHD",
                "baseline": "sgd",
                "lr": lr,
                "hypergrad_lr": [0.001, 0.01],
                "factors": {"momentum": [0.0, 0.9]},
            },
            {"name": "adam", "optimizer": "Adam", "lr": lr},
            {
                "name": "adam_hd",
                "optimizer": "AdamHD",
                "baseline": "adam",
                "lr": lr,
                "hypergrad_lr": [1e-5],
            },
        ],
    }


def quickstart() -> dict[str, Any]:
    """The study of the README."""
    import tomllib

    return tomllib.loads((ROOT / "studies" / "quickstart.toml").read_text(encoding="utf-8"))


def collect(folder: Path, planned: Path | None) -> dict[str, dict[str, Any]]:
    """Train and analyse with the hdsens that is imported; one entry a table.

    `planned` is the folder of an earlier side: its fused study's plan is used again.
    """
    found: dict[str, dict[str, Any]] = {}
    for study, path in ((quickstart(), "plain"), (with_protocol(), "plain"), (fused(), "fused")):
        out = folder / study["name"]
        if path == "fused" and planned is not None:
            _keep_plan(planned / study["name"], out)
        _train(study, out, path)
        for name, frame in _tables(out):
            found[f"{study['name']}: {name}"] = _values(frame)
    return found


def fused() -> dict[str, Any]:
    """A study small enough to train twice, in packs."""
    return with_protocol() | {"name": "fused", "seeds": 2, "protocol": None}


def _keep_plan(earlier: Path, out: Path) -> None:
    """A results folder with the study and the plan of another, and no results."""
    shutil.copytree(earlier, out, ignore=shutil.ignore_patterns("parts", "report.html", "runs"))


def _train(study: dict[str, Any], out: Path, path: str) -> None:
    from hdsens import Study, run

    given = {key: value for key, value in study.items() if value is not None}
    run(Study.from_dict(given), out, executor="inline", path=path)


def _tables(out: Path) -> Iterator[tuple[str, Any]]:
    from hdsens import analysis, read_cells, read_traces

    cells = read_cells(out)
    yield "cells", cells.sort_values("cell_id", ignore_index=True)
    yield "traces", read_traces(out).sort_values(["cell_id", "step"], ignore_index=True)
    made: dict[str, Callable[[], Any]] = {
        f"{name} of {metric}": lambda function=function, metric=metric: function(cells, metric)
        for metric in ("train_loss", "valid_loss")
        for name, function in (
            ("regret", analysis.regret_table),
            ("sensitivity", analysis.sensitivity_table),
            ("tunability", analysis.tunability_curve),
            ("importance", analysis.importance),
        )
    }
    made["steps"] = lambda: analysis.steps_to_target_table(cells, "low")
    made["trajectory"] = lambda: analysis.trajectory_table(cells, read_traces(out))
    for name, make in made.items():
        yield name, make()
    from hdsens import Study
    from hdsens.store import read_results

    study: Study = read_results(out).study
    judged = analysis.verdict(cells, study.protocol)
    yield "verdict", judged.parts
    yield "joint verdict", judged.joint
    yield "verdict's levels", judged.levels


def _values(frame: Any) -> dict[str, Any]:
    """Column -> its values as text that tells every bit; words are left out."""
    import pandas as pd

    kept = {}
    for name in map(str, frame.columns):
        column = frame[name]
        numeric = pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)
        if name not in PASSING and (numeric or name in LABELS):
            kept[name] = [_exact(value) for value in column]
    return kept


def _exact(value: Any) -> str:
    import pandas as pd

    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "null"
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return str(value)
    return float(value).hex()


def compare(old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]]) -> list[str]:
    """A line for each difference that is a fault."""
    faults = []
    for table, columns in old.items():
        for name, values in columns.items():
            there = new.get(table, {}).get(name)
            if there is None:
                faults.append(f"{table}: {name} is gone")
            elif len(there) != len(values):
                faults.append(f"{table}: {name} has {len(there)} rows, had {len(values)}")
            elif there != values:
                rows = [i for i, (a, b) in enumerate(zip(values, there, strict=True)) if a != b]
                i = rows[0]
                faults.append(
                    f"{table}: {name} differs in {len(rows)} of {len(values)} rows; "
                    f"row {i}: {values[i]} is now {there[i]}"
                )
    return faults


def _side(commit: str | None, scratch: Path, planned: Path | None) -> dict[str, dict[str, Any]]:
    """The tables of a commit (None: of the working tree), collected in a process of its own."""
    folder = scratch / (commit or "working_tree")
    tree = ROOT
    if commit is not None:
        tree = scratch / f"tree_{commit}"
        added = ["git", "worktree", "add", "--detach", "-f", tree, commit]
        subprocess.run(added, cwd=ROOT, check=True)
    try:
        command = [sys.executable, Path(__file__), "--collect", folder]
        if planned is not None:
            command += ["--planned", planned]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(tree)})
        told = json.loads((folder / "tables.json").read_text(encoding="utf-8"))
    finally:
        if commit is not None:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)
    return dict(told)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commits", nargs="*", help="one commit, or two")
    parser.add_argument("--collect", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--planned", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.collect is not None:
        given.collect.mkdir(parents=True)
        found = collect(given.collect, given.planned)
        (given.collect / "tables.json").write_text(json.dumps(found), encoding="utf-8")
        return 0
    if not 1 <= len(given.commits) <= 2:
        parser.error("name one commit, or two")
    first, second = (*given.commits, None)[:2]
    with tempfile.TemporaryDirectory(prefix="hdsens-unchanged-") as folder:
        scratch = Path(folder)
        old = _side(first, scratch, None)
        new = _side(second, scratch, scratch / first)
    faults = compare(old, new)
    count = sum(len(values) for columns in old.values() for values in columns.values())
    print(f"{count} values of {len(old)} tables compared, {len(faults)} columns differ")
    for table, columns in new.items():
        fresh = sorted(columns.keys() - old.get(table, {}).keys())
        if fresh:
            print(f"new in {table}: {', '.join(fresh)}")
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
