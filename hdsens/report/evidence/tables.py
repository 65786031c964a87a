"""The analysis' tables of a study, by name."""

from __future__ import annotations

import pandas as pd

from hdsens.analysis import Verdict
from hdsens.analysis.measures.points import EXTRA
from hdsens.report.evidence.gather import Evidence


def tables(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Tables of a study by name, as the analysis gives them."""
    found = {
        "regret": evidence.points.drop(columns=[*EXTRA, "value"]),
        "sensitivity": evidence.sensitivity,
        "tunability": evidence.tuning,
        "importance": evidence.importance,
        **{f"steps_to_{target}": table for target, table in evidence.steps.items()},
    }
    if isinstance(evidence.judged, Verdict):
        found["verdict"] = evidence.judged.parts
    return found
