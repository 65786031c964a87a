"""A frame looked over where it comes in: what is wrong with it in one line, plain dtypes after."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hdsens.analysis.arrays import Floats
from hdsens.errors import InputError

OUTCOMES = ("completed", "diverged", "failed")
ROLES = ("pilot", "confirmatory")
LEARNING_RATES = ("lr", "hypergrad_lr")
REQUIRED = ("cell_id", "task", "arm", "baseline", "seed", "role", "outcome")
_NUMBERS = ("integer", "floating", "mixed-integer-float")


def check_columns(frame: pd.DataFrame, columns: Iterable[str], kind: str = "cells") -> None:
    """Raise InputError unless the frame has these columns, each once."""
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise InputError(f"{kind}: column {twice[0]!r}", "must be there once")
    for column in columns:
        if column not in frame.columns:
            remedy = f"pass a frame as read_{kind} returns it"
            raise InputError(f"{kind}: column {column!r}", "must be there", remedy=remedy)


def checked(cells: pd.DataFrame) -> pd.DataFrame:
    """The frame with plain dtypes in the columns that every table needs.

    Raises:
        InputError: a column is missing, or there twice; a label that is no text, a seed that is
            no whole number, an unknown role or outcome, or text where numbers should be.
    """
    check_columns(cells, REQUIRED)
    rates = [name for name in LEARNING_RATES if name in cells]
    plain: dict[str, Any] = {
        **{name: texts(cells, name) for name in ("task", "arm")},
        **{name: texts(cells, name, nullable=True) for name in ("cell_id", "baseline")},
        "role": _one_of(cells, "role", ROLES),
        "outcome": _one_of(cells, "outcome", OUTCOMES),
        "seed": _seeds(cells),
        **{name: floats(cells, name) for name in rates},
    }
    return cells.assign(**plain)


def with_numbers(cells: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The frame with these columns as plain numbers.

    Raises:
        InputError: a column is missing, or holds text.
    """
    check_columns(cells, names)
    return cells.assign(**{name: floats(cells, name) for name in names})


def texts(
    frame: pd.DataFrame, name: str, *, nullable: bool = False, kind: str = "cells"
) -> pd.Series[str]:
    """A column of text; one that is all null stays as it is."""
    column = _values(frame, name)
    null = column.isna()
    if not null.all() and pd.api.types.infer_dtype(column, skipna=True) != "string":
        strange = next(v for v in column if not isinstance(v, str) and not _is_null(v))
        raise InputError(f"{kind}: column {name!r}", "must hold text", strange)
    if null.any() and not nullable:
        raise InputError(
            f"{kind}: column {name!r}", f"must have no nulls (got {int(null.sum())} of {len(null)})"
        )
    return column if null.all() else column.astype("str")


def floats(frame: pd.DataFrame, name: str, kind: str = "cells") -> Floats:
    """A column of numbers, nulls as NaN."""
    column = _values(frame, name)
    if column.isna().all():
        return np.full(len(column), np.nan)
    if pd.api.types.infer_dtype(column, skipna=True) not in _NUMBERS:
        strange = next(v for v in column if not _is_null(v))
        raise InputError(f"{kind}: column {name!r}", "must hold numbers", strange)
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _values(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    """A column with the categories of a categorical one as its values."""
    column = frame[name]
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return column
    return pd.Series(column.to_numpy(), index=column.index)


def _is_null(value: Any) -> bool:
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def _one_of(cells: pd.DataFrame, name: str, known: Sequence[str]) -> pd.Series[str]:
    column = texts(cells, name)
    strange = sorted(set(column.unique()) - set(known))
    if strange:
        raise InputError(f"cells: {name}", f"must be one of {', '.join(known)}", strange[0])
    return column


def _seeds(cells: pd.DataFrame) -> NDArray[np.int64]:
    seeds = floats(cells, "seed")
    with np.errstate(invalid="ignore"):
        strange = seeds[~(np.abs(seeds) < 2**63) | (seeds != np.floor(seeds))]
    if strange.size:
        raise InputError("cells: column 'seed'", "must hold whole numbers", float(strange[0]))
    return cells["seed"].to_numpy(dtype=np.int64)


def times(cells: pd.DataFrame, name: str) -> pd.Series[pd.Timestamp]:
    """A column of times, as ISO 8601 text or as timestamps."""
    try:
        return pd.to_datetime(cells[name], utc=True, format="ISO8601")
    except (ValueError, TypeError):
        strange = next(v for v in cells[name] if not _is_null(v))
        raise InputError(f"cells: column {name!r}", "must hold times", strange) from None


def one_baseline_an_arm(cells: pd.DataFrame) -> None:
    """Raise InputError where an arm of a task has several baselines, or one in some cells only."""
    pairs = cells[["task", "arm", "baseline"]].drop_duplicates()
    twice = pairs.duplicated(["task", "arm"])
    if twice.any():
        task, arm = pairs.loc[twice, ["task", "arm"]].iloc[0]
        found = pairs.loc[(pairs["task"] == task) & (pairs["arm"] == arm), "baseline"]
        raise InputError(
            f"cells: task {task!r}: arm {arm!r}: baseline",
            "must be the same in every cell",
            sorted(found.fillna("none")),
            "give the cells two arm names",
        )
