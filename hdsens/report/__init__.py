"""Results -> figures and one self-contained page, with no torch, ray or optuna imported."""

from hdsens.report.comparison import Comparison, compare
from hdsens.report.export import figures, write_figures, write_tables
from hdsens.report.page import render, write_report

__all__ = [
    "Comparison",
    "compare",
    "figures",
    "render",
    "write_figures",
    "write_report",
    "write_tables",
]
