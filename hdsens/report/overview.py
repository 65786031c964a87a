"""Several studies on one page: what each says, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from hdsens.analysis import join_cells, verdict
from hdsens.errors import InputError
from hdsens.report.text import count
from hdsens.store import Results


def joint_sentences(results: Sequence[Results]) -> list[str]:
    """The verdict over all tasks, a sentence an HD arm, under the first study's protocol.

    Where there is none, a sentence says why.
    """
    frames = [r.cells for r in results if (r.cells["outcome"] != "failed").any()]
    tasks = {task for frame in frames for task in frame["task"]}
    if len(tasks) < 2:
        return [f"No verdict over tasks: {count(len(tasks), 'task')} with a result."]
    try:
        found = verdict(join_cells(frames), results[0].study.protocol)
    except InputError as error:
        return [f"No verdict over tasks: {error}."]
    return [_sentence(row) for _, row in found.joint.iterrows()]


def _sentence(row: pd.Series) -> str:
    tasks = count(int(row["n_tasks"]), "task")
    ladder = f"{row['n_settings_refuted']} of {count(int(row['n_settings']), 'setting')} refuted"
    start = f"{row['arm']} against {row['baseline']} over {tasks}"
    if not row["tested"]:
        return f"{start}: exploratory, {ladder}."
    rest = f"; not supported: {row['not_supported']}" if row["not_supported"] else ""
    return f"{start}: {row['verdict']} ({ladder}){rest}."
