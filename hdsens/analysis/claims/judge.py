"""The verdict of a study with its own protocol, or the reason why there is none."""

from __future__ import annotations

from hdsens.analysis.claims.verdict import Verdict, verdict
from hdsens.analysis.panel.families import families_of_study
from hdsens.errors import InputError
from hdsens.store import Results


def judge(results: Results, metric: str) -> Verdict | str:
    """The verdict, or why there is none."""
    compared = [arm for family in families_of_study(results.study) for arm in family.compared]
    if not compared:
        return "no arm names a baseline"
    used = results.cells[results.cells["outcome"] != "failed"]
    if not used["arm"].isin(compared).any():
        return "its cells have no result"
    try:
        found = verdict(results.cells, results.study.protocol, metric)
    except InputError as error:
        return str(error)
    return found if len(found.parts) else "no cell has a baseline cell to compare with"
