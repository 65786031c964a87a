"""A run's provenance in words: what trained the cells, and what was declared then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hdsens.study import Study
from hdsens.text import count, join, level

MOST_LISTED = 4


def run_rows(run: Mapping[str, Any], study: Study) -> tuple[tuple[str, str], ...]:
    """Names and values of a run's record in the order it was written, whatever its keys.

    The study in the record is left out where it equals `study`, which stands on the page.
    """
    known = {k: v for k, v in run.items() if v not in (None, {}, [])}
    if known.get("study") == study.model_dump(mode="json"):
        del known["study"]
    return tuple(
        (name.replace("_", " "), _declared(value) if name == "declared" else plain(value))
        for name, value in known.items()
    )


def _declared(value: Any) -> str:
    """Seeds, arms and protocol as they were declared at that run."""
    if not isinstance(value, Mapping) or not isinstance(value.get("arms"), Mapping):
        return plain(value)
    seeds = f"seeds {_list(value.get('seeds') or [])}"
    protocol = value.get("protocol")
    fixed = f"protocol: {plain(protocol)}" if protocol else "no protocol"
    arms = [f"{name}: {_arm(arm)}" for name, arm in value["arms"].items()]
    return "; ".join([seeds, *arms, fixed])


def _arm(arm: Mapping[str, Any]) -> str:
    against = f" against {arm['baseline']}" if arm.get("baseline") else ""
    levels = [f"{name} {_list(of)}" for name, of in arm.get("levels", {}).items()]
    settings = [f"{name} {plain(v)}" for name, v in arm.get("settings", {}).items()]
    return ", ".join([f"{arm.get('optimizer')}{against}", *settings, *levels])


def _list(values: Sequence[Any]) -> str:
    """A list of values in words: all of a few, of many the first and last and their number."""
    if len(values) <= MOST_LISTED:
        return join([plain(v) for v in values])
    return f"{plain(values[0])} to {plain(values[-1])} ({count(len(values), 'value')})"


def plain(value: Any) -> str:
    """A value of a record without brackets and quotes.

    >>> plain({"margins": {"ratio": 0.5}, "seeds": [1, 2], "off": None})
    'margins (ratio 0.5), seeds 1 and 2, off none'
    """
    if isinstance(value, Mapping):
        return ", ".join(
            f"{k} ({plain(v)})" if isinstance(v, Mapping) else f"{k} {plain(v)}"
            for k, v in value.items()
        )
    if isinstance(value, list | tuple):
        return _list(value)
    return "none" if value is None else level(value)
