"""All numbers that a report of one study rests on, computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from hdsens.analysis import CheckedCells, Verdict, steps_to_target_table
from hdsens.analysis.claims.catalogue import findings_at_settings
from hdsens.analysis.claims.flips import with_earlier
from hdsens.analysis.claims.judge import judge
from hdsens.analysis.measures.catalogue import TABLES
from hdsens.analysis.measures.common_levels import over_common_levels
from hdsens.analysis.measures.points import REGRET, point_table
from hdsens.analysis.measures.seed_pairs import seed_pairs
from hdsens.analysis.measures.sensitivity import SENSITIVITY
from hdsens.analysis.panel.families import Family, families_of_study
from hdsens.report.evidence.curves import loss_curves, loss_limits
from hdsens.report.evidence.heatmap_measures import Measure, measures
from hdsens.report.evidence.points import family_points, other_settings, shown_metrics
from hdsens.store import Results


@dataclass(frozen=True)
class Evidence:
    """Numbers of a study that has at least one cell with a result.

    Attributes:
        cells: the results' cells, looked over; tables and figures are made of them.
        metric: the loss that the report is about.
        factors: names of the factors, lr first.
        tables: the analysis' tables of the metric, by their names; steps: one a target, by its
            name.
        measures: what a heatmap can show; the first is `metric`.
        common: the sensitivity table with regret averaged over the lr that a family's arms share.
        pairs: of `seed_pairs`.
        judged: the verdict, or why there is none.
        families: those with a result.
        settings: of each family, by its name: combinations of the factors besides lr and
            hypergrad_lr.
        hd_arms: names of the arms that adapt their learning rate.
        limits: lowest and highest loss of the curves, for one scale over families.
    """

    results: Results
    cells: CheckedCells
    metric: str
    factors: tuple[str, ...]
    tables: Mapping[str, pd.DataFrame]
    steps: Mapping[str, pd.DataFrame]
    measures: tuple[Measure, ...]
    common: pd.DataFrame
    pairs: pd.DataFrame
    judged: Verdict | str
    families: tuple[Family, ...]
    settings: Mapping[str, tuple[Mapping[str, Any], ...]]
    hd_arms: frozenset[str]
    limits: tuple[float, float]

    @property
    def points(self) -> pd.DataFrame:
        """`point_table` of the metric."""
        return self.tables[REGRET.name]

    @property
    def sensitivity(self) -> pd.DataFrame:
        """`sensitivity_table` of the metric."""
        return self.tables[SENSITIVITY.name]

    def tested(self, family: Family) -> tuple[Mapping[str, Any], ...]:
        """The settings at which a claim on the family is tested; the first where none is."""
        return _tested(self.settings[family.name], self.judged, family)

    def judged_at(self, family: Family, setting: Mapping[str, Any]) -> Verdict | str:
        """The verdict on a family at one of the settings."""
        if isinstance(self.judged, str):
            return self.judged
        return replace(self.judged, parts=family_points(self.judged.parts, family, setting))


def _tested(
    settings: Sequence[Mapping[str, Any]], judged: Verdict | str, family: Family
) -> tuple[Mapping[str, Any], ...]:
    if isinstance(judged, str):
        return tuple(settings[:1])
    rows = findings_at_settings(judged.parts[judged.parts["primary"]])
    return tuple(s for s in settings if len(family_points(rows, family, s))) or tuple(settings[:1])


def gather(results: Results, against: Results | None = None) -> Evidence | None:
    """Compute the numbers; None where no cell has a result.

    `against`: earlier results of the study; findings that flipped since are marked in `parts`.
    """
    cells, study = CheckedCells.of(results), results.study
    if not cells.account.used:
        return None
    metrics = shown_metrics(cells.frame, study.metric) or (study.metric,)
    metric = metrics[0]
    tables = {table.name: table.make(cells, metric) for table in TABLES}
    steps = {target: steps_to_target_table(cells, target) for target in study.targets}
    points = tables[REGRET.name]
    of_losses = {metric: points, **{other: point_table(cells, other) for other in metrics[1:]}}
    declared = families_of_study(study)
    present = tuple(family for family in declared if points["arm"].isin(family.arms).any())
    factors = cells.factors
    settings = {f.name: tuple(other_settings(family_points(points, f), factors)) for f in present}
    judged = judge(study, cells, metric)
    earlier = judge(against.study, CheckedCells.of(against), metric) if against else ""
    if isinstance(judged, Verdict) and isinstance(earlier, Verdict):
        judged = with_earlier(judged, earlier)
    firsts = [(family, _tested(settings[family.name], judged, family)[0]) for family in present]
    curves = [c for f, first in firsts for c in loss_curves(family_points(points, f, first), f)]
    compared = [arm for family in declared for arm in family.compared]
    return Evidence(
        results=results,
        cells=cells,
        metric=metric,
        factors=factors,
        tables=tables,
        steps=steps,
        measures=measures(cells, of_losses, steps, compared),
        common=over_common_levels(cells, metric, tables[SENSITIVITY.name]),
        pairs=seed_pairs(cells, metric),
        judged=judged,
        families=present,
        settings=settings,
        hd_arms=frozenset(arm.name for arm in study.arms if arm.is_hd),
        limits=loss_limits(curves, float(points["initial_loss"].mean())),
    )
