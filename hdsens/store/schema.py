"""The schema of a store's files: its version, the kinds of parts, and their Arrow types."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from hdsens.study import Study
from hdsens.study.columns import CELLS, MAJOR, MINOR, TRACES, Column, stored

TYPES = {
    "text": pa.string(),
    "whole": pa.int64(),
    "real": pa.float64(),
    "time": pa.timestamp("us", tz="UTC"),
    "flag": pa.bool_(),
}


class Version(NamedTuple):
    """Files of any minor version are read; those of another major version are refused."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


VERSION = Version(MAJOR, MINOR)


def version_of(value: Any) -> Version | None:
    """Read the version that a file states, such as "1.2"; the number 1 of the first release is 1.0.

    None where the value is no version, or one of another major version.
    """
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    found = re.fullmatch(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?", text)
    version = Version(int(found[1]), int(found[2] or 0)) if found else None
    return version if version is not None and version.major == MAJOR else None


@dataclass(frozen=True, slots=True)
class PartKind:
    """A kind of part.

    Attributes:
        columns: that its rows have.
        outcomes: that its rows may have; empty where rows have none.
        committed_by: the kind that is written after it, for the same cells, and without which it
            counts for nothing; None for a part that counts by itself.
    """

    columns: tuple[Column, ...]
    outcomes: tuple[str, ...] = ()
    committed_by: str | None = None


KINDS = {
    "cells": PartKind(stored(CELLS), ("completed", "diverged")),
    "traces": PartKind(stored(TRACES), committed_by="cells"),
    "failed": PartKind(stored(CELLS), ("failed",)),
}
"""A part's file is named after its kind. Rows of cells are in each kind that has outcomes."""


def arrow_schema(columns: Iterable[Column], study: Study | None = None) -> pa.Schema:
    """Return the columns as an Arrow schema, with members of families where a study is given."""
    return pa.schema({name: TYPES[c.kind] for c in columns for name in c.names(study)})


CELLS_SCHEMA = arrow_schema(KINDS["cells"].columns)
TRACES_SCHEMA = arrow_schema(KINDS["traces"].columns)
