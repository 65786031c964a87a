"""What the page says about a study, ready for its template."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from hdsens.analysis import Accounting, CheckedCells, Verdict
from hdsens.analysis.claims.catalogue import rules
from hdsens.analysis.claims.claim import Rule
from hdsens.analysis.measures.catalogue import TABLES
from hdsens.analysis.panel.families import Family
from hdsens.report.drawing.canvas import style
from hdsens.report.drawing.drawings import at, curve_drawings, heatmap_drawings, path_drawings
from hdsens.report.drawing.palette import PAGE
from hdsens.report.drawing.side_drawings import side_drawings
from hdsens.report.evidence.gather import Evidence, gather
from hdsens.report.evidence.points import METRICS, family_points
from hdsens.report.page.cell_curves import cell_curves
from hdsens.report.page.downloads import Download, downloads
from hdsens.report.page.pictures import Picture, pictures
from hdsens.report.page.runs import run_rows
from hdsens.report.page.strip import Strip, strip
from hdsens.report.page.tables import FINDINGS, Table, table
from hdsens.report.words import answer
from hdsens.report.words import sentences as words
from hdsens.store import Results
from hdsens.store.learned import count_unlearned
from hdsens.study import Study
from hdsens.text import count, join

MAX_FAILURES = 200


@dataclass(frozen=True)
class MeasureView:
    """The heatmaps of one measure, for the page's switch."""

    name: str
    title: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class TableView:
    """A table of the analysis with what stands above it."""

    name: str
    title: str
    caption: str
    table: Table


@dataclass(frozen=True)
class FamilyView:
    """A family's share of the page."""

    name: str
    title: str
    has_hd: bool
    answer: answer.Answer
    strips: tuple[Strip, ...]
    curves: tuple[Picture, ...]
    measures: tuple[MeasureView, ...]
    paths: tuple[Picture, ...]
    sides: tuple[Picture, ...]
    parts: Table
    tables: tuple[TableView, ...]
    windows: tuple[str, ...]


@dataclass(frozen=True)
class ResultView:
    """A study's share of the page; `key` distinguishes it within the page."""

    key: str
    study: Study
    question: str
    has_hd: bool
    account: Accounting
    unlearned: int
    how_far: str | None
    cost: str
    seeds: str
    sure: str
    families: tuple[FamilyView, ...]
    metric: str
    label: str
    rules: tuple[Rule, ...]
    restrictions: tuple[str, ...]
    runs: tuple[tuple[tuple[str, str], ...], ...]
    data: Markup
    downloads: tuple[Download, ...]
    study_json: str
    failures: Table
    mixed: tuple[str, ...]


def view(results: Results, key: str, against: Results | None = None) -> ResultView:
    """Everything the page says about one study, with the findings that flipped since `against`."""
    study, evidence = results.study, gather(results, against)
    cells = evidence.cells if evidence else CheckedCells.of(results)
    judged = evidence.judged if evidence else ""
    return ResultView(
        key=key,
        study=study,
        question=words.question(study),
        has_hd=any(arm.is_hd for arm in study.arms),
        account=cells.account,
        unlearned=count_unlearned(cells.frame),
        how_far=words.how_far(cells.account),
        cost=words.cost(cells.frame),
        seeds=_seeds(study),
        sure=answer.how_sure(evidence.sensitivity) if evidence else "",
        families=_family_views(evidence, key) if evidence else (),
        metric=METRICS[evidence.metric] if evidence else "",
        label=judged.label if isinstance(judged, Verdict) else "",
        rules=rules(study.protocol) if isinstance(judged, Verdict) else (),
        restrictions=_restrictions(evidence) if evidence else (),
        runs=tuple(run_rows(run, study) for run in results.runs),
        data=cell_curves(results, evidence.points) if evidence else Markup(""),
        downloads=downloads(evidence) if evidence else (),
        study_json=json.dumps(study.model_dump(mode="json", exclude_defaults=True), indent=2),
        failures=_failures(cells),
        mixed=_mixed(cells.frame),
    )


def _restrictions(evidence: Evidence) -> tuple[str, ...]:
    """The restrictions of the tables and the verdict's departures, each once."""
    said = list(evidence.points.attrs["restrictions"])
    if isinstance(evidence.judged, Verdict):
        said += evidence.judged.deviations
    return tuple(dict.fromkeys(said))


def _family_views(evidence: Evidence, key: str) -> tuple[FamilyView, ...]:
    with style(PAGE):
        return tuple(
            _family_view(evidence, family, f"{key}-{i}")
            for i, family in enumerate(evidence.families)
        )


def _family_view(evidence: Evidence, family: Family, key: str) -> FamilyView:
    sensitivity = family_points(evidence.sensitivity, family)
    tested = [family_points(sensitivity, family, at) for at in evidence.tested(family)]
    at_tested = evidence.common.loc[sorted({label for rows in tested for label in rows.index})]
    return FamilyView(
        name=family.name,
        title=_title(family),
        has_hd=any(arm in evidence.hd_arms for arm in family.arms),
        answer=answer.answer(at_tested, family, evidence.judged),
        strips=_strips(evidence, family),
        curves=pictures(curve_drawings(evidence, family, PAGE), f"{key}-curve"),
        measures=_measures(evidence, family, key),
        paths=pictures(path_drawings(evidence, family, PAGE), f"{key}-path"),
        sides=pictures(side_drawings(evidence, family, PAGE), f"{key}-side"),
        parts=_parts(evidence, family),
        tables=_tables(evidence, family),
        windows=tuple(answer.windows(evidence.judged, family)),
    )


def _title(family: Family) -> str:
    if not family.compared:
        return family.name
    return f"{join(list(family.compared))} against {family.base}"


def _measures(evidence: Evidence, family: Family, key: str) -> tuple[MeasureView, ...]:
    views = (
        MeasureView(
            one.name,
            one.title,
            pictures(heatmap_drawings(evidence, one, family, PAGE), f"{key}-{one.name}"),
        )
        for one in evidence.measures
    )
    return tuple(one for one in views if one.pictures)


def _strips(evidence: Evidence, family: Family) -> tuple[Strip, ...]:
    """A strip an arm and tested setting of the factors besides hypergrad_lr."""
    found = (
        strip(judged, arm, at(fixed), whole=i == 0)
        for arm in family.compared
        for i, fixed in enumerate(evidence.tested(family))
        if not isinstance(judged := evidence.judged_at(family, fixed), str)
    )
    return tuple(one for one in found if one is not None)


def _tables(evidence: Evidence, family: Family) -> tuple[TableView, ...]:
    """A family's rows of the tables that the page shows."""
    labels = ["arm", *evidence.factors]
    return tuple(
        TableView(
            one.name,
            one.title,
            one.caption,
            table(family_points(evidence.tables[one.name], family), labels, one.columns),
        )
        for one in TABLES
        if one.columns
    )


def _parts(evidence: Evidence, family: Family) -> Table:
    """The findings on a family with what decided them."""
    if isinstance(evidence.judged, str):
        return table(pd.DataFrame(), (), ())
    rows = family_points(evidence.judged.parts, family)
    labels = ["arm", *evidence.factors[1:], "part", "claim", "verdict", "was"]
    return table(rows, labels, FINDINGS)


def _seeds(study: Study) -> str:
    parts = [count(len(study.seeds), "seed")]
    if study.pilot_seeds:
        parts.append(count(len(study.pilot_seeds), "pilot seed"))
    return " and ".join(parts)


def _failures(cells: CheckedCells) -> Table:
    failed = cells.frame[cells.frame["outcome"] == "failed"]
    labels = ["arm", *cells.factors, "seed", "error"]
    return table(failed.head(MAX_FAILURES), labels, ())


def _mixed(cells: pd.DataFrame) -> tuple[str, ...]:
    """Versions and devices of the cells, where they have several."""
    found = []
    for name in ("device", "torch_version", "hdsens_version"):
        values = sorted(cells[name].dropna().unique()) if name in cells else []
        if len(values) > 1:
            found.append(f"{name.replace('_', ' ')}: {', '.join(values)}")
    return tuple(found)
