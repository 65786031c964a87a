"""The verdict of a study with its own protocol, or the reason why there is none."""

from __future__ import annotations

from hdsens.analysis.claims.verdict import Verdict, verdict
from hdsens.analysis.panel.cells import CheckedCells
from hdsens.analysis.panel.families import families_of_study
from hdsens.errors import InputError
from hdsens.study import Study


def judge(study: Study, cells: CheckedCells, metric: str) -> Verdict | str:
    """The verdict on the cells of a study, or why there is none."""
    compared = [arm for family in families_of_study(study) for arm in family.compared]
    if not compared:
        return "no arm names a baseline"
    used = cells.frame[cells.frame["outcome"] != "failed"]
    if not used["arm"].isin(compared).any():
        return "its cells have no result"
    try:
        found = verdict(cells, study.protocol, metric)
    except InputError as error:
        return str(error)
    return found if len(found.parts) else "no cell has a baseline cell to compare with"
