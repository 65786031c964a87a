"""Levels of a factor: a scalar, a list, or a grid that is even in log10."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from hdsens.study.rules import rule_broken, text

Level = float | bool | str | tuple[float, ...]
"""An optimizer gets a whole number as it is written; identities and results know only floats."""

_GRID_KEYS = ("zero", "log10", "per_decade")
_GRID_EXAMPLE = "e.g. { zero = true, log10 = [-6, 0], per_decade = 2 }"
MAX_LEVELS = 10_000
MAX_WHOLE = 2**53
"""The largest whole number that identities, which know only floats, can tell from its neighbour."""
SMALLEST = {"float32": 2.0**-126, "float64": 2.0**-1022}
"""Numbers of each dtype nearer to zero than these become zero in training."""


def log_grid(low: float, high: float, per_decade: int) -> tuple[float, ...]:
    """Return levels from 10**low to 10**high, `per_decade` to a decade, at 6 significant digits.

    >>> log_grid(-1, 0, 2)
    (0.1, 0.316228, 1.0)
    """
    count = round((high - low) * per_decade)
    return tuple(float(f"{10 ** (low + i / per_decade):.6g}") for i in range(count + 1))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _grid(table: dict[str, Any]) -> tuple[float, ...]:
    """Read the levels of a table with the keys zero, log10 and per_decade."""
    unknown = [key for key in table if key not in _GRID_KEYS]
    if unknown:
        raise rule_broken(f"has no key {unknown[0]!r}", remedy=_GRID_EXAMPLE)
    zero, ends, per_decade = (
        table.get("zero", False),
        table.get("log10"),
        table.get("per_decade", 1),
    )
    if not isinstance(zero, bool):
        raise rule_broken("must have zero = true or false", zero, remedy=_GRID_EXAMPLE)
    if not _is_number(per_decade) or per_decade != int(per_decade) or not 1 <= per_decade <= 1000:
        raise rule_broken("must have a whole per_decade >= 1", per_decade, remedy=_GRID_EXAMPLE)
    if not isinstance(ends, list | tuple) or len(ends) != 2 or not all(map(_is_number, ends)):
        raise rule_broken("must have log10 = [low, high]", ends, remedy=_GRID_EXAMPLE)
    low, high = map(float, ends)
    if not -300 <= low <= high <= 300:
        raise rule_broken(
            "must have low <= high in log10, both within ±300", ends, remedy=_GRID_EXAMPLE
        )
    steps = (high - low) * per_decade
    if steps > MAX_LEVELS:
        raise rule_broken(f"must have at most {MAX_LEVELS} levels", round(steps), remedy="thin it")
    if abs(steps - round(steps)) > 1e-9:
        raise rule_broken(
            "must have a whole number of levels between the ends of log10",
            ends,
            remedy=f"with per_decade = {per_decade} move one end",
        )
    return (0.0,) * zero + log_grid(low, high, int(per_decade))


def _level(value: object) -> Level:
    """Read one level; a list is one level too, for arguments such as betas."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, list | tuple) and value and all(map(_is_number, value)):
        return tuple(map(_number, value))
    return _number(value)


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise rule_broken("must be numbers, booleans or text", value, remedy="e.g. [0.0, 1e-4]")
    if not abs(value) <= 1e308:
        raise rule_broken("must be finite", value, remedy="name a finite level")
    if isinstance(value, int):
        if abs(value) > MAX_WHOLE:
            raise rule_broken(
                "must be whole numbers within ±2**53", value, remedy="write it as text"
            )
        return value
    return value + 0.0  # -0.0 becomes 0.0


def _levels(value: object) -> tuple[Level, ...]:
    if isinstance(value, dict):
        raw: tuple[object, ...] = _grid(value)
    else:
        raw = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not raw:
        raise rule_broken("must have at least one level", remedy=_GRID_EXAMPLE)
    if len(raw) > MAX_LEVELS:
        raise rule_broken(f"must have at most {MAX_LEVELS} levels", len(raw), remedy="name fewer")
    levels = tuple(map(_level, raw))
    seen: set[Level] = set()
    for level in levels:
        if level in seen:
            raise rule_broken("must name each level once", level, remedy="remove the repetition")
        seen.add(level)
    return levels


def _non_negative(value: object) -> tuple[float, ...]:
    return tuple(map(_at_least_zero, _levels(value)))


def _at_least_zero(level: Level) -> float:
    if not isinstance(level, int | float) or isinstance(level, bool):
        raise rule_broken("must be numbers >= 0", level, remedy=_GRID_EXAMPLE)
    if level < 0:
        raise rule_broken("must be >= 0", level, remedy="use 0 or a positive number")
    return float(level)


NonNegativeLevels = Annotated[tuple[float, ...], BeforeValidator(_non_negative)]
OtherLevels = Annotated[tuple[Any, ...], BeforeValidator(_levels)]
