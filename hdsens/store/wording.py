"""The status of a study in lines to be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hdsens.store.check import Damage
from hdsens.store.status import Status
from hdsens.store.store import Store
from hdsens.study.cells import Cell


@dataclass(frozen=True)
class StatusText:
    """A store's status in lines to be read.

    Attributes:
        lines: to be read.
        whole: every cell has a result, and nothing is known to be damaged.
    """

    lines: tuple[str, ...]
    whole: bool


def status_text(store: Store, cells: Sequence[Cell], *, check: bool = False) -> StatusText:
    """Write counts, reasons of failures, and mixtures of versions or devices in lines.

    Args:
        store: to look into.
        cells: that it should hold.
        check: read every file, and name what is damaged.
    """
    damage = store.damage() if check else ()
    unusable = {name for found in damage for name in (found.name, *found.aside)}
    status = store.status(cells, unusable)
    lines = [f"results  {store.folder}", *_counts(status), *_explanations(status)]
    if damage:
        lines += [f"damaged: {found.error}" for found in damage]
        lines.append(_to_train(store.outcomes(unusable), damage, cells))
    return StatusText(tuple(lines), status.whole and not damage)


def status_line(counts: Status) -> str:
    """Write the counts in one line, as the end of a run does."""
    return (
        f"{counts.expected} cells: {counts.completed} completed, {counts.diverged} diverged, "
        f"{counts.failed} failed, {counts.missing} missing{_unlearned(counts)}"
    )


def _unlearned(counts: Status) -> str:
    if not counts.unlearned:
        return ""
    return f"; {counts.unlearned} of the completed ended no better than untrained"


def _counts(counts: Status) -> Iterable[str]:
    for name in ("expected", "completed", "diverged", "failed", "missing"):
        yield f"{name:<9}{getattr(counts, name):>9}"
    if counts.unlearned:
        yield f"{'no better':<9}{counts.unlearned:>9}  completed, but no better than untrained"
    if counts.other:
        yield f"{'other':<9}{counts.other:>9}  cells of other versions of the study"
    if counts.searched:
        yield f"{'searched':<9}{counts.searched:>9}  cells that searches asked for"


def _explanations(status: Status) -> Iterable[str]:
    for reason, count in status.reasons.most_common(5):
        yield f"failed: {count} x {reason}"
    for column, mixture in status.mixtures.items():
        parts = ", ".join(f"{value} ({count} cells)" for value, count in mixture.most_common())
        yield f"mixed {column}: {parts}"


def _to_train(outcomes: Mapping[str, str], damage: Sequence[Damage], cells: Sequence[Cell]) -> str:
    """Say how many cells a run would train, and how many of them because of damage."""
    gone = [c.cell_id for c in cells if outcomes.get(c.cell_id, "failed") == "failed"]
    lost = set(gone) & {cell_id for found in damage for cell_id in found.cells}
    return (
        f"a run would train {len(gone)} cells: {len(lost)} known to have been in damaged files, "
        f"{len(gone) - len(lost)} failed, missing, or in files that cannot be read"
    )
