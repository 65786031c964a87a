"""The kinds of values that a study file has, each with its rule."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from hdsens.study.levels import MAX_WHOLE
from hdsens.study.rules import (
    dotted_name,
    factor_name,
    identifier,
    printable_name,
    rule_broken,
    safe_name,
    text,
)

MAX_SEEDS = 1_000_000
MAX_ARMS = 1000


def _settings(value: object) -> object:
    """Check that JSON gives the settings back unchanged: they are part of a cell's identity."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise rule_broken("must be a table", remedy="e.g. { width = 64 }")
    return {text(key): _json_value(inner) for key, inner in value.items()}


def _json_value(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_json_value(inner) for inner in value]
    if isinstance(value, dict):
        return _settings(value)
    if isinstance(value, str):
        text(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise rule_broken("must hold finite numbers", value, remedy="correct the value")
    elif isinstance(value, int) and abs(value) > MAX_WHOLE:
        raise rule_broken("must hold whole numbers within ±2**53", value, remedy="write it as text")
    elif not (value is None or isinstance(value, bool | int | float)):
        raise rule_broken(
            "must hold only numbers, text, booleans, lists and tables",
            value,
            remedy="write it as text",
        )
    return value


Settings = Annotated[dict[str, Any], BeforeValidator(_settings)]
StudyName = Annotated[str, BeforeValidator(safe_name)]
ArmName = Annotated[str, BeforeValidator(printable_name)]
FactorName = Annotated[str, BeforeValidator(factor_name)]
ColumnName = Annotated[str, BeforeValidator(identifier)]
Named = Annotated[str, BeforeValidator(dotted_name)]
Real = Annotated[float, Field(strict=True)]


def _seeds(value: object) -> object:
    """Return the seeds 0 to n − 1 for a count n; a list stays as it is."""
    if isinstance(value, bool) or not isinstance(value, int | list | tuple | range):
        raise rule_broken("must be a count or a list of whole numbers", remedy="e.g. seeds = 10")
    if (value if isinstance(value, int) else len(value)) > MAX_SEEDS:
        raise rule_broken(f"must be at most {MAX_SEEDS}", remedy="name fewer seeds")
    seeds = tuple(range(value)) if isinstance(value, int) else tuple(value)
    if not seeds:
        raise rule_broken("must hold at least one seed", remedy="e.g. seeds = 10")
    if any(isinstance(s, bool) or not isinstance(s, int) or not 0 <= s < 2**32 for s in seeds):
        raise rule_broken("must be whole numbers from 0 to 2**32 - 1", remedy="e.g. [0, 1, 2]")
    if len(set(seeds)) < len(seeds):
        raise rule_broken("must differ from each other", remedy="name each seed once")
    return seeds


def _validation(value: object) -> object:
    rule = "must be a share between 0 and 1, a count of examples, or 'test'"
    if value == "test":
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise rule_broken(rule, remedy="e.g. validation = 0.1")
    if isinstance(value, float) and not 0 < value < 1:
        raise rule_broken(rule, remedy="e.g. validation = 0.1")
    if isinstance(value, int) and value < 1:
        raise rule_broken(rule, remedy="hold back at least one example")
    return value


def _arms(value: object) -> object:
    """Refuse too many arms before any single arm is checked."""
    if isinstance(value, list | tuple) and len(value) > MAX_ARMS:
        raise rule_broken(f"must be at most {MAX_ARMS}", len(value), remedy="split the study")
    return value


Seeds = Annotated[tuple[int, ...], BeforeValidator(_seeds)]
Share = Annotated[Real, Field(gt=0, le=1)]
Validation = Annotated[float | int | Literal["test"], BeforeValidator(_validation)]
FewArms = BeforeValidator(_arms)
