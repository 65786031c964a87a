"""What a study tells about its cells beside their rows, and how a plain frame carries it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pandas as pd
from pydantic import ValidationError

from hdsens.errors import InputError
from hdsens.store.declared import HistoryEntry, TrainedRole

Entry = TypeVar("Entry", HistoryEntry, TrainedRole)


@dataclass(frozen=True)
class Facts:
    """What is known about a frame of cells beside its rows; None where nothing tells it.

    Attributes:
        factors: names of the factor columns.
        expected: how many cells the study has; of several studies, all together.
        protocol_history: what was declared when, oldest first; of several results one history
            after the other.
        trained_as: the role of each seed when its cells were trained, which the study may have
            changed since.
        task_settings: by the label of a task, the settings that the label leaves out.
    """

    factors: tuple[str, ...] | None = None
    expected: int | None = None
    protocol_history: tuple[HistoryEntry, ...] | None = None
    trained_as: tuple[TrainedRole, ...] | None = None
    task_settings: Mapping[str, Mapping[str, Any]] | None = None

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Facts:
        """The facts that a frame carries in its `attrs`.

        pandas keeps `attrs` when rows are taken out, and those rows are not missing: `expected`
        holds as long as the frame has the `attrs["n_rows"]` rows that it was given with.

        Raises:
            InputError: an entry of the history or of the roles is not as `read_cells` gives it.
        """
        attrs = frame.attrs
        factors = attrs.get("factors")
        whole = attrs.get("n_rows", len(frame)) == len(frame)
        return cls(
            None if factors is None else tuple(factors),
            attrs.get("expected") if whole else None,
            _entries(HistoryEntry, attrs, "protocol_history"),
            _entries(TrainedRole, attrs, "trained_as"),
            copy.deepcopy(attrs.get("task_settings")),
        )

    def carried_by(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with these facts in its `attrs`; what else is there stays."""
        facts = {
            "factors": None if self.factors is None else list(self.factors),
            "expected": self.expected,
            "n_rows": None if self.expected is None else len(frame),
            "protocol_history": _plain(self.protocol_history),
            "trained_as": _plain(self.trained_as),
            "task_settings": copy.deepcopy(self.task_settings),
        }
        others = {name: value for name, value in frame.attrs.items() if name not in facts}
        carrier = frame.copy(deep=False)
        carrier.attrs = others | {k: value for k, value in facts.items() if value is not None}
        return carrier

    def renamed(self, labels: Mapping[str, str]) -> Facts:
        """The facts with new labels of tasks, by their old ones; other tasks keep theirs."""
        return replace(
            self,
            protocol_history=_relabelled(self.protocol_history, labels),
            trained_as=_relabelled(self.trained_as, labels),
            task_settings=self.task_settings
            and {labels.get(old, old): told for old, told in self.task_settings.items()},
        )


def _entries(kind: type[Entry], attrs: Mapping[Any, Any], name: str) -> tuple[Entry, ...] | None:
    if name not in attrs:
        return None
    try:
        return tuple(kind.model_validate(entry) for entry in attrs[name])
    except (TypeError, ValidationError):
        raise InputError(f"cells: attrs[{name!r}]", "must be as read_cells gives it") from None


def _plain(entries: Sequence[HistoryEntry | TrainedRole] | None) -> list[dict[str, Any]] | None:
    return None if entries is None else [entry.model_dump(mode="json") for entry in entries]


def _relabelled(
    entries: tuple[Entry, ...] | None, labels: Mapping[str, str]
) -> tuple[Entry, ...] | None:
    if entries is None:
        return None
    names = (labels.get(entry.task, entry.task) for entry in entries)
    return tuple(
        entry.model_copy(update={"task": name}) for entry, name in zip(entries, names, strict=True)
    )
