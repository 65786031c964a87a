"""Results become figures and one self-contained page; neither torch nor ray nor optuna is used."""

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
