"""Results in, measures out: frames of cells to tables, with numpy, scipy and pandas alone."""

from hdsens.analysis.accounting import Accounting, accounting
from hdsens.analysis.claims import Margins
from hdsens.analysis.cross_task import cross_task_table
from hdsens.analysis.frames import against, cells_at, join_cells
from hdsens.analysis.importance import importance
from hdsens.analysis.protocol import Protocol
from hdsens.analysis.regret import regret_table
from hdsens.analysis.sensitivity import sensitivity_table
from hdsens.analysis.steps import steps_to_target_table
from hdsens.analysis.trajectory import trajectory_table
from hdsens.analysis.tunability import tunability_curve
from hdsens.analysis.verdict import Verdict, verdict

__all__ = [
    "Accounting",
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
