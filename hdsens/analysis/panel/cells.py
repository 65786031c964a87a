"""Cells that were checked once: the value that all tables and the verdict are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from hdsens.analysis.panel.accounting import Accounting, count_cells, count_what_is_seen
from hdsens.analysis.panel.checks import LEARNING_RATES, check_columns, checked
from hdsens.analysis.panel.panel import Panel, build_panel
from hdsens.errors import InputError
from hdsens.store import Results
from hdsens.store.facts import Facts


@dataclass(frozen=True, eq=False)
class CheckedCells:
    """A frame of cells with plain dtypes, what its study tells about them, and their panels.

    `CheckedCells.of` makes it from results or from a frame; tables and verdict take any of the
    three. A panel is built once for each metric, so who wants several tables passes this value.
    It is a copy: changing the frame afterwards does not change it.

    Attributes:
        frame: one row a cell, as `read_cells` gives it; not to be changed.
        facts: what is known about the cells beside their rows.
    """

    frame: pd.DataFrame
    facts: Facts
    _panels: dict[str | None, Panel] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, cells: CellsLike) -> CheckedCells:
        """The value of results or of a frame as `read_cells` gives it; a value is its own.

        Raises:
            InputError: a column is missing or holds what it should not.
        """
        match cells:
            case CheckedCells():
                return cells
            case Results():
                return cls(checked(cells.cells), cells.facts)
            case pd.DataFrame():
                return cls(checked(cells), Facts.of(cells))
        raise InputError(
            "cells", "must be results or a frame", type(cells).__name__, "use read_cells(folder)"
        )

    @cached_property
    def factors(self) -> tuple[str, ...]:
        """Names of the factor columns: lr and hypergrad_lr where nothing tells them.

        Raises:
            InputError: a factor has no column.
        """
        names = self.facts.factors
        if names is None:
            names = tuple(name for name in LEARNING_RATES if name in self.frame.columns)
        check_columns(self.frame, names)
        return names

    @cached_property
    def account(self) -> Accounting:
        """How many cells were expected, and what became of them."""
        if self.facts.expected is not None:
            return count_cells(self.frame, self.facts.expected, "study")
        return count_cells(self.frame, count_what_is_seen(self.frame, self.factors), "seen")

    def panel(self, metric: str | None) -> Panel:
        """The cells as arrays; without a metric every result has loss 0.

        Raises:
            InputError: as `build_panel`.
        """
        if metric not in self._panels:
            self._panels[metric] = build_panel(self.frame, self.factors, self.account, metric)
        return self._panels[metric]

    def renamed(self, labels: Mapping[str, str]) -> CheckedCells:
        """The cells with new labels of tasks, by their old ones; other tasks keep theirs."""
        if not labels:
            return self
        frame = self.frame.assign(task=self.frame["task"].replace(dict(labels)))
        return CheckedCells(frame, self.facts.renamed(labels))


CellsLike = CheckedCells | Results | pd.DataFrame
"""What tables and verdict take."""


def accounting(cells: CellsLike, expected: int | None = None) -> Accounting:
    """Count cells by what became of them.

    Args:
        cells: one row a cell.
        expected: how many cells the study has; by default what the study tells or, where nothing
            does (or somebody took rows out), what the grid and the seeds seen would make.

    Raises:
        InputError: a column is missing or holds what it should not.
    """
    cells = CheckedCells.of(cells)
    return cells.account if expected is None else count_cells(cells.frame, expected, "given")
