"""Parts: Parquet files of one kind with a schema version, named after the cells they hold.

    cells-<key>.parquet    cells with a result; it commits the traces of the same key
    traces-<key>.parquet   their traces
    failed-<key>.parquet   cells that raised

The key is the hash of the sorted cell_ids, so a part that is written again replaces itself by
equal content, and a part that is not what its name says is found out. Pages carry checksums.

Parts of every minor version are read: a column that is younger than a part is null, and what a
later version added is left out by readers and carried along by compaction.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hdsens.errors import InputError
from hdsens.store.place import Entry, Place
from hdsens.store.schema import KINDS, TYPES, VERSION, Version, version_of
from hdsens.study import ARM_FACTORS
from hdsens.study.columns import Column, is_reserved
from hdsens.study.packs import hash_of_ids
from hdsens.study.task_factors import is_factor_name

_NAME = re.compile(r"([a-z]+)-([0-9a-f]{32})\.parquet")
_LABEL = b"hdsens"


class DamagedError(InputError):
    """A file of the store that is not what a run wrote; the next run sets it aside."""


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """The name of a part, of one of the `KINDS`."""

    kind: str
    key: str

    @property
    def name(self) -> str:
        """Its file, relative to the store."""
        return f"parts/{self.kind}-{self.key}.parquet"

    def of(self, kind: str) -> Part:
        """The part of another kind for the same cells."""
        return Part(kind, self.key)


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself, without its rows.

    Attributes:
        part: kind of the part, or ``plan``.
        key: that its name should have.
        replaces: keys of the parts whose rows it took over.
        version: of the schema.
        schema: its columns.
        rows: how many it has.
    """

    part: Any
    key: Any
    replaces: tuple[str, ...]
    version: Version
    schema: pa.Schema
    rows: int


def part_of(name: str) -> Part | None:
    """Return the part that a file name of parts/ stands for; None for any other file."""
    found = _NAME.fullmatch(name)
    return Part(found[1], found[2]) if found and found[1] in KINDS else None


def is_of_later_kind(place: Place, name: str) -> bool:
    """Whether a file of parts/ is a part of a kind that a later minor version added."""
    if _NAME.fullmatch(name) is None:
        return False
    try:
        return read_header(place, f"parts/{name}").version > VERSION
    except DamagedError:
        return False


def list_parts(place: Place) -> dict[Part, Entry]:
    """List all parts of a store, sorted by name."""
    named = {part_of(name): entry for name, entry in place.entries("parts").items()}
    return {part: named[part] for part in sorted(p for p in named if p is not None)}


def write_part(place: Place, part: Part, table: pa.Table, replaces: Iterable[str] = ()) -> None:
    """Write a part; `replaces` are the keys of the parts whose cells it takes over."""
    label = {"part": part.kind, "key": part.key, "replaces": sorted(replaces)}
    place.write(part.name, encode(table, label))


def encode(table: pa.Table, label: dict[str, Any]) -> pa.Buffer:
    """Encode a table as Parquet with checksums; `label` goes into its metadata."""
    text = json.dumps({"schema_version": str(VERSION), **label})
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata({_LABEL: text.encode()}),
        sink,
        compression="zstd",
        write_page_checksum=True,
    )
    return sink.getvalue()


def read_part(
    place: Place, part: Part, columns: Collection[str] | None = None, *, carried: bool = False
) -> pa.Table:
    """Read the rows of a part; columns that are younger than the part are null.

    Args:
        place: of the store.
        part: to read.
        columns: those wanted; None for all that this version knows.
        carried: also the columns that this version does not know.

    Raises:
        DamagedError: it cannot be read, or is not what its name says.
        InputError: it was written by another version, and is not what this one understands.
        FileNotFoundError: it is not there, or no longer.
    """
    wanted = [
        column for column in KINDS[part.kind].columns if columns is None or column.name in columns
    ]
    table, header = decode(place, part.name, partial(_known_names, place, part, wanted), carried)
    _check_values(place, part, table, header)
    for column in wanted:
        if column.prefix is None and column.name not in table.column_names:
            table = table.append_column(column.name, pa.nulls(len(table), TYPES[column.kind]))
    return table


def read_label(place: Place, part: Part) -> Header:
    """Read a part's metadata without its rows; raises as `read_part` does."""
    header = read_header(place, part.name)
    _known_names(place, part, KINDS[part.kind].columns, header)
    return header


def check_part(place: Place, part: Part) -> frozenset[str]:
    """Read every row of a part, and return its cell_ids; raises as `read_part` does."""
    table = read_part(place, part, carried=True)
    ids: list[str] = table["cell_id"].unique().to_pylist()
    if part.kind != "traces" and (hash_of_ids(ids) != part.key or len(ids) != len(table)):
        raise damaged(place, part.name, "must hold the cells that it is named after")
    return frozenset(ids)


def decode(
    place: Place,
    name: str,
    choose: Callable[[Header], Sequence[str]],
    carried: bool = False,
) -> tuple[pa.Table, Header]:
    """Read a Parquet file of a store: its table and header; raises as `read_part` does.

    Args:
        place: of the store.
        name: of the file, relative to the store.
        choose: names the columns to read, or raises where the header breaks a rule.
        carried: read all columns.
    """
    with _damage_named(place, name), place.open(name) as source:
        file = pq.ParquetFile(source, page_checksum_verification=True)
        header = _header(place, name, file)
        names = choose(header)
        table = file.read(columns=None if carried else list(names))
    return table.replace_schema_metadata(None), header


def read_header(place: Place, name: str) -> Header:
    """Read the header of a Parquet file of a store; raises as `read_part` does."""
    with _damage_named(place, name), place.open(name) as source:
        return _header(place, name, pq.ParquetFile(source))


def broken(place: Place, name: str, rule: str, version: Version) -> InputError:
    """Make the error for a file that breaks a rule: damage, unless a later version wrote it.

    A file that is not damaged is refused, and never set aside.
    """
    if version <= VERSION:
        return damaged(place, name, rule)
    return InputError(
        f"file {place.show(name)!r}",
        rule,
        remedy=f"it has schema version {version}: read it with the hdsens that wrote it",
    )


def other_version(thing: str, stated: object) -> InputError:
    """Make the error for a file of another major version."""
    return InputError(
        thing,
        f"must have schema version {VERSION.major}",
        stated,
        "read it with the hdsens that wrote it",
    )


def damaged(place: Place, name: str, rule: str) -> DamagedError:
    """Make the error for a file that is not what a run wrote."""
    return DamagedError(
        f"file {place.show(name)!r}",
        rule,
        remedy="`hdsens run` sets it aside and trains again what is lost",
    )


@contextmanager
def _damage_named(place: Place, name: str) -> Iterator[None]:
    """Turn reading errors into damage of the named file; a file that vanished is no damage."""
    try:
        yield
    except InputError:
        raise
    except _UNREADABLE as error:
        if place.entry(name) is None:
            raise FileNotFoundError(place.show(name)) from None
        raise damaged(place, name, f"must be readable Parquet: {error}") from None


_UNREADABLE = (OSError, pa.ArrowException, ValueError, OverflowError)


def _header(place: Place, name: str, file: pq.ParquetFile) -> Header:
    schema = file.schema_arrow
    text = (schema.metadata or {}).get(_LABEL)
    try:
        label = json.loads(text) if text is not None else None
    except (ValueError, RecursionError):
        label = None
    if not isinstance(label, dict) or "schema_version" not in label:
        raise damaged(place, name, "must be a file that hdsens wrote")
    version = version_of(label["schema_version"])
    if version is None:
        raise other_version(f"file {place.show(name)!r}", label["schema_version"])
    replaces = label.get("replaces", [])
    return Header(
        part=label.get("part"),
        key=label.get("key"),
        replaces=tuple(map(str, replaces)) if isinstance(replaces, list) else (),
        version=version,
        schema=schema.remove_metadata(),
        rows=file.metadata.num_rows,
    )


def _known_names(
    place: Place, part: Part, wanted: Iterable[Column], header: Header
) -> Sequence[str]:
    """Check a part's name and types, and return those of the wanted columns that it has."""
    if (header.part, header.key) != (part.kind, part.key):
        raise damaged(place, part.name, "must hold the cells that it is named after")
    types = dict(zip(header.schema.names, header.schema.types, strict=True))
    if len(types) < len(header.schema.names):
        raise damaged(place, part.name, "must have each column once")
    single = {c.name for c in KINDS[part.kind].columns if c.prefix is None}
    known = []
    for column in wanted:
        names = (column.name,) if column.prefix is None else _members(column, types, single)
        for name in names:
            if types.get(name) == TYPES[column.kind]:
                known.append(name)
            elif column.since <= header.version.minor:
                rule = f"must have a column {name} of {TYPES[column.kind]}"
                raise broken(place, part.name, rule, header.version)
    return known


def _members(family: Column, names: Iterable[str], single: Collection[str]) -> Iterable[str]:
    return (name for name in names if family.has(name) and name not in single)


def _check_values(place: Place, part: Part, table: pa.Table, header: Header) -> None:
    """Check the values of the columns that identify a row and its outcome."""
    kind, rule = KINDS[part.kind], None
    for column in kind.columns:
        if column.required and column.name in table.column_names and table[column.name].null_count:
            rule = f"must have a {column.name} in each row"
    if "outcome" in table.column_names and kind.outcomes:
        known = pc.is_in(table["outcome"], pa.array(kind.outcomes))
        if not pc.all(known, min_count=0).as_py():
            rule = rule or f"must hold outcomes {' or '.join(kind.outcomes)} only"
    if "factors" in table.column_names and not all(map(_is_point, table["factors"].unique())):
        rule = rule or "must hold the factors of each cell as JSON"
    if rule is not None:
        raise broken(place, part.name, rule, header.version)


def _is_point(text: pa.Scalar) -> bool:
    """Whether a text is a JSON object of factor levels, under names that can be columns."""
    try:
        point = json.loads(text.as_py())
    except (TypeError, ValueError, RecursionError):
        return False
    return isinstance(point, dict) and all(
        name in ARM_FACTORS or (is_factor_name(name) and not is_reserved(name)) for name in point
    )
