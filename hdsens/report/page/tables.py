"""Frames as tables for the page: what a column is called, and each value as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hdsens.analysis.claims.catalogue import CLAIMS
from hdsens.text import interval, level, number, percent, share

MAX_ROWS = 400

_CHECKS = "; ".join(f"{claim.name}: {claim.check}" for claim in CLAIMS if claim.check)
COLUMNS = {
    "regret_mean": ("mean regret", "0 = as good as the family's best, 1 = as bad as untrained"),
    "regret_below": ("below best lr", "mean regret over levels below the base arm's best lr"),
    "regret_above": ("above best lr", "mean regret over levels above the base arm's best lr"),
    "regret_zero": ("at lr = 0", "mean regret at lr = 0"),
    "regret_median": ("median regret", ""),
    "regret_worst": ("worst", "highest regret"),
    "regret_cvar": ("worst quarter", "mean regret of the worst quarter of the seeds"),
    "decades_within_5pct": ("good decades", "decades of lr with a mean regret of at most 0.05"),
    "best_level": ("best lr", "nonzero level with the lowest mean loss"),
    "gap_at_best": ("gap at best lr", "regret at its best lr minus the base arm's at its best"),
    "lr_sensitivity": ("lr sensitivity", "mean loss above the arm's own best, in nats"),
    "divergence_rate": ("diverged share", ""),
    "loss_mean": ("mean loss", "nats; a diverged seed counts as untrained"),
    "loss_low": ("lowest", "loss of the best seed, nats"),
    "loss_high": ("highest", "loss of the worst seed, nats"),
    "effect": ("effect", "in units of regret; the interval that decides"),
    "quantity": ("what was measured", "r is regret, R its mean over the nonzero lr"),
    "side": ("side", "side of the baseline's best lr on which the claim holds by itself"),
    "confidence": ("confidence", "of the interval that decides"),
    "threshold": ("rule", ""),
    "held_back": ("held back", "why it is not called supported though its intervals allow it"),
    "check_effect": ("second condition", _CHECKS),
    "p_refuted": ("p against", "smallest adjusted p-value of the opposite"),
    "decided_by": ("decided by", ""),
    "before": ("before", "mean loss of the earlier results, nats"),
    "after": ("after", "mean loss of these results, nats"),
    "change": ("change", "nats"),
    "noise": ("seed noise", "half the 95% interval of before over seeds, nats"),
    "n_seeds": ("seeds", "seeds with a result"),
    "n_cells": ("cells", "cells with a result"),
    "n_diverged": ("diverged", "of these, diverged"),
    "n_failed": ("failed", "raised an exception: no result"),
    "n_missing": ("missing", "did not run"),
}
IN_NATS = (
    *("loss_mean", "loss_low", "loss_high", "lr_sensitivity", "excess_loss"),
    *("before", "after", "change", "noise"),
)
AS_WRITTEN = ("best_level", "decided_by", "quantity", "side", "threshold", "held_back")
BOUNDS = {"effect": ("lower", "upper"), "check_effect": ("check_lower", "check_upper")}
SENSITIVITY = (
    "regret_mean",
    "regret_below",
    "regret_above",
    "regret_zero",
    "gap_at_best",
    "best_level",
    "decades_within_5pct",
    "lr_sensitivity",
    "n_seeds",
    "n_cells",
    "n_diverged",
    "n_failed",
    "n_missing",
)
PARTS = (
    *("side", "quantity", "effect", "confidence", "check_effect", "p_refuted", "n_seeds"),
    *("threshold", "decided_by", "held_back"),
)
REGRET = (
    "regret_mean",
    "regret_median",
    "regret_worst",
    "loss_mean",
    "loss_low",
    "loss_high",
    "n_seeds",
    "n_diverged",
    "n_failed",
    "n_missing",
)


@dataclass(frozen=True)
class Column:
    """A column of a table: the frame's name, the heading, and what it means."""

    name: str
    heading: str
    meaning: str
    is_label: bool
    is_text: bool


@dataclass(frozen=True)
class Table:
    """A table as text; `left_out` rows of the frame are not in it."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int = 0


def table(frame: pd.DataFrame, labels: Sequence[str], columns: Sequence[str]) -> Table:
    """Rows of a frame: `labels` name a row (null ones are left out), `columns` measure it.

    A column with `_lower` and `_upper` beside it shows its interval.
    """
    labels = [name for name in labels if name in frame and frame[name].notna().any()]
    heads = [Column(name, name, "", True, _is_text(frame[name])) for name in labels]
    heads += [
        Column(name, *COLUMNS[name], False, _is_text(frame[name]))
        for name in columns
        if name in frame
    ]
    shown = frame.head(MAX_ROWS)
    texts = [_column(shown, head) for head in heads]
    rows = tuple(zip(*texts, strict=True))
    return Table(tuple(heads), rows, len(frame) - len(shown))


def _is_text(values: pd.Series[Any]) -> bool:
    return not pd.api.types.is_numeric_dtype(values)


def _column(frame: pd.DataFrame, head: Column) -> list[str]:
    values = frame[head.name].tolist()
    if head.is_label or head.name in AS_WRITTEN:
        return [_label(value) for value in values]
    if head.name == "confidence":
        return [f"{percent(value)}%" for value in values]
    if head.name.startswith("n_"):
        return [f"{value:,}" for value in values]
    write = number if head.name in IN_NATS else share
    lower, upper = BOUNDS.get(head.name, (f"{head.name}_lower", f"{head.name}_upper"))
    if lower in frame:
        low, high = frame[lower].tolist(), frame[upper].tolist()
        return [interval(*three, write) for three in zip(values, low, high, strict=True)]
    return [write(value) for value in values]


def _label(value: Any) -> str:
    return (
        "–"
        if value is None or value == "" or (isinstance(value, float) and pd.isna(value))
        else level(value)
    )
