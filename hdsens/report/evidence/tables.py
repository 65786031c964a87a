"""The analysis' tables of a study, by name."""

from __future__ import annotations

import pandas as pd

from hdsens.analysis import Verdict
from hdsens.analysis.measures.catalogue import TABLES
from hdsens.report.evidence.gather import Evidence


def tables(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Tables of a study by the names of their files."""
    found = {one.name: evidence.tables[one.name].drop(columns=[*one.drawn]) for one in TABLES}
    found |= {f"steps_to_{target}": table for target, table in evidence.steps.items()}
    if isinstance(evidence.judged, Verdict):
        found["verdict"] = evidence.judged.parts
    return found
