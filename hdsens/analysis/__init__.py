"""Results in, measures out: frames of cells to tables, with numpy, scipy and pandas alone."""

from hdsens.analysis.accounting import Accounting, accounting
from hdsens.analysis.regret import regret_table
from hdsens.analysis.sensitivity import sensitivity_table

__all__ = ["Accounting", "accounting", "regret_table", "sensitivity_table"]
