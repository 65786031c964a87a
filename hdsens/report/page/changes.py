"""What changed since earlier results, as the page says it."""

from __future__ import annotations

from dataclasses import dataclass

from hdsens.analysis.measures.comparison import Comparison
from hdsens.analysis.panel.factors import factors_between
from hdsens.report.page.tables import Table, table
from hdsens.text import count, join


@dataclass(frozen=True)
class ChangeView:
    """A sentence, the points that changed, the largest change first, and the changed outcomes."""

    where: str
    sentence: str
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
    columns = ("before", "after", "change", "noise", "n_seeds")
    places = [*factors_between(found.outcomes, "cell_id", "before")]
    return ChangeView(
        before,
        said,
        table(changed.loc[order], labels, columns),
        table(found.outcomes, [*places, "before", "after"], ()),
    )
