"""What was fixed before the confirmatory seeds ran, and where a study departs from it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

import pandas as pd

from hdsens.analysis.claims.decisions import Margins
from hdsens.analysis.claims.pairs import Pair
from hdsens.analysis.panel.checks import floats
from hdsens.analysis.panel.settings import name_of
from hdsens.errors import InputError

SEEDS_ALLOWED = (10, 20, 30)


@dataclass(frozen=True)
class Protocol:
    """The `[protocol]` section of a study.

    Attributes:
        pilot_seeds: choose L* and the best lr; every other seed is confirmatory.
        primary: by HD arm, the levels of its own factors that the claim is tested at.
        margins: of the decisions.
    """

    pilot_seeds: tuple[int, ...]
    primary: Mapping[str, Mapping[str, float]]
    margins: Margins


def read_protocol(given: Any) -> Protocol | None:
    """Take a Protocol, a mapping, or an object with the same attributes; None is none.

    Raises:
        InputError: a key that no protocol has.
    """
    if given is None or isinstance(given, Protocol):
        return given
    values = _mapping(given)
    _check_keys("protocol", values, ("pilot_seeds", "primary", "margins"))
    margins = _mapping(values.get("margins") or {})
    _check_keys("protocol: margins", margins, [field.name for field in fields(Margins)])
    return Protocol(
        tuple(int(seed) for seed in values.get("pilot_seeds") or ()),
        {arm: dict(levels) for arm, levels in (values.get("primary") or {}).items()},
        Margins(**margins),
    )


def _mapping(given: Any) -> Mapping[str, Any]:
    if isinstance(given, Mapping):
        return given
    dump = getattr(given, "model_dump", None)
    return dict(dump()) if dump is not None else dict(vars(given))


def _check_keys(thing: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in given:
        if key not in known:
            raise InputError(thing, f"has only {', '.join(known)}", key)


def with_roles(cells: pd.DataFrame, protocol: Protocol | None) -> pd.DataFrame:
    """Set `role` by the protocol's pilot seeds; unchanged without a protocol."""
    if protocol is None:
        return cells
    pilot = cells["seed"].isin(protocol.pilot_seeds)
    role = pd.Series("confirmatory", index=cells.index).mask(pilot, "pilot")
    return cells.assign(role=role)


def is_primary(pair: Pair, protocol: Protocol | None) -> bool:
    """Whether the claim is tested at this setting; others are descriptive."""
    wanted = None if protocol is None else protocol.primary.get(pair.setting.arm)
    if wanted is None:
        return False
    fixed = pair.setting.fixed
    return all(_level(fixed.get(name)) == _level(level) for name, level in wanted.items())


def _level(level: Any) -> Any:
    """Levels are kept with 6 significant digits: 10**-3.5 is 0.000316228."""
    is_number = isinstance(level, Real) and not isinstance(level, bool)
    return float(f"{level:.6g}") if is_number else level


def deviations(cells: pd.DataFrame, pairs: Sequence[Pair], protocol: Protocol | None) -> list[str]:
    """Departures from the protocol, by name; an empty list is what one wants."""
    return [
        *(_of_protocol(cells, pairs, protocol) if protocol else ["no protocol was frozen"]),
        *_of_seeds([pair for pair in pairs if is_primary(pair, protocol)] or pairs),
        *_of_budget(cells),
    ]


def _of_protocol(cells: pd.DataFrame, pairs: Sequence[Pair], protocol: Protocol) -> Iterable[str]:
    absent = sorted(set(protocol.pilot_seeds) - set(cells["seed"]))
    if absent:
        yield f"pilot seeds {', '.join(map(str, absent))} have no cells"
    for field in fields(Margins):
        value = getattr(protocol.margins, field.name)
        if value != field.default:
            yield f"margin {field.name} = {value:g} instead of {field.default:g}"
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
            told = ", ".join(f"{budget:.10g}" for budget in budgets)
            yield f"task {task!r}: unequal budgets of {told} steps"
