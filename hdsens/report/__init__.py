"""Results -> figures and one self-contained page, with no torch, ray or optuna imported."""

from hdsens.report.page import render, write_report

__all__ = ["render", "write_report"]
