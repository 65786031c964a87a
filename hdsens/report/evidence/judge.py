"""The verdict of a study, or the reason why there is none."""

from __future__ import annotations

from hdsens.analysis import Verdict, verdict
from hdsens.errors import InputError
from hdsens.store import Results


def judge(results: Results, metric: str) -> Verdict | str:
    """The verdict, or why there is none."""
    if all(arm.baseline is None for arm in results.study.arms):
        return "no arm names a baseline"
    compared = [arm.name for arm in results.study.arms if arm.baseline is not None]
    used = results.cells[results.cells["outcome"] != "failed"]
    if not used["arm"].isin(compared).any():
        return "its cells have no result"
    try:
        found = verdict(results.cells, results.study.protocol, metric)
    except InputError as error:
        return str(error)
    return found if len(found.parts) else "no cell has a baseline cell to compare with"
