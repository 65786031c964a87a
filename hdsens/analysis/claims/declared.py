"""What was declared when, and as what the seeds were trained: can the verdict be confirmatory?

The facts of cells say so (`protocol_history`, `trained_as`). Where they do not (simulated cells, or
a frame made by hand), whoever judges the cells is taken at their word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from hdsens.analysis.panel.cells import CheckedCells
from hdsens.store.declared import Declaration, DeclaredArm, HistoryEntry
from hdsens.study import Protocol
from hdsens.text import list_seeds


def broken_promises(cells: CheckedCells, protocol: Protocol | None) -> list[str]:
    """Name what was declared, or judged, otherwise than when the confirmatory cells were trained.

    Args:
        cells: with the roles that the protocol gives them.
        protocol: the one judged by; without one nothing was promised.
    """
    if protocol is None:
        return []
    return [*_changed_roles(cells), *_changed_declarations(cells, protocol)]


def unrecorded(cells: CheckedCells, protocol: Protocol | None) -> Iterable[str]:
    """Say that cells without a history are taken at their word: nothing tells a broken promise."""
    if protocol is not None and cells.facts.protocol_history is None:
        yield "what was declared when the cells were trained is not recorded"


def _changed_roles(cells: CheckedCells) -> Iterable[str]:
    roles = [role.model_dump() for role in cells.facts.trained_as or ()]
    trained = pd.DataFrame(roles, columns=["task", "seed", "role"])
    judged = cells.frame[["task", "seed", "role"]].drop_duplicates()
    both = trained.merge(judged, on=["task", "seed"], suffixes=("", "_judged"))
    moved = both[both["role"] != both["role_judged"]]
    for (task, was, now), rows in moved.groupby(["task", "role", "role_judged"]):
        seeds = ", ".join(map(str, sorted(rows["seed"])))
        yield f"task {task!r}: seeds {seeds} were trained as {was} and are judged as {now}"


def _changed_declarations(cells: CheckedCells, protocol: Protocol) -> Iterable[str]:
    history = cells.facts.protocol_history or ()
    for task in dict.fromkeys(entry.task for entry in history):
        entries = [entry for entry in history if entry.task == task]
        own = cells.frame[cells.frame["task"] == task]
        results = own[(own["outcome"] != "failed") & (own["role"] == "confirmatory")]
        if len(results):
            yield from _of_task(task, entries, results, protocol)
            for *_, present in _histories(entries):
                yield from _not_run(task, own, _present(present))


def _present(entry: HistoryEntry) -> Declaration:
    """The declaration of a history's last entry, which is read with the study itself."""
    assert entry.declared is not None
    return entry.declared


def _histories(entries: Iterable[HistoryEntry]) -> list[list[HistoryEntry]]:
    """Split the entries of several results of a task; each ends with what is declared at present.

    The present has no time.
    """
    histories: list[list[HistoryEntry]] = [[]]
    for entry in entries:
        histories[-1].append(entry)
        if entry.started_at is None:
            histories.append([])
    return histories[:-1]


def _in_time(histories: Iterable[Sequence[HistoryEntry]]) -> list[tuple[str | None, Declaration]]:
    """When which declaration was in force, in order of time, over results whose runs interleave.

    A declaration counts at its first run and at the last before its result declared another. What a
    result declares at present and never ran has no time and comes after the others.
    """
    runs: list[tuple[str | None, Declaration]] = []
    never_ran: list[tuple[str | None, Declaration]] = []
    for *past, present in sorted(histories, key=_last_run):
        for run in past:
            if run.declared is not None:
                runs += [(run.started_at, run.declared), (run.last_at, run.declared)]
        if not past or past[-1].declared != present.declared:
            never_ran.append((None, _present(present)))
    return [*sorted(runs, key=lambda run: pd.Timestamp(str(run[0]))), *never_ran]


def _last_run(history: Sequence[HistoryEntry]) -> str:
    return str(history[-2].last_at) if len(history) > 1 else ""


def _of_task(
    task: str, entries: Sequence[HistoryEntry], results: pd.DataFrame, protocol: Protocol
) -> Iterable[str]:
    histories = _histories(entries)
    runs = [entry for *past, _ in histories for entry in past]
    present = [_present(history[-1]) for history in histories]
    if not runs or any(run.declared is None for run in runs):
        yield f"task {task!r}: what was declared when the cells were trained is not recorded"
    if any(declared.protocol != protocol for declared in present):
        yield f"task {task!r}: judged by another protocol than the one its study declares"
    yield from _other_baselines(task, results, present)
    in_time = _in_time(histories)
    now = in_time[-1][1]
    for what in ("protocol", "metric", "seeds", "arms"):
        others = [i for i, (_, declared) in enumerate(in_time) if _differs(what, declared, now)]
        if others and _ran_before(results, in_time[others[-1] + 1][0]):
            changed = f"{what} changed after confirmatory cells had run"
            yield f"task {task!r}: {changed}{_how(what, in_time[others[-1]][1], now)}"


def _not_run(task: str, cells: pd.DataFrame, declared: Declaration) -> Iterable[str]:
    """Name declared seeds and levels that no cell has: the verdict is a look in between."""
    seeds = sorted(set(declared.seeds) - set(cells["seed"].tolist()))
    if seeds:
        yield f"task {task!r}: seeds {list_seeds(seeds)} are declared and have no cells"
    for name, arm in declared.arms.items():
        own = cells[cells["arm"] == name]
        for factor, levels in arm.levels.items():
            seen = set(map(str, own[factor])) if factor in own else set()
            absent = [level for level in levels if str(level) not in seen]
            if len(own) and absent:
                listed = ", ".join(map(str, absent))
                yield f"task {task!r}: arm {name}: {factor} {listed} is declared and has no cells"


def _other_baselines(
    task: str, results: pd.DataFrame, present: Sequence[Declaration]
) -> Iterable[str]:
    declared = {name: arm.baseline for study in present for name, arm in study.arms.items()}
    judged = results[["arm", "baseline"]].drop_duplicates().to_dict("records")
    for row in judged:
        used = None if pd.isna(row["baseline"]) else row["baseline"]
        stated = declared.get(row["arm"])
        if stated != used:
            yield f"task {task!r}: arm {row['arm']}: baseline {used} is not the declared {stated}"


def _differs(what: str, before: Declaration, now: Declaration) -> bool:
    if what == "arms":
        return _common_arms(before, now) != _common_arms(now, before)
    return bool(getattr(before, what) != getattr(now, what))


def _ran_before(results: pd.DataFrame, began: str | None) -> bool:
    """Whether some cell was trained before the present declaration began; None: it never ran."""
    if began is None or "finished_at" not in results:
        return True
    finished = pd.to_datetime(results["finished_at"], utc=True)
    return bool((finished < pd.Timestamp(began)).any())


def _common_arms(declared: Declaration, other: Declaration) -> dict[str, DeclaredArm]:
    """Arms that both declare; one more arm changes nothing about the others."""
    return {name: arm for name, arm in declared.arms.items() if name in other.arms}


def _how(what: str, before: Declaration, now: Declaration) -> str:
    """What was changed, in brackets."""
    if what == "seeds":
        added = sorted(set(now.seeds) - set(before.seeds))
        dropped = sorted(set(before.seeds) - set(now.seeds))
        parts = [("added", added), ("dropped", dropped)]
        return " (" + ", ".join(f"{verb}: {list_seeds(s)}" for verb, s in parts if s) + ")"
    if what == "metric":
        return f" ({before.metric} → {now.metric})"
    if what == "arms":
        own, other = _common_arms(now, before), _common_arms(before, now)
        return f" ({', '.join(name for name in own if own[name] != other[name])})"
    was, new = (_options(declared.protocol) for declared in (before, now))
    return f" ({', '.join(key for key in {**was, **new} if was.get(key) != new.get(key))})"


def _options(protocol: Protocol | None) -> dict[str, Any]:
    return protocol.model_dump() if protocol else {}
