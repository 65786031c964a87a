"""The tables that a report makes of each study. A new one is a file beside this and a line here."""

from __future__ import annotations

from hdsens.analysis.measures.importance import IMPORTANCE
from hdsens.analysis.measures.points import REGRET
from hdsens.analysis.measures.sensitivity import SENSITIVITY
from hdsens.analysis.measures.table import MeasureTable
from hdsens.analysis.measures.tunability import TUNABILITY

TABLES: tuple[MeasureTable, ...] = (SENSITIVITY, REGRET, TUNABILITY, IMPORTANCE)
"""In the order in which the page and its downloads have them."""
