"""How far a study is, in lines to be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hdsens.store.check import Damage
from hdsens.store.store import Store
from hdsens.store.summary import Status, Summary
from hdsens.study.cells import Cell


@dataclass(frozen=True)
class Standing:
    """How a store stands.

    Attributes:
        lines: to be read.
        whole: every cell has a result, and nothing is known to be damaged.
    """

    lines: tuple[str, ...]
    whole: bool


def standing(store: Store, cells: Sequence[Cell], *, check: bool = False) -> Standing:
    """Counts, reasons of failures, and mixtures of versions or devices.

    Args:
        store: to look into.
        cells: that it should hold.
        check: read every file, and name what is damaged.
    """
    damage = store.damage() if check else ()
    unusable = {name for found in damage for name in (found.name, *found.aside)}
    summary = store.summary(cells, unusable)
    lines = [f"results  {store.folder}", *_counts(summary.status), *_explanations(summary)]
    if damage:
        lines += [f"damaged: {found.error}" for found in damage]
        lines.append(_to_train(store.outcomes(unusable), damage, cells))
    return Standing(tuple(lines), summary.status.whole and not damage)


def in_a_line(counts: Status) -> str:
    """Counts as the end of a run tells them."""
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


def _explanations(summary: Summary) -> Iterable[str]:
    for reason, count in summary.reasons.most_common(5):
        yield f"failed: {count} x {reason}"
    for column, mixture in summary.mixtures.items():
        parts = ", ".join(f"{value} ({count} cells)" for value, count in mixture.most_common())
        yield f"mixed {column}: {parts}"


def _to_train(outcomes: Mapping[str, str], damage: Sequence[Damage], cells: Sequence[Cell]) -> str:
    """What a run would train, and how much of it because of damage."""
    gone = [c.cell_id for c in cells if outcomes.get(c.cell_id, "failed") == "failed"]
    lost = set(gone) & {cell_id for found in damage for cell_id in found.cells}
    return (
        f"a run would train {len(gone)} cells: {len(lost)} known to have been in damaged files, "
        f"{len(gone) - len(lost)} failed, missing, or in files that cannot be read"
    )
