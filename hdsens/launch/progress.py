"""A progress bar with cells done, diverged, failed and time left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from hdsens.store import Status

LINE_EVERY_S = 30.0


class CellProgress:
    """Shows, on standard error, how many cells have ended and how.

    On a terminal it is a bar; in a log it is a line every half minute.

    Args:
        name: of the study.
        found: what the store had before.
        to_train: number of cells that this run trains.
    """

    def __init__(self, name: str, found: Status, to_train: int) -> None:
        self._found = found
        self._before = found.expected - to_train
        self._console = Console(stderr=True)
        self._next_line = time.monotonic() + LINE_EVERY_S
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=9)),
            TextColumn("{task.fields[diverged]} diverged · {task.fields[failed]} failed ·"),
            TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=7)),
            TextColumn("· left"),
            TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
            console=self._console,
        )
        self._task = self._bar.add_task(
            name,
            total=found.expected,
            completed=self._before,
            diverged=found.diverged,
            failed=0,
        )

    def __enter__(self) -> CellProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show(self, ended: Mapping[str, int]) -> None:
        """Show the cells that ended in this run so far, counted by outcome."""
        self._bar.update(
            self._task,
            completed=self._before + sum(ended.values()),
            diverged=self._found.diverged + ended.get("diverged", 0),
            failed=ended.get("failed", 0),
        )
        if not self._console.is_terminal and time.monotonic() > self._next_line:
            self._next_line = time.monotonic() + LINE_EVERY_S
            self._console.print(self._bar.get_renderable())
