"""Results in, measures out: frames of cells to tables, with numpy, scipy and pandas alone."""

from hdsens.analysis.claims.catalogue import CLAIMS
from hdsens.analysis.claims.claim import Claim
from hdsens.analysis.claims.finding import Finding
from hdsens.analysis.claims.verdict import Verdict, verdict
from hdsens.analysis.measures.cross_task import cross_task_table
from hdsens.analysis.measures.importance import importance
from hdsens.analysis.measures.regret import regret_table
from hdsens.analysis.measures.sensitivity import sensitivity_table
from hdsens.analysis.measures.steps import steps_to_target_table
from hdsens.analysis.measures.trajectory import trajectory_table
from hdsens.analysis.measures.tunability import tunability_curve
from hdsens.analysis.panel.accounting import Accounting
from hdsens.analysis.panel.cells import CheckedCells, accounting
from hdsens.analysis.panel.join import against, cells_at, join_cells
from hdsens.study import Margins, Protocol

__all__ = [
    "CLAIMS",
    "Accounting",
    "CheckedCells",
    "Claim",
    "Finding",
    "Margins",
    "Protocol",
    "Verdict",
    "accounting",
    "against",
    "cells_at",
    "cross_task_table",
    "importance",
    "join_cells",
    "regret_table",
    "sensitivity_table",
    "steps_to_target_table",
    "trajectory_table",
    "tunability_curve",
    "verdict",
]
