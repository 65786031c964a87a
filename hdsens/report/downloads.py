"""The page's tables as links that carry their own file."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from hdsens.report.evidence import Evidence
from hdsens.report.export import tables

MAX_POINTS = 500


@dataclass(frozen=True)
class Download:
    """A file inside a link: its name and its address."""

    name: str
    address: str


def downloads(evidence: Evidence) -> tuple[Download, ...]:
    """Tables as CSV with six significant digits; none where the grid is too large to carry."""
    if len(evidence.points) > MAX_POINTS:
        return ()
    found = {
        name: frame.to_csv(index=False, float_format="%.6g")
        for name, frame in tables(evidence).items()
    }
    return tuple(Download(f"{name}.csv", _address(text)) for name, text in found.items())


def _address(text: str) -> str:
    return f"data:text/csv;base64,{base64.b64encode(text.encode()).decode()}"
