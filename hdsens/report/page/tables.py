"""Frames as tables for the page: what a column is called, and each value as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hdsens.analysis.claims.catalogue import CLAIMS
from hdsens.analysis.measures.table import N_SEEDS, Column, Unit
from hdsens.text import interval, level, number, percent, share

MAX_ROWS = 400

_CHECKS = "; ".join(f"{claim.name}: {claim.check}" for claim in CLAIMS if claim.check)
FINDINGS = (
    Column(
        "side", "side", "side of the baseline's best lr on which the claim holds by itself", "text"
    ),
    Column(
        "quantity",
        "what was measured",
        "r is regret, R its mean over the nonzero lr",
        "text",
    ),
    Column(
        "effect",
        "effect",
        "in units of regret; the interval that decides",
        bounds=("lower", "upper"),
    ),
    Column("confidence", "confidence", "of the interval that decides", "percent"),
    Column("check_effect", "second condition", _CHECKS, bounds=("check_lower", "check_upper")),
    Column("p_refuted", "p against", "smallest adjusted p-value of the opposite"),
    N_SEEDS,
    Column("threshold", "rule", unit="text"),
    Column("decided_by", "decided by", unit="text"),
    Column(
        "held_back",
        "held back",
        "why it is not called supported though its intervals allow it",
        "text",
    ),
)
"""Columns of the table of findings."""

CHANGES = (
    Column("before", "before", "mean loss of the earlier results, nats", "nats"),
    Column("after", "after", "mean loss of these results, nats", "nats"),
    Column("change", "change", "nats", "nats"),
    Column("noise", "seed noise", "half the 95% interval of before over seeds, nats", "nats"),
    N_SEEDS,
)
"""Columns of the table of points that changed."""


@dataclass(frozen=True)
class Head:
    """The head of a column: the frame's name, the heading, and what it means."""

    name: str
    heading: str
    meaning: str
    is_label: bool
    is_text: bool


@dataclass(frozen=True)
class Table:
    """A table as text; `left_out` rows of the frame are not in it."""

    columns: tuple[Head, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int = 0


def table(frame: pd.DataFrame, labels: Sequence[str], columns: Sequence[Column]) -> Table:
    """Rows of a frame: `labels` name a row (null ones are left out), `columns` measure it.

    A column with an interval beside it shows that too.
    """
    named = [name for name in labels if name in frame and frame[name].notna().any()]
    measured = [column for column in columns if column.name in frame]
    heads = [Head(name, name, "", True, _is_text(frame[name])) for name in named]
    heads += [
        Head(one.name, one.heading, one.meaning, False, _is_text(frame[one.name]))
        for one in measured
    ]
    shown = frame.head(MAX_ROWS)
    texts = [[_label(value) for value in shown[name].tolist()] for name in named]
    texts += [_column(shown, column) for column in measured]
    rows = tuple(zip(*texts, strict=True))
    return Table(tuple(heads), rows, len(frame) - len(shown))


def _is_text(values: pd.Series[Any]) -> bool:
    return not pd.api.types.is_numeric_dtype(values)


def _column(frame: pd.DataFrame, column: Column) -> list[str]:
    values = frame[column.name].tolist()
    write = WRITERS[column.unit]
    lower, upper = column.bounds or (f"{column.name}_lower", f"{column.name}_upper")
    if lower not in frame:
        return [write(value) for value in values]
    low, high = frame[lower].tolist(), frame[upper].tolist()
    return [interval(*three, write) for three in zip(values, low, high, strict=True)]


def _label(value: Any) -> str:
    return (
        "–"
        if value is None or value == "" or (isinstance(value, float) and pd.isna(value))
        else level(value)
    )


WRITERS: dict[Unit, Callable[[Any], str]] = {
    "share": share,
    "nats": number,
    "count": "{:,}".format,
    "percent": lambda value: f"{percent(value)}%",
    "level": _label,
    "text": _label,
}
