"""Several studies on one page: what each says, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from hdsens.analysis import join_cells, verdict
from hdsens.analysis.claims.catalogue import CLAIMS
from hdsens.analysis.panel.families import families_of_study
from hdsens.errors import InputError
from hdsens.report.page.strip import MARKS, Mark, Strip
from hdsens.report.page.views import ResultView
from hdsens.report.words.answer import Answer
from hdsens.store import Results
from hdsens.text import count


@dataclass(frozen=True)
class Line:
    """A row of the summary: a family of a study, its answer, and a mark for each claim.

    The marks are those at the setting that was fixed beforehand, else how many settings have which.
    """

    key: str
    study: str
    task: str
    cells: str
    compared: str
    answer: str
    marks: tuple[str, ...]


def summary(views: Sequence[ResultView]) -> tuple[Line, ...]:
    """One line for each family; a study without a result has a line that says so."""
    return tuple(line for view in views for line in _lines(view))


def _lines(view: ResultView) -> list[Line]:
    account = view.account
    cells = f"{account.used:,} of {account.expected:,}"
    start = (view.key, view.study.name, view.study.task_label, cells)
    lines = [
        Line(*start, family.title, _said(family.answer), _marks(family.strips))
        for family in view.families
    ]
    return lines or [Line(*start, "", view.how_far or "", ("",) * len(CLAIMS))]


def _said(found: Answer) -> str:
    return " ".join(found.verdicts or found.losses[:1])


def _marks(strips: Sequence[Strip]) -> tuple[str, ...]:
    said = []
    for claim in CLAIMS:
        rows = [(strip, row[1]) for strip in strips for row in strip.rows if row[0] is claim]
        said.append(" ".join(_written(strip, marks) for strip, marks in rows))
    return tuple(said)


def _written(strip: Strip, marks: Sequence[Mark | None]) -> str:
    known = [mark for mark in marks if mark is not None]
    if strip.tested and len(marks) == len(strip.settings):
        pairs = zip(strip.settings, marks, strict=True)
        known = [mark for setting, mark in pairs if mark and setting in strip.tested]
    if len(known) == 1:
        return known[0].sign
    counts = {sign: sum(mark.sign == sign for mark in known) for sign in MARKS.values()}
    return " ".join(f"{n}{sign}" for sign, n in counts.items() if n)


def joint_sentences(results: Sequence[Results]) -> list[str]:
    """The verdict over all tasks, a sentence a compared arm, under the first study's protocol.

    Where there is none, a sentence says why.
    """
    judged = [r for r in results if (r.cells["outcome"] != "failed").any()]
    if not judged:
        return ["No verdict over tasks: 0 tasks with a result."]
    try:
        joined = join_cells(judged)
    except InputError as error:
        return [f"No verdict over tasks: {error}."]
    if joined["task"].nunique() < 2:
        return ["No verdict over tasks: 1 task with a result."]
    if not any(family.compared for r in results for family in families_of_study(r.study)):
        return []
    try:
        found = verdict(joined, results[0].study.protocol, results[0].study.metric)
    except InputError as error:
        return [f"No verdict over tasks: {error}."]
    return [_sentence(row) for _, row in found.joint.iterrows()]


JOINT = {
    "supported": "Yes, over {}: every claim about {} holds on every task",
    "refuted": "No, over {}: some claim about {} is refuted",
    "inconclusive": "Not settled over {}: not every claim about {} could be shown",
}


def _sentence(row: pd.Series) -> str:
    tasks = count(int(row["n_tasks"]), "task")
    n, refuted = int(row["n_settings"]), int(row["n_settings_refuted"])
    ladder = f"{refuted} of {count(n, 'setting')} tried {'is' if refuted == 1 else 'are'} refuted"
    if not row["tested"]:
        return f"Exploratory, over {tasks}: of {row['arm']}, {ladder} in some claim."
    said = JOINT[str(row["verdict"])].format(tasks, row["arm"])
    return f"{said}, at the setting fixed beforehand; {ladder} in some claim."
