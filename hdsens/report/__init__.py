"""Results -> figures and one self-contained page, with no torch, ray or optuna imported."""

from hdsens.analysis.claims.comparison import Comparison, compare
from hdsens.report.export import figures, write_figures, write_tables
from hdsens.report.page.render import render, write_report

__all__ = [
    "Comparison",
    "compare",
    "figures",
    "render",
    "write_figures",
    "write_report",
    "write_tables",
]
