"""Two results of the same cells: what changed, is it more than seed noise, and does it matter?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hdsens.analysis.claims.flips import Flip, common_findings, find_flips
from hdsens.analysis.claims.judge import judge
from hdsens.analysis.claims.verdict import Verdict
from hdsens.analysis.measures.regret import regret_table
from hdsens.analysis.panel.cells import CheckedCells
from hdsens.analysis.panel.factors import factors_of
from hdsens.store import Results
from hdsens.store.facts import Facts
from hdsens.text import count, number, setting_words

EQUAL = 1e-6  # relative difference of losses that arithmetic in another order may make
MAX_LINES = 20


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        points: one row a point of the grid with cells in both: arm, factors, n_seeds, `before` and
            `after` (mean loss, nats; a diverged cell counts as its untrained model), `change`,
            `noise` (half the 95% interval of `before` over seeds; NaN for one seed), `outcome`:
            "equal", "within noise" or "changed".
        outcomes: cells whose outcome differs: cell_id, arm, factors, seed, before, after.
        only_before, only_after: cells with a result in one of them alone.
        n_findings: findings that both have, each judged by its own study.
        flips: those of them with another verdict.
    """

    points: pd.DataFrame
    outcomes: pd.DataFrame
    only_before: int
    only_after: int
    n_findings: int
    flips: tuple[Flip, ...]

    @property
    def same(self) -> bool:
        """Whether nothing changed by more than seed noise, no result came or went, none flipped."""
        changed = (self.points["outcome"] == "changed").any()
        gone = self.only_before or self.only_after
        return not (changed or len(self.outcomes) or gone or self.flips)

    def __str__(self) -> str:
        """Tell it in lines of text, the largest change first."""
        counts = self.points["outcome"].value_counts()
        kinds = [f"{counts.get(kind, 0)} {kind}" for kind in ("equal", "within noise", "changed")]
        lines = [f"{count(len(self.points), 'point')} in both: {', '.join(kinds)}"]
        changed = self.points[self.points["outcome"] == "changed"]
        order = changed["change"].abs().sort_values(ascending=False, kind="stable").index
        lines += [_point_line(changed.loc[i]) for i in order[:MAX_LINES]]
        lines += [_outcome_line(row) for _, row in self.outcomes.head(MAX_LINES).iterrows()]
        left_out = max(len(changed) - MAX_LINES, 0) + max(len(self.outcomes) - MAX_LINES, 0)
        lines += [f"{left_out} more"] if left_out else []
        for n, where in ((self.only_before, "first"), (self.only_after, "second")):
            lines += [f"{count(n, 'cell')} with a result in the {where} only"] if n else []
        if self.n_findings:
            lines.append(f"{count(self.n_findings, 'finding')} in both: {len(self.flips)} flipped")
        return "\n".join([*lines, *(f"  {flip}" for flip in self.flips)])


def compare(before: Results, after: Results, metric: str = "train_loss") -> Comparison:
    """Compare the results of cells with the same cell_id, whatever code or machine trained them.

    A point is equal where every cell's loss is, to a relative 1e-6; within noise where its mean
    moved by no more than half the 95% interval that its seeds give; else changed. One seed gives no
    interval, so there anything that is not equal is changed. Pilot seeds count as the others do.
    A finding may flip where every point is within noise: a verdict has a threshold, noise has none.
    """
    one, other = (r.cells[r.cells["outcome"] != "failed"] for r in (before, after))
    ids = set(one["cell_id"]) & set(other["cell_id"])
    a, b = (_common(frame, ids, before.facts.factors or ()) for frame in (one, other))
    return Comparison(
        _points(a, b, metric),
        _outcomes(a, b),
        len(one) - len(ids),
        len(other) - len(ids),
        *_findings(before, after, metric),
    )


def _findings(before: Results, after: Results, metric: str) -> tuple[int, tuple[Flip, ...]]:
    """How many findings both have, and those that flipped; none where one cannot be judged."""
    earlier, later = (judge(one.study, CheckedCells.of(one), metric) for one in (before, after))
    if not (isinstance(earlier, Verdict) and isinstance(later, Verdict)):
        return 0, ()
    return len(common_findings(earlier, later)), find_flips(earlier, later)


def _common(cells: pd.DataFrame, ids: set[str], factors: Sequence[str]) -> pd.DataFrame:
    """Those cells by cell_id, with the factors' names and without the other study's account.

    Pilot seeds are seeds like any other here: a change among them counts.
    """
    kept = cells[cells["cell_id"].isin(ids)].sort_values("cell_id", ignore_index=True)
    kept = kept.assign(role="confirmatory")
    return Facts(factors=tuple(factors)).carried_by(kept)


def _points(a: pd.DataFrame, b: pd.DataFrame, metric: str) -> pd.DataFrame:
    if not len(a):
        return pd.DataFrame(columns=["arm", "n_seeds", "before", "after", "change", "outcome"])
    own, others = regret_table(a, metric), regret_table(b, metric)
    keys = ["arm", *factors_of(own)]
    points = own[[*keys, "n_seeds"]].assign(
        before=own["loss_mean"],
        after=others["loss_mean"],
        change=others["loss_mean"] - own["loss_mean"],
        noise=(own["loss_mean_upper"] - own["loss_mean_lower"]) / 2,
    )
    unequal = a.assign(unequal=~_equal(a, b, metric)).groupby(keys, dropna=False)["unequal"].any()
    differs = points[keys].merge(unequal.reset_index(), on=keys, how="left")["unequal"]
    within = points["change"].abs() <= points["noise"]
    return points.assign(
        outcome=np.select([~differs.astype(bool), within], ["equal", "within noise"], "changed")
    )


def _equal(a: pd.DataFrame, b: pd.DataFrame, metric: str) -> NDArray[np.bool_]:
    """Whether each cell's loss is the same; null equals null."""
    one, other = (frame[metric].to_numpy(dtype=np.float64) for frame in (a, b))
    return np.asarray(np.isclose(one, other, rtol=EQUAL, atol=0.0, equal_nan=True))


def _outcomes(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Cells that diverged in one and not in the other."""
    differs = (a["outcome"] != b["outcome"]).to_numpy()
    columns = ["cell_id", "arm", *(Facts.of(a).factors or ()), "seed"]
    found = a.loc[differs, columns]
    return found.assign(before=a["outcome"][differs], after=b["outcome"][differs])


def _point_line(row: pd.Series) -> str:
    noise = f"seed noise {number(row['noise'])}" if row["noise"] == row["noise"] else "one seed"
    return (
        f"  {_where(row)}: {number(row['before'])} to {number(row['after'])}"
        f" ({number(row['change'])}; {noise})"
    )


def _outcome_line(row: pd.Series) -> str:
    return f"  {_where(row)}, seed {row['seed']}: {row['before']} to {row['after']}"


def _where(row: pd.Series) -> str:
    known = ("cell_id", "arm", "n_seeds", "before", "after", "change", "noise", "outcome", "seed")
    return setting_words(row["arm"], {k: v for k, v in row.items() if k not in known})
