"""Parts: Parquet files of one kind with a schema version, named after the cells they hold.

    cells-<key>.parquet    cells with a result; it commits the traces of the same key
    traces-<key>.parquet   their traces
    failed-<key>.parquet   cells that raised

The key is the hash of the sorted cell_ids, so a part that is written again replaces itself by
equal content, and a part that is not what its name says is found out. Pages carry checksums.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hdsens.errors import InputError
from hdsens.store.place import Entry, Place
from hdsens.store.tables import SCHEMAS
from hdsens.study import ARM_FACTORS
from hdsens.study.columns import RESULT_COLUMNS
from hdsens.study.packs import hash_of_ids

SCHEMA_VERSION = 1

Kind = Literal["cells", "traces", "failed"]

_NAME = re.compile(r"(cells|traces|failed)-([0-9a-f]{32})\.parquet")
_LABEL = b"hdsens"
_OUTCOMES = {"cells": ["completed", "diverged"], "failed": ["failed"]}


class DamagedError(InputError):
    """A file of the store that is not what a run wrote; the next run sets it aside."""


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """The name of a part."""

    kind: Kind
    key: str

    @property
    def name(self) -> str:
        """Its file, relative to the store."""
        return f"parts/{self.kind}-{self.key}.parquet"

    def of(self, kind: Kind) -> Part:
        """The part of another kind for the same cells."""
        return Part(kind, self.key)


@dataclass(frozen=True, slots=True)
class Label:
    """What the metadata of a part say."""

    rows: int
    replaces: tuple[str, ...]


def part_of(name: str) -> Part | None:
    """The part that a file of parts/ is; None for any other file."""
    found = _NAME.fullmatch(name)
    return Part(found[1], found[2]) if found else None  # type: ignore[arg-type] # the pattern's


def list_parts(place: Place) -> dict[Part, Entry]:
    """All parts of a store, sorted by name."""
    named = {part_of(name): entry for name, entry in place.entries("parts").items()}
    return {part: named[part] for part in sorted(p for p in named if p is not None)}


def write_part(place: Place, part: Part, table: pa.Table, replaces: Iterable[str] = ()) -> None:
    """Put a part there; `replaces` are the keys of the parts whose cells it took over."""
    label = {"part": part.kind, "key": part.key, "replaces": sorted(replaces)}
    place.write(part.name, encode(table, label))


def encode(table: pa.Table, label: dict[str, Any]) -> pa.Buffer:
    """A table as Parquet, with checksums, and metadata that say what it is."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, **label})
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata({_LABEL: text.encode()}),
        sink,
        compression="zstd",
        write_page_checksum=True,
    )
    return sink.getvalue()


def read_part(place: Place, part: Part, columns: Sequence[str] | None = None) -> pa.Table:
    """Rows of a part.

    Raises:
        DamagedError: it cannot be read, or is not what its name says.
        InputError: it was written by another version.
        FileNotFoundError: it is not there, or no longer.
    """
    table, label = decode(place, part.name, columns)
    _check(place, part, label, SCHEMAS[part.kind], table.schema, columns)
    _check_values(place, part, table)
    return table


def read_label(place: Place, part: Part) -> Label:
    """What the metadata of a part say, without its rows; raises as `read_part` does."""
    with _damage_named(place, part.name), place.open(part.name) as source:
        file = pq.ParquetFile(source)
        label, schema, rows = _label(place, part.name, file), file.schema_arrow, file.metadata
        _check(place, part, label, SCHEMAS[part.kind], schema, None)
    return Label(rows.num_rows, tuple(map(str, label.get("replaces", ()))))


def check_part(place: Place, part: Part) -> frozenset[str]:
    """The cell_ids of a part, once every row of it has been read; raises as `read_part` does."""
    table = read_part(place, part)
    ids: list[str] = table["cell_id"].unique().to_pylist()
    if part.kind != "traces" and (hash_of_ids(ids) != part.key or len(ids) != len(table)):
        raise damaged(place, part.name, "must hold the cells that it is named after")
    return frozenset(ids)


def decode(
    place: Place, name: str, columns: Sequence[str] | None = None
) -> tuple[pa.Table, dict[str, Any]]:
    """The table of a Parquet file of ours, and its label; raises as `read_part` does."""
    with _damage_named(place, name), place.open(name) as source:
        file = pq.ParquetFile(source, page_checksum_verification=True)
        label = _label(place, name, file)
        present = None if columns is None else [c for c in columns if c in file.schema_arrow.names]
        table = file.read(columns=present)
    return table.replace_schema_metadata(None), label


def damaged(place: Place, name: str, rule: str) -> DamagedError:
    """The error for a file that is not what a run wrote."""
    return DamagedError(
        f"file {place.show(name)!r}",
        rule,
        remedy="`hdsens run` sets it aside and trains again what is lost",
    )


@contextmanager
def _damage_named(place: Place, name: str) -> Iterator[None]:
    """Say which file could not be read; one that has vanished meanwhile is no damage."""
    try:
        yield
    except InputError:
        raise
    except _UNREADABLE as error:
        if place.entry(name) is None:
            raise FileNotFoundError(place.show(name)) from None
        raise damaged(place, name, f"must be readable Parquet: {error}") from None


_UNREADABLE = (OSError, pa.ArrowException, ValueError, OverflowError)


def _label(place: Place, name: str, file: pq.ParquetFile) -> dict[str, Any]:
    text = (file.schema_arrow.metadata or {}).get(_LABEL)
    try:
        label = json.loads(text) if text is not None else None
    except (ValueError, RecursionError):
        label = None
    if not isinstance(label, dict) or "schema_version" not in label:
        raise damaged(place, name, "must be a file that hdsens wrote")
    if label["schema_version"] != SCHEMA_VERSION:
        raise InputError(
            f"file {place.show(name)!r}",
            f"must have schema version {SCHEMA_VERSION}",
            label["schema_version"],
            "read it with the hdsens that wrote it",
        )
    return label


def _check(
    place: Place,
    part: Part,
    label: dict[str, Any],
    expected: pa.Schema,
    schema: pa.Schema,
    columns: Sequence[str] | None,
) -> None:
    """Whether name and columns are those of the part."""
    if (label.get("part"), label.get("key")) != (part.kind, part.key):
        raise damaged(place, part.name, "must hold the cells that it is named after")
    wanted = expected.names if columns is None else [c for c in columns if c in expected.names]
    types = dict(zip(schema.names, schema.types, strict=True))
    for name in wanted:
        if types.get(name) != expected.field(name).type:
            raise damaged(
                place, part.name, f"must have a column {name} of {expected.field(name).type}"
            )
    for name in schema.names:
        target = part.kind != "traces" and name.startswith("steps_to_") and name.isidentifier()
        if name not in expected.names and not (target and types[name] == pa.int64()):
            raise damaged(place, part.name, f"must not have a column {name!r}")


def _check_values(place: Place, part: Part, table: pa.Table) -> None:
    """Whether the columns that everything else goes by hold what they must."""
    for name in ("cell_id", "outcome", "finished_at", "step"):
        if name in table.column_names and table[name].null_count:
            raise damaged(place, part.name, f"must have a {name} in each row")
    if "outcome" in table.column_names:
        known = _OUTCOMES[part.kind]
        if not pc.all(pc.is_in(table["outcome"], pa.array(known)), min_count=0).as_py():
            raise damaged(place, part.name, f"must hold outcomes {' or '.join(known)} only")
    if "factors" in table.column_names and not all(map(_is_point, table["factors"].unique())):
        raise damaged(place, part.name, "must hold the factors of each cell as JSON")


def _is_point(text: pa.Scalar) -> bool:
    """Whether a text is the levels of a cell's factors, under names that can be columns."""
    try:
        point = json.loads(text.as_py())
    except (TypeError, ValueError, RecursionError):
        return False
    return isinstance(point, dict) and all(
        name in ARM_FACTORS or (name.isidentifier() and name not in RESULT_COLUMNS)
        for name in point
    )
