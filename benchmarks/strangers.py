"""Random models, data and optimizers of other people: fused, plain and resumed against an oracle.

    python -m benchmarks.strangers [--draws 2000] [--first 0] [--faults]

Each draw of a small grammar (`benchmarks.strangers_own`) must give one result however it trains,
that of a plain loop (`benchmarks.strangers_oracle`), or be refused before training, or be said (a
cell that fails with its reason, a warning). Anything else is a silent difference, and there must be
none.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import strangers_own as own
from benchmarks.strangers_oracle import expected
from hdsens.errors import InputError
from hdsens.records import CellRecord
from hdsens.study import Study
from hdsens.study.cells import Cell, expand
from hdsens.tasks.data import forget_data
from hdsens.training.check import check_data_again, check_study, examples_to_train
from hdsens.training.choosing.choice import choose_packs
from hdsens.training.examples import forget_examples
from hdsens.training.pack import PackTraining

_SAME = {"float32": 2e-3, "float64": 1e-6}
"""Relative: sums in another order, enlarged by some steps of training."""
_FIELDS = ("initial_loss", "train_loss", "valid_loss", "valid_accuracy", "lr_final", "lr_max")

Weights = dict[str, float]
GRAMMAR: dict[str, Weights] = {
    "body": dict.fromkeys(own.BODIES, 1.0) | {"sparse_embedding": 0.5},
    "memory": {
        "none": 5.0,
        **dict.fromkeys(("buffer_count", "buffer_mean", "buffer_replaced", "frozen_written"), 1.0),
        **dict.fromkeys(("python_count", "late_attribute", "history", "object", "tensor"), 1.0),
        **dict.fromkeys(("torch_generator", "numpy_generator", "python_generator"), 1.0),
        "iterator": 0.5,
    },
    "noise": {"none": 6.0, "torch": 1.0, "numpy": 1.0, "python": 1.0},
    "hook": {"none": 6.0, "forward": 1.0, "forward_count": 1.0, "backward": 1.0, "parameter": 1.0},
    "mistake": {
        "none": 40.0,
        **dict.fromkeys(("backbone", "other_init", "late", "in_list", "global_count"), 1.0),
        **dict.fromkeys(("quits", "raises", "thaws", "replaces", "decomposes"), 1.0),
    },
    "data": {"plain": 40.0, "nan": 1.0, "inf": 1.0, "doubles": 0.5, "other_each_time": 1.0},
    "augment": {"none": 10.0, "given_generator": 3.0, "own_generator": 0.5},
    "optimizer": {
        **dict.fromkeys(("SGD", "SGDHD", "Adam", "AdamHD"), 4.0),
        **dict.fromkeys(("momentum", "AdamW", "RMSprop", "Counts", "Averages", "Draws"), 2.0),
        **dict.fromkeys(("Shares", "OtherName"), 0.5),
    },
    "lr": {"small": 10.0, "huge": 1.0},
    "dtype": {"float32": 1.0, "float64": 2.0},
    "schedule": {"none": 4.0, "inv_sqrt": 1.0},
    "clip": {"none": 4.0, "clipped": 1.0},
    "validation": {"share": 3.0, "count": 1.0, "test": 1.0},
}


@dataclass(frozen=True)
class Draw:
    """A study of the grammar: which feature of each kind, and its sizes."""

    number: int
    features: dict[str, str]
    n: int
    batch_size: int
    steps: int

    @classmethod
    def of(cls, number: int) -> Draw:
        """The draw of that number; the same on every machine."""
        rng = np.random.default_rng([20261130, number])
        features = {}
        for kind, weights in GRAMMAR.items():
            shares = np.array([*weights.values()]) / sum(weights.values())
            features[kind] = str(rng.choice([*weights], p=shares))
        sizes = rng.integers([24, 5, 4], [60, 33, 8])
        return cls(number, features, *(int(size) for size in sizes))

    def study(self) -> Study:
        """As a person would declare it."""
        f = self.features
        name, arguments = _optimizer(f["optimizer"])
        levels = [0.0, 0.02] if name.startswith("Adam") else [0.0, 0.1]
        validation = {"share": 0.2, "count": 7, "test": "test"}[f["validation"]]
        task = {
            "model": "benchmarks.strangers_own:model",
            "model_settings": {k: f[k] for k in ("body", "memory", "noise", "hook", "mistake")},
            "data": "benchmarks.strangers_own:data",
            "data_settings": {"n": self.n, "kind": f["data"], "augment": f["augment"]},
            "batch_size": self.batch_size, "steps": self.steps, "weight_decay": 1e-3,
            "validation": validation, "dtype": f["dtype"],
        }  # fmt: skip
        arm = {
            "name": "a", "optimizer": name, "lr": [*levels, 1e25] if f["lr"] == "huge" else levels,
            "schedule": f["schedule"], "clip_grad_norm": 0.5 if f["clip"] == "clipped" else 0.0,
            **arguments,
        }  # fmt: skip
        trace = {"points": 3, "evaluate": [0.5, 1.0]}
        return Study.from_dict(
            {"name": "t", "seeds": 1, "task": task, "arms": [arm], "trace": trace}
        )


def _optimizer(feature: str) -> tuple[str, dict[str, Any]]:
    if feature == "momentum":
        return "SGDHD", {"hypergrad_lr": 1e-3, "settings": {"momentum": 0.9, "nesterov": True}}
    if feature in ("SGDHD", "AdamHD"):
        return feature, {"hypergrad_lr": 1e-4}
    if feature == "Counts":
        return "benchmarks.strangers_own:Counts", {"factors": {"every": [3]}}
    return (f"benchmarks.strangers_own:{feature}" if hasattr(own, feature) else feature), {}


@dataclass(frozen=True)
class Judged:
    """What became of a draw: `equal`, `refused`, `said` or `different`, with the reason."""

    kind: str
    reason: str = ""


def judge(draw: Draw) -> Judged:
    """Train a draw in every way, and compare."""
    _begin_anew()
    study = draw.study()
    try:
        check_study(study)
        check_data_again(study)
        cells = expand(study, examples_to_train(study.task))
        packs = choose_packs(study, cells, "cpu", 1, len(cells), "fused")
    except InputError as error:
        return Judged("refused", str(error))
    with _warnings() as said:
        ways = {"plain": _train(study, cells, "plain"), "resumed": _resume(study, cells, "plain")}
        together = [cell for pack in packs if pack.path == "fused" for cell in pack.cells]
        if together:
            ways["fused"] = _train(study, together, "fused")
            ways["fused and resumed"] = _resume(study, together, "fused")
        wanted = {cell.cell_id: expected(study, cell) for cell in cells}
    for way, records in ways.items():
        if records is None:
            if not any("cannot be checkpointed" in text for text in said):
                return Judged("different", f"{way}: no checkpoint, without a word")
            continue
        for record in records:
            reason = _difference(record, wanted[record.cell.cell_id], study.task.dtype)
            if reason:
                return Judged("different", f"{way}, lr {record.cell.factors['lr']}: {reason}")
    failed = [right for right in wanted.values() if right["outcome"] == "failed"]
    return Judged("said" if failed or None in ways.values() else "equal")


def _begin_anew() -> None:
    forget_examples()
    forget_data()
    own.CALLS = 0
    own.Shares.moments.clear()


def _train(study: Study, cells: Sequence[Cell], path: Any) -> list[CellRecord]:
    return _records(PackTraining(study, cells, "cpu", 1, path))


def _records(training: PackTraining) -> list[CellRecord]:
    """In the order of the cells, whichever ended first."""
    for _ in training:
        pass
    return list(training.record().cells)


def _resume(study: Study, cells: Sequence[Cell], path: Any) -> list[CellRecord] | None:
    """In two parts, the second from a snapshot; None where there is none."""
    training = PackTraining(study, cells, "cpu", 1, path)
    for _ in range(3):
        training.advance()
    snapshot = training.snapshot()
    if snapshot is None and training.live:  # a cell has just failed; the next has not begun
        training.advance()
        snapshot = training.snapshot()
    if snapshot is None:
        return None
    return _records(PackTraining(study, cells, "cpu", 1, path, snapshot))


def _difference(record: CellRecord, right: dict[str, Any], dtype: str) -> str:
    if record.outcome != right["outcome"]:
        return f"{record.outcome} ({record.error}) where {right} is right"
    for name in (*_FIELDS, "diverged_step"):
        value, wanted = getattr(record, name), right.get(name)
        if name in right and not _close(value, wanted, _SAME[dtype]):
            return f"{name} is {value}, {wanted} is right"
    return ""


def _close(value: Any, wanted: Any, bound: float) -> bool:
    if value is None or wanted is None:
        return value is wanted
    return abs(value - wanted) <= bound * max(1.0, abs(wanted))


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """What the toolkit says meanwhile."""
    said: list[str] = []

    class Keeps(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    log, handler = logging.getLogger("hdsens"), Keeps()
    log.addHandler(handler)
    log.propagate = False
    try:
        yield said
    finally:
        log.removeHandler(handler)
        log.propagate = True


@dataclass
class Tally:
    """How often each feature came, and what became of it."""

    kinds: Counter[str] = field(default_factory=Counter)
    features: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    different: list[str] = field(default_factory=list)

    def add(self, draw: Draw, judged: Judged) -> None:
        self.kinds[judged.kind] += 1
        self.features.update(draw.features.items())
        if judged.kind == "refused":
            self.refused.update(draw.features.items())
        if judged.kind == "different":
            self.different.append(f"draw {draw.number} {draw.features}: {judged.reason}")

    def __str__(self) -> str:
        total = sum(self.kinds.values())
        lines = [f"{total} draws: " + ", ".join(f"{n} {kind}" for kind, n in self.kinds.items())]
        lines += ["", "| feature | draws | refused |", "|---|---|---|"]
        for kind, weights in GRAMMAR.items():
            for name in weights:
                n, refused = self.features[kind, name], self.refused[kind, name]
                lines.append(f"| {kind}: {name} | {n} | {refused} |")
        return "\n".join([*lines, "", f"{len(self.different)} silent differences"])


def fuzz(numbers: Sequence[int]) -> Tally:
    """Judge draws."""
    tally = Tally()
    for number in numbers:
        draw = Draw.of(number)
        tally.add(draw, judge(draw))
    return tally


def main() -> None:
    """Judge draws and print the table; with `--faults` show that planted faults are found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--faults", action="store_true")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    numbers = range(asked.first, asked.first + asked.draws)
    if asked.faults:
        from benchmarks.strangers_faults import find_faults

        print(find_faults(numbers))
        return
    tally = fuzz(numbers)
    print(tally)
    for line in tally.different:
        print(line)


if __name__ == "__main__":
    main()
