"""What changed since earlier results, as the page says it."""

from __future__ import annotations

from dataclasses import dataclass

from hdsens.analysis.claims.comparison import Comparison
from hdsens.analysis.panel.factors import factors_between
from hdsens.report.page.tables import CHANGES, Table, table
from hdsens.text import count, join


@dataclass(frozen=True)
class ChangeView:
    """A sentence on the points, those that changed (the largest change first), changed outcomes.

    `findings` is a sentence on them, empty where nothing was judged in both, `flips` one each.
    """

    where: str
    sentence: str
    findings: str
    flips: tuple[str, ...]
    points: Table
    outcomes: Table


def change_view(found: Comparison, before: str) -> ChangeView:
    """The comparison with the results in `before`."""
    counts = found.points["outcome"].value_counts()
    kinds = [f"{counts.get(kind, 0):,} {kind}" for kind in ("equal", "within noise", "changed")]
    said = f"{count(len(found.points), 'point')} in both: {join(kinds)}."
    for n, which in ((found.only_before, "those results"), (found.only_after, "these")):
        said += f" {count(n, 'cell')} with a result in {which} only." if n else ""
    changed = found.points[found.points["outcome"] == "changed"]
    order = changed["change"].abs().sort_values(ascending=False, kind="stable").index
    labels = ["arm", *factors_between(found.points, "arm", "n_seeds")]
    places = [*factors_between(found.outcomes, "cell_id", "before")]
    return ChangeView(
        before,
        said,
        _findings_sentence(found),
        tuple(str(flip) for flip in found.flips),
        table(changed.loc[order], labels, CHANGES),
        table(found.outcomes, [*places, "before", "after"], ()),
    )


def _findings_sentence(found: Comparison) -> str:
    n, flipped = found.n_findings, len(found.flips)
    return f"{flipped} of {count(n, 'finding')} flipped." if n else ""
