"""How a study file differs from the study that its store holds, and what that means for cells."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hdsens.errors import InputError
from hdsens.store import Store
from hdsens.study import Study
from hdsens.study.cells import Cell, expand

MAX_LINES = 20
_MAX_VALUE = 60


def changes(old: Study, new: Study) -> tuple[str, ...]:
    """Write one line for each key that differs: which arm or table, key, old → new.

    >>> from hdsens.study import Arm, Task
    >>> old = Study(name="s", task=Task(model="logreg", steps=5),
    ...             arms=[Arm(name="sgd", optimizer="SGD", lr=[0, 0.1])])
    >>> new = old.model_copy(update={"seeds": (0, 1)})
    >>> changes(old, new)
    ('seeds: [0, 1, 2] → [0, 1]',)
    """
    return tuple(_differences(_named(old), _named(new), ()))


def explain_changes(store: Store, study: Study, cells: Sequence[Cell]) -> tuple[str, ...]:
    """Explain how a study differs from the stored one, in lines; empty where it does not."""
    if not store.exists():
        return ()
    try:
        stored, train_size = store.study()
        lines = changes(stored, study)
        found = store.outcomes() if lines else {}
    except InputError:  # damaged: `run` and `status` say so themselves
        return ()
    if not lines:
        return ()
    shown = lines[:MAX_LINES]
    more = [f"… and {len(lines) - MAX_LINES} more"] if len(lines) > MAX_LINES else []
    results = {i for i, outcome in found.items() if outcome != "failed"}
    wanted = {cell.cell_id for cell in cells}
    unused = results & {cell.cell_id for cell in expand(stored, train_size)} - wanted
    return (
        f"the study differs from the one in {store.folder} (stored → now):",
        *(f"  {line}" for line in (*shown, *more)),
        f"  {len(results & wanted)} of its {len(wanted)} cells have a result, "
        f"{len(wanted - results)} are to train, {len(unused)} earlier ones stay unused",
        *_about_budget(stored, study),
    )


def _about_budget(old: Study, new: Study) -> list[str]:
    budgets = [(study.task.steps, study.task.epochs) for study in (old, new)]
    if budgets[0] == budgets[1]:
        return []
    return ["  another budget trains every cell anew, from its first step"]


def _named(study: Study) -> dict[str, Any]:
    """Turn a study into nested dicts, its arms by name."""
    content = study.model_dump(mode="json")
    arms = content.pop("arms")
    return {**content, **{f"arm {arm['name']!r}": arm for arm in arms}}


def _differences(
    old: Mapping[str, Any], new: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[str]:
    for key in dict.fromkeys((*old, *new)):
        before, after, place = old.get(key), new.get(key), (*path, key)
        if key not in old or key not in new:
            whole = key.startswith("arm ") and not path
            gone = "removed" if key in old else "added"
            yield f"{': '.join(place)}: " + (gone if whole else _arrow(before, after))
        elif isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, place)
        elif before != after:
            yield f"{': '.join(place)}: {_arrow(before, after)}"


def _arrow(before: object, after: object) -> str:
    return f"{_short(before)} → {_short(after)}"


def _short(value: object) -> str:
    text = "none" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_VALUE else f"{text[: _MAX_VALUE - 1]}…"
