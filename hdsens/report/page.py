"""Results -> one HTML page that needs nothing beside itself."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from hdsens.analysis import (
    Accounting,
    Verdict,
    accounting,
    regret_table,
    sensitivity_table,
)
from hdsens.report import pictures, words
from hdsens.report.closer import closer_data
from hdsens.report.curves import loss_curves, loss_limits
from hdsens.report.families import Family, families
from hdsens.report.judgement import Strip, judge, strip
from hdsens.report.measures import Measure, measures
from hdsens.report.pictures import MeasureView, Picture
from hdsens.report.points import METRICS, family_points, other_settings, point_table, shown_metrics
from hdsens.report.tables import PARTS, REGRET, SENSITIVITY, Table, table
from hdsens.report.text import count
from hdsens.store import Results
from hdsens.study import Study
from hdsens.version import __version__

MAX_FAILURES = 200


@dataclass(frozen=True)
class FamilyView:
    """A family's share of the page."""

    name: str
    answers: tuple[str, ...]
    strips: tuple[Strip, ...]
    at: str
    curves: tuple[Picture, ...]
    measures: tuple[MeasureView, ...]
    paths: tuple[Picture, ...]
    sensitivity: Table
    regret: Table
    parts: Table


@dataclass(frozen=True)
class ResultView:
    """A study's share of the page; `key` distinguishes it within the page."""

    key: str
    study: Study
    question: str
    account: Accounting
    how_far: str | None
    cost: str
    seeds: str
    families: tuple[FamilyView, ...]
    metric: str
    label: str
    restrictions: tuple[str, ...]
    runs: tuple[tuple[tuple[str, str], ...], ...]
    data: Markup
    study_json: str
    failures: Table
    mixed: tuple[str, ...]


def write_report(results: Sequence[Results], out: Path) -> Path:
    """Write the page of one or several results to `out` and return that path.

    The file appears whole or not at all.
    """
    page = render(results)
    temporary = out.with_name(f".{out.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_text(page, encoding="utf-8")
        os.replace(temporary, out)  # noqa: PTH105 # Path.replace is the same call
    finally:
        temporary.unlink(missing_ok=True)
    return out


def render(results: Sequence[Results]) -> str:
    """The page as HTML; equal results give equal text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hdsens.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    views = [view(one, f"r{i}") for i, one in enumerate(results)]
    return environment.get_template("page.html.j2").render(
        views=views, css=_asset("page.css"), js=_asset("closer.js"), version=__version__
    )


def _asset(name: str) -> Markup:
    return Markup(files("hdsens.report").joinpath("templates", name).read_text(encoding="utf-8"))


def view(results: Results, key: str) -> ResultView:
    """Everything the page says about one study."""
    study, cells = results.study, results.cells
    account = accounting(cells)
    metrics = shown_metrics(cells) if account.used else ()
    metric = metrics[0] if metrics else "train_loss"
    judged = judge(results, metric) if metrics else "no cell has a result"
    return ResultView(
        key=key,
        study=study,
        question=words.question(study),
        account=account,
        how_far=words.how_far(account),
        cost=words.cost(cells),
        seeds=_seeds(study),
        families=_family_views(results, metric, judged, key) if metrics else (),
        metric=METRICS[metric],
        label="" if isinstance(judged, str) else judged.label,
        restrictions=_restrictions(cells, metric, judged) if metrics else (),
        runs=tuple(_run_rows(run) for run in results.runs),
        data=closer_data(results, point_table(cells, metric)) if metrics else Markup(""),
        study_json=json.dumps(study.model_dump(mode="json", exclude_defaults=True), indent=2),
        failures=_failures(cells),
        mixed=_mixed(cells),
    )


def _restrictions(cells: pd.DataFrame, metric: str, judged: Verdict | str) -> tuple[str, ...]:
    """What limits the numbers, each said once."""
    own = judged.deviations if isinstance(judged, Verdict) else ()
    return tuple(dict.fromkeys([*regret_table(cells, metric).attrs["restrictions"], *own]))


def _family_views(
    results: Results, metric: str, judged: Verdict | str, key: str
) -> tuple[FamilyView, ...]:
    cells = results.cells
    factors = tuple(cells.attrs["factors"])
    found = measures(cells, _baselines(results.study))
    points = found[0].rows
    sensitivity = sensitivity_table(cells, metric)
    settings = other_settings(points, factors)
    present = [
        family
        for family in families(results.study)
        if (points["arm"].isin([arm.name for arm in family.arms])).any()
    ]
    limits = _common_limits(points, present, settings[0])
    return tuple(
        FamilyView(
            name=family.name,
            answers=tuple(
                words.answers(
                    family_points(sensitivity, family, settings[0]),
                    family,
                    _judged_at(judged, family, settings[0]),
                )
            ),
            strips=_strips(_judged_at(judged, family, settings[0]), family),
            at=pictures.at(settings[0]),
            curves=_curves(points, family, metric, settings, limits, f"{key}-{i}-curve"),
            measures=_measures(found, family, settings, f"{key}-{i}-heat"),
            paths=_paths(results, family, settings[0], f"{key}-{i}-path"),
            sensitivity=table(
                family_points(sensitivity, family), ["arm", *factors[1:]], SENSITIVITY
            ),
            regret=table(family_points(points, family), ["arm", *factors], REGRET),
            parts=_parts(judged, family, factors),
        )
        for i, family in enumerate(present)
    )


def _baselines(study: Study) -> dict[str, str]:
    return {arm.name: arm.baseline for arm in study.arms if arm.baseline is not None}


def _measures(
    found: Sequence[Measure], family: Family, settings: Sequence[dict[str, Any]], key: str
) -> tuple[MeasureView, ...]:
    views = (
        pictures.measure_view(measure, family, settings, f"{key}-{measure.name}")
        for measure in found
    )
    return tuple(one for one in views if one.pictures)


def _judged_at(judged: Verdict | str, family: Family, fixed: dict[str, Any]) -> Verdict | str:
    """The verdict on a family at one setting of the other factors."""
    if isinstance(judged, str):
        return judged
    return replace(judged, parts=family_points(judged.parts, family, fixed))


def _strips(judged: Verdict | str, family: Family) -> tuple[Strip, ...]:
    if isinstance(judged, str):
        return ()
    found = (strip(judged, arm) for arm in family.others)
    return tuple(one for one in found if one is not None)


def _parts(judged: Verdict | str, family: Family, factors: tuple[str, ...]) -> Table:
    """The verdict's parts with what decided them."""
    if isinstance(judged, str):
        return table(pd.DataFrame(), (), ())
    rows = family_points(judged.parts, family)
    return table(rows, ["arm", *factors[1:], "part", "claim", "verdict"], PARTS)


def _common_limits(
    points: pd.DataFrame, present: Sequence[Family], fixed: dict[str, Any]
) -> tuple[float, float]:
    """One scale for the families of a study, so that their pictures compare."""
    shown = [c for f in present for c in loss_curves(family_points(points, f, fixed), f)]
    return loss_limits(shown, float(points["initial_loss"].mean()))


def _curves(
    points: pd.DataFrame,
    family: Family,
    metric: str,
    settings: Sequence[dict[str, Any]],
    limits: tuple[float, float],
    key: str,
) -> tuple[Picture, ...]:
    rows = family_points(points, family, settings[0])
    return (pictures.curve_picture(rows, family, metric, limits, key),) if len(rows) else ()


def _paths(
    results: Results, family: Family, fixed: dict[str, Any], key: str
) -> tuple[Picture, ...]:
    return tuple(
        picture
        for i, arm in enumerate(family.arms)
        if arm.hypergrad_lr is not None
        for picture in pictures.path_pictures(
            results.cells, results.traces, arm, fixed, f"{key}-{i}"
        )
    )


def _seeds(study: Study) -> str:
    text = count(len(study.seeds), "seed")
    return text + (
        f" and {count(len(study.pilot_seeds), 'pilot seed')}" if study.pilot_seeds else ""
    )


def _run_rows(run: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Provenance in the order it was written, whatever its keys."""
    return tuple(
        (name.replace("_", " "), value if isinstance(value, str) else json.dumps(value))
        for name, value in run.items()
        if value is not None
    )


def _failures(cells: pd.DataFrame) -> Table:
    failed = cells[cells["outcome"] == "failed"]
    labels = ["arm", *cells.attrs["factors"], "seed", "error"]
    return table(failed.head(MAX_FAILURES), labels, ())


def _mixed(cells: pd.DataFrame) -> tuple[str, ...]:
    """Versions and devices, where cells differ in them."""
    found = {}
    for name in ("device", "torch_version", "hdsens_version"):
        values = sorted(cells[name].dropna().unique()) if name in cells else []
        if len(values) > 1:
            found[name] = f"{name.replace('_', ' ')}: {', '.join(values)}"
    return tuple(found.values())
