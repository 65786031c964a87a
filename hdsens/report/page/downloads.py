"""The page's data as links that carry their own file."""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass

import pandas as pd

from hdsens.report.evidence.gather import Evidence
from hdsens.report.evidence.tables import tables

PLAIN = 100_000  # bytes; a longer table is compressed
MOST = 400_000  # and one that is still longer is left to the results folder


@dataclass(frozen=True)
class Download:
    """A file inside a link: its name and its address, None where it is too large to carry."""

    name: str
    address: str | None


def downloads(evidence: Evidence) -> tuple[Download, ...]:
    """The cells and the analysis' tables as CSV with six significant digits."""
    found = {"cells": evidence.results.cells, **tables(evidence)}
    return tuple(_download(name, frame) for name, frame in found.items() if len(frame))


def _download(name: str, frame: pd.DataFrame) -> Download:
    content = frame.to_csv(index=False, float_format="%.6g").encode()
    if len(content) <= PLAIN:
        return Download(f"{name}.csv", _address("text/csv", content))
    packed = gzip.compress(content, mtime=0)
    address = _address("application/gzip", packed) if len(packed) <= MOST else None
    return Download(f"{name}.csv.gz", address)


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
