"""What was fixed before the confirmatory seeds ran, and where a study departs from it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import pandas as pd
from pydantic import ValidationError

from hdsens.analysis.claims.pairs import Pair
from hdsens.analysis.panel.cells import CheckedCells
from hdsens.analysis.panel.checks import floats
from hdsens.analysis.panel.settings import name_of
from hdsens.study import Margins, Protocol
from hdsens.study.rules import explain

SEEDS_ALLOWED = (10, 20, 30)


def read_protocol(given: Any) -> Protocol | None:
    """A protocol from a Protocol, a mapping or an object with the same attributes; None gives None.

    Raises:
        InputError: a key that no protocol has, or a value that a study file could not have.
    """
    if given is None or isinstance(given, Protocol):
        return given
    values = _plain(given)
    if isinstance(values, dict):
        values = {name: value for name, value in values.items() if value is not None}
    try:
        return Protocol.model_validate(values)
    except ValidationError as error:
        raise explain(error, values, Protocol, "protocol") from None


def _plain(value: Any) -> Any:
    """Convert models, namespaces and arrays to dicts, lists, numbers and text."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    table = getattr(value, "__dict__", value)
    if isinstance(table, Mapping):
        return {name: _plain(inner) for name, inner in table.items()}
    return [_plain(inner) for inner in value]


def with_roles(cells: CheckedCells, protocol: Protocol | None) -> CheckedCells:
    """Set `role` by the protocol's pilot seeds; the same cells where that changes no role."""
    if protocol is None:
        return cells
    pilot = cells.frame["seed"].isin(protocol.pilot_seeds)
    role = pd.Series("confirmatory", index=cells.frame.index).mask(pilot, "pilot")
    if (role == cells.frame["role"]).all():
        return cells
    return CheckedCells(cells.frame.assign(role=role), cells.facts)


def is_primary(pair: Pair, protocol: Protocol | None) -> bool:
    """Whether the claim is tested at this setting; others are descriptive."""
    wanted = None if protocol is None else protocol.primary.get(pair.setting.arm)
    if wanted is None:
        return False
    fixed = pair.setting.fixed
    return all(_level(fixed.get(name)) == _level(level) for name, level in wanted.items())


def _level(level: Any) -> Any:
    """A level rounded as studies round theirs, to 6 significant digits: 10**-3.5 is 0.000316228."""
    is_number = isinstance(level, Real) and not isinstance(level, bool)
    return float(f"{level:.6g}") if is_number else level


def deviations(cells: pd.DataFrame, pairs: Sequence[Pair], protocol: Protocol | None) -> list[str]:
    """Departures from the protocol in words; empty where the study kept to it."""
    return [
        *(_of_protocol(cells, pairs, protocol) if protocol else ["no protocol was frozen"]),
        *_of_seeds([pair for pair in pairs if is_primary(pair, protocol)] or pairs),
        *_of_budget(cells),
    ]


def _of_protocol(cells: pd.DataFrame, pairs: Sequence[Pair], protocol: Protocol) -> Iterable[str]:
    absent = sorted(set(protocol.pilot_seeds) - set(cells["seed"]))
    if absent:
        yield f"pilot seeds {', '.join(map(str, absent))} have no cells"
    usual = Margins()
    for name, value in protocol.margins:
        if value != getattr(usual, name):
            yield f"margin {name} = {value:g} instead of {getattr(usual, name):g}"
    for arm in sorted(set(protocol.primary) - set(map(str, cells["arm"]))):
        yield f"arm {arm}: named as primary, has no cells"
    yield from _of_primaries(cells, pairs, protocol)
    tested = {pair.setting.arm for pair in pairs if is_primary(pair, protocol)}
    for arm in sorted({pair.setting.arm for pair in pairs} - tested):
        why = "no primary setting is named" if arm not in protocol.primary else "it was not run"
        yield f"arm {arm}: not tested at a primary setting: {why}"


def _of_primaries(cells: pd.DataFrame, pairs: Sequence[Pair], protocol: Protocol) -> Iterable[str]:
    """Name arms of which several settings are tested, and tasks on which none is."""
    found = Counter((p.setting.arm, p.setting.task) for p in pairs if is_primary(p, protocol))
    for (arm, task), n in found.items():
        if n > 1:
            yield f"arm {arm} on {task}: {n} settings fit the primary one, all are tested"
    tasks = set(map(str, cells["task"]))
    for arm in dict.fromkeys(arm for arm, _ in found):
        absent = sorted(tasks - {task for name, task in found if name == arm})
        if absent:
            yield f"arm {arm}: not tested at its primary setting on {', '.join(absent)}"


def _of_seeds(pairs: Sequence[Pair]) -> Iterable[str]:
    by_arm: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_arm[pair.setting.arm, pair.setting.task].append(pair)
    for (arm, task), own in by_arm.items():
        seeds = [int(pair.paired.sum()) for pair in own]
        alike = len(own) > 1 and len(set(seeds)) == 1
        named = (
            [(f"{arm} on {task}", seeds[0])] if alike else zip(map(_name, own), seeds, strict=True)
        )
        for name, n in named:
            if n not in SEEDS_ALLOWED:
                yield f"{name}: {n} paired seeds instead of 10, 20 or 30"


def _name(pair: Pair) -> str:
    return name_of(pair.setting)


def _of_budget(cells: pd.DataFrame) -> Iterable[str]:
    if "steps" not in cells:
        return
    steps = pd.Series(floats(cells, "steps"), index=cells.index)
    for task, own in steps.groupby(cells["task"]):
        budgets = sorted(set(own.dropna()))
        if len(budgets) > 1:
            listed = ", ".join(f"{budget:.10g}" for budget in budgets)
            yield f"task {task!r}: unequal budgets of {listed} steps"
